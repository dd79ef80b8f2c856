"""Guessing gets slower with each failure, for one name at a time."""

import pytest

from app.core.brute_force import BruteForceGuard
from app.core.cache import MemoryCache
from app.domain.errors import RateLimited
from tests.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def guard(clock: ManualClock) -> BruteForceGuard:
    return BruteForceGuard(MemoryCache(clock), clock)


async def wait_told(guard: BruteForceGuard, name: str) -> int:
    """Seconds until the next attempt is allowed; 0 when it is now."""
    try:
        await guard.attempt(name)
    except RateLimited as refused:
        return refused.retry_after or 0
    return 0


async def test_five_failures_are_free_then_waits_double(guard: BruteForceGuard, clock: ManualClock) -> None:
    assert [await wait_told(guard, "user@example.com") for _ in range(5)] == [0] * 5
    waits = []
    for _ in range(5):
        wait = await wait_told(guard, "user@example.com")
        waits.append(wait)
        clock.advance(wait)
        assert await wait_told(guard, "user@example.com") == 0

    assert waits == [1, 2, 4, 8, 16]


async def test_a_wait_is_never_longer_than_a_quarter_of_an_hour(guard: BruteForceGuard, clock: ManualClock) -> None:
    longest = 0
    for _ in range(40):
        longest = max(longest, wait := await wait_told(guard, "user@example.com"))
        clock.advance(wait)
    assert 256 <= longest <= 900


async def test_others_are_not_held_up(guard: BruteForceGuard) -> None:
    for _ in range(6):
        await wait_told(guard, "user@example.com")
    assert await wait_told(guard, "other@example.com") == 0


async def test_a_success_forgets_the_failures(guard: BruteForceGuard) -> None:
    for _ in range(4):
        await guard.attempt("user@example.com")
    await guard.success("user@example.com")

    assert [await wait_told(guard, "user@example.com") for _ in range(5)] == [0] * 5


async def test_failures_are_forgotten_after_the_window(guard: BruteForceGuard, clock: ManualClock) -> None:
    for _ in range(5):
        await guard.attempt("user@example.com")
    clock.advance(901)
    assert [await wait_told(guard, "user@example.com") for _ in range(5)] == [0] * 5
