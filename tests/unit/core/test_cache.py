"""The cache in memory: lives, bounds, and what only one caller gets."""

import asyncio
import tracemalloc

import pytest

from app.core.cache import MemoryCache
from app.core.json import encode
from tests.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(clock: ManualClock) -> MemoryCache:
    return MemoryCache(clock, max_entries=3)


async def test_a_value_lives_as_long_as_was_said(cache: MemoryCache, clock: ManualClock) -> None:
    await cache.set("key", b"value", ttl_seconds=30)
    clock.advance(29.9)
    assert await cache.get("key") == b"value"
    clock.advance(0.1)
    assert await cache.get("key") is None


async def test_add_keeps_what_is_there_until_it_expires(cache: MemoryCache, clock: ManualClock) -> None:
    assert await cache.add("key", b"first", ttl_seconds=10)
    assert not await cache.add("key", b"second", ttl_seconds=10)
    assert await cache.get("key") == b"first"
    clock.advance(10)
    assert await cache.add("key", b"third", ttl_seconds=10)


async def test_pop_gives_a_value_to_one_caller(cache: MemoryCache) -> None:
    await cache.set("key", b"value", ttl_seconds=10)

    taken = await asyncio.gather(*(cache.pop("key") for _ in range(5)))

    assert sorted(taken, key=str) == [None, None, None, None, b"value"]


async def test_pop_does_not_give_what_has_expired(cache: MemoryCache, clock: ManualClock) -> None:
    await cache.set("key", b"value", ttl_seconds=10)
    clock.advance(10)
    assert await cache.pop("key") is None


async def test_incr_counts_within_the_life_of_the_first(cache: MemoryCache, clock: ManualClock) -> None:
    assert [await cache.incr("key", ttl_seconds=10) for _ in range(3)] == [1, 2, 3]
    clock.advance(9)
    assert await cache.incr("key", ttl_seconds=10) == 4
    clock.advance(1)
    assert await cache.incr("key", ttl_seconds=10) == 1


async def test_the_longest_unused_make_room(cache: MemoryCache) -> None:
    for key in ("a", "b", "c"):
        await cache.set(key, b"", ttl_seconds=10)
    await cache.get("a")
    await cache.set("d", b"", ttl_seconds=10)

    assert [key for key in "abcd" if await cache.get(key) is not None] == ["a", "c", "d"]


async def test_delete_forgets_and_is_harmless(cache: MemoryCache) -> None:
    await cache.set("key", b"value", ttl_seconds=10)
    await cache.delete("key")
    await cache.delete("key")
    assert await cache.get("key") is None
    await cache.ping()


async def test_a_short_value_takes_little_memory(clock: ManualClock) -> None:
    cache = MemoryCache(clock)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100):
            await cache.set(f"key-{number}", encode({"number": number}), ttl_seconds=60)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert await cache.get("key-7") == b'{"number":7}'
    assert (after - before) / 100 < 1024
