"""The token bucket in memory: what it grants, and what it tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.rate_limit import MemoryRateLimiter, Policy
from tests.fakes import ManualClock

TRADE = Policy("trade", 10)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def limiter(clock: ManualClock) -> MemoryRateLimiter:
    return MemoryRateLimiter(clock)


async def test_a_full_bucket_grants_its_capacity_at_once(limiter: MemoryRateLimiter) -> None:
    verdicts = [await limiter.take(TRADE, "u:1") for _ in range(12)]

    assert [verdict.is_allowed for verdict in verdicts] == [True] * 10 + [False] * 2
    assert [verdict.remaining for verdict in verdicts] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert verdicts[-1].retry_seconds == pytest.approx(6)


async def test_callers_and_policies_have_buckets_of_their_own(limiter: MemoryRateLimiter) -> None:
    one = Policy("trade", 1)
    assert (await limiter.take(one, "u:1")).is_allowed
    assert not (await limiter.take(one, "u:1")).is_allowed
    assert (await limiter.take(one, "u:2")).is_allowed
    assert (await limiter.take(Policy("close", 1), "u:1")).is_allowed


async def test_waiting_as_long_as_told_is_enough(limiter: MemoryRateLimiter, clock: ManualClock) -> None:
    for _ in range(10):
        await limiter.take(TRADE, "u:1")
    refused = await limiter.take(TRADE, "u:1")
    clock.advance(refused.retry_seconds + 1e-6)
    assert (await limiter.take(TRADE, "u:1")).is_allowed


@pytest.mark.parametrize("per_minute", [9, 10, 50, 100])
async def test_a_steady_flood_is_granted_the_whole_quota(clock: ManualClock, per_minute: int) -> None:
    limiter = MemoryRateLimiter(clock)
    policy = Policy("price", per_minute)
    granted = 0
    for _ in range(3600 * 4):
        granted += (await limiter.take(policy, "u:1")).is_allowed
        clock.advance(0.25)

    assert granted == pytest.approx(per_minute * 60 + per_minute, abs=1)


@given(st.lists(st.floats(min_value=0, max_value=120), min_size=1, max_size=80))
async def test_no_window_grants_more_than_capacity_and_refill(pauses: list[float]) -> None:
    clock = ManualClock()
    limiter = MemoryRateLimiter(clock)
    granted: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        if (await limiter.take(TRADE, "u:1")).is_allowed:
            granted.append(clock.monotonic())
    for i, start in enumerate(granted):
        for j, end in enumerate(granted[i:], start=1):
            assert j <= 10 + (end - start) / 6 + 1e-6


async def test_headers_name_policy_rest_and_reset(limiter: MemoryRateLimiter) -> None:
    verdict = await limiter.take(TRADE, "u:1")

    assert verdict.headers() == {
        "RateLimit-Policy": '"trade";q=10;w=60',
        "RateLimit": '"trade";r=9;t=6',
        "X-RateLimit-Limit": "10",
        "X-RateLimit-Remaining": "9",
        "X-RateLimit-Reset": "6",
    }


async def test_the_longest_unused_bucket_makes_room(clock: ManualClock) -> None:
    limiter = MemoryRateLimiter(clock, max_buckets=2)
    one = Policy("trade", 1)
    for caller in ("u:1", "u:2", "u:3"):
        await limiter.take(one, caller)

    assert not (await limiter.take(one, "u:3")).is_allowed
    assert (await limiter.take(one, "u:1")).is_allowed
