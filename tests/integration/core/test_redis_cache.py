"""The cache in Redis: what it promises, and what is left of that while Redis is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.cache import Cache
from app.core.clock import SystemClock
from app.core.metrics import CACHE_DEGRADED
from app.core.outage import REST_SECONDS, TELL_SECONDS
from app.core.redis_cache import RedisCache
from app.core.redis_clients import redis_clients
from app.domain.errors import Unavailable
from tests.fakes import ManualClock
from tests.logs import heard
from tests.redis_server import RedisServer, emptied, once_only, redis_server
from tests.waiting import until

pytestmark = once_only


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest_asyncio.fixture
async def raw(server: RedisServer) -> AsyncIterator[Redis]:
    async with emptied(server) as client:
        yield client


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def cache(server: RedisServer, raw: Redis, clock: ManualClock) -> AsyncIterator[Cache]:
    clients = redis_clients(server.url)
    yield RedisCache(clients, clock, prefix="ours:")
    await clients.aclose()


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Warnings that were logged."""
    with heard("WARNING") as lines:
        yield lines


def degraded(operation: str) -> float:
    return float(CACHE_DEGRADED.labels(operation)._value.get())


async def test_a_value_is_kept_under_the_prefix_as_long_as_was_said(cache: Cache, raw: Redis) -> None:
    began = time.monotonic()
    await cache.set("key", b"value", ttl_seconds=30)

    assert await cache.get("key") == b"value"
    assert await raw.get("ours:key") == b"value"
    left = await raw.pttl("ours:key") / 1000
    assert 29.998 - (time.monotonic() - began) <= left <= 30
    await cache.delete("key")
    assert await cache.get("key") is None


async def test_add_keeps_what_is_there(cache: Cache, raw: Redis) -> None:
    taken = await asyncio.gather(*(cache.add("key", str(n).encode(), ttl_seconds=10) for n in range(20)))

    assert sorted(taken) == [False] * 19 + [True]
    assert await cache.get("key") == str(taken.index(True)).encode()
    assert await raw.pttl("ours:key") > 0


async def test_pop_gives_a_value_to_one_caller(cache: Cache) -> None:
    await cache.set("key", b"value", ttl_seconds=10)

    taken = await asyncio.gather(*(cache.pop("key") for _ in range(20)))

    assert [value for value in taken if value] == [b"value"]


async def test_every_count_ends_with_the_life_of_the_first(cache: Cache, raw: Redis) -> None:
    counts = await asyncio.gather(*(cache.incr("key", ttl_seconds=10) for _ in range(50)))
    assert sorted(counts) == list(range(1, 51))
    await raw.pexpire("ours:key", 5000)

    assert await cache.incr("key", ttl_seconds=10) == 51
    assert await raw.pttl("ours:key") <= 5000


async def test_a_burst_waits_for_connections_instead_of_failing(cache: Cache) -> None:
    await cache.set("key", b"value", ttl_seconds=10)
    assert await asyncio.gather(*(cache.get("key") for _ in range(300))) == [b"value"] * 300


async def test_what_is_lost_with_everything_else_is_a_miss(cache: Cache, raw: Redis) -> None:
    await cache.set("key", b"value", ttl_seconds=10)
    await cache.incr("count", ttl_seconds=10)
    await raw.flushall()
    await raw.script_flush()

    assert await cache.get("key") is None
    assert await cache.incr("count", ttl_seconds=10) == 1


async def test_without_redis_reads_miss_and_what_must_be_sure_says_so(
    server: RedisServer, cache: Cache, clock: ManualClock, told: list[str]
) -> None:
    await cache.set("key", b"value", ttl_seconds=10)
    before = degraded("get"), degraded("set")
    server.kill()
    try:
        assert await cache.get("key") is None
        await cache.set("key", b"value", ttl_seconds=10)
        await cache.delete("key")
        assert (degraded("get"), degraded("set")) == (before[0] + 1, before[1] + 1)
        for unsure in (cache.add("key", b"", ttl_seconds=10), cache.pop("key"), cache.incr("key", ttl_seconds=10)):
            with pytest.raises(Unavailable) as caught:
                await unsure
            assert (caught.value.status, caught.value.retry_after) == (503, 1)
        with pytest.raises(RedisError):
            await cache.ping()
        for _ in range(5):
            clock.advance(TELL_SECONDS / 4)
            await cache.get("key")
        assert [line for line in told if "does not answer" in line] == 2 * [
            "Redis (cache) does not answer (ConnectionError): requests are served without the cache\n"
        ]
    finally:
        server.start()
    clock.advance(REST_SECONDS)

    await cache.set("key", b"again", ttl_seconds=10)

    assert await cache.get("key") == b"again"


async def test_a_redis_that_hangs_is_asked_once_in_a_while_and_nothing_counts_twice(
    server: RedisServer, cache: Cache, raw: Redis, clock: ManualClock
) -> None:
    assert await cache.incr("count", ttl_seconds=100) == 1
    server.pause()
    try:
        with pytest.raises(Unavailable):
            await cache.incr("count", ttl_seconds=100)
        asked = asyncio.get_running_loop().time()
        for _ in range(1000):
            assert await cache.get("key") is None
        # A thousand timeouts would be minutes; nobody was asked.
        assert asyncio.get_running_loop().time() - asked < 5
    finally:
        server.resume()
    clock.advance(REST_SECONDS)

    # The one that timed out was done all the same, and once.
    assert await cache.incr("count", ttl_seconds=100) == 3


async def test_it_comes_back_by_itself_by_the_real_clock(server: RedisServer, raw: Redis) -> None:
    clients = redis_clients(server.url)
    cache = RedisCache(clients, SystemClock())
    server.kill()
    try:
        assert await cache.get("key") is None
    finally:
        server.start()

    async def works() -> bool:
        await cache.set("key", b"value", ttl_seconds=10)
        return await cache.get("key") == b"value"

    await until(works)
    await clients.aclose()
