"""The token bucket in Redis: one bucket for all processes, and the twin in memory where Redis is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.core.metrics import RATE_LIMIT_DEGRADED
from app.core.outage import REST_SECONDS
from app.core.rate_limit import Policy
from app.core.redis_clients import redis_clients
from app.core.redis_rate_limit import RedisRateLimiter
from tests.fakes import ManualClock
from tests.redis_server import RedisServer, emptied, once_only, redis_server

pytestmark = once_only

TRADE = Policy("trade", 10)
KEY = "ours:rl:v1:trade:u:1"


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
async def limiters(server: RedisServer, raw: Redis, clock: ManualClock) -> AsyncIterator[list[RedisRateLimiter]]:
    """Those of two processes."""
    clients = [redis_clients(server.url) for _ in range(2)]
    yield [RedisRateLimiter(each, clock, prefix="ours:") for each in clients]
    for each in clients:
        await each.aclose()


def since(began: float) -> float:
    """Seconds since an instant, and what Redis, which counts in milliseconds, may round off."""
    return time.monotonic() - began + 0.002


async def age(raw: Redis, seconds: float) -> None:
    """Let so much time pass for the bucket."""
    kept = await raw.hget(KEY, "m")
    assert kept is not None
    await raw.hset(KEY, "m", str(int(kept) - round(seconds * 1000)))


async def test_processes_share_a_bucket(limiters: list[RedisRateLimiter]) -> None:
    began = time.monotonic()
    verdicts = await asyncio.gather(*(limiters[n % 2].take(TRADE, "u:1") for n in range(200)))

    assert sum(verdict.is_allowed for verdict in verdicts) == 10
    refused = await limiters[0].take(TRADE, "u:1")
    assert not refused.is_allowed
    assert 6 - since(began) <= refused.retry_seconds <= 6
    assert (await limiters[1].take(TRADE, "u:2")).is_allowed
    assert (await limiters[1].take(Policy("close", 10), "u:1")).is_allowed


async def test_waiting_as_long_as_told_is_enough_and_shorter_is_not(
    limiters: list[RedisRateLimiter], raw: Redis
) -> None:
    policy = Policy("trade", 1)
    await limiters[0].take(policy, "u:1")
    refused = await limiters[0].take(policy, "u:1")
    await age(raw, refused.retry_seconds - 20)
    assert not (await limiters[0].take(policy, "u:1")).is_allowed
    await age(raw, 20.01)
    assert (await limiters[0].take(policy, "u:1")).is_allowed


@pytest.mark.parametrize("per_minute", [9, 50, 100])
async def test_a_steady_flood_is_granted_the_whole_quota(
    limiters: list[RedisRateLimiter], raw: Redis, per_minute: int
) -> None:
    policy = Policy("trade", per_minute)
    granted, began = 0, time.monotonic()
    for _ in range(60 * 4):
        granted += (await limiters[0].take(policy, "u:1")).is_allowed
        await age(raw, 0.25)

    # The capacity at the start, and a minute's; what really passed meanwhile adds a little.
    assert 2 * per_minute - 1 <= granted <= 2 * per_minute + since(began) * per_minute / 60


async def test_looking_counts_nothing_and_leaves_nothing(limiters: list[RedisRateLimiter], raw: Redis) -> None:
    assert [(await limiters[0].peek(TRADE, "u:1")).remaining for _ in range(3)] == [10, 10, 10]
    assert await raw.keys() == []
    await limiters[1].take(TRADE, "u:1")
    assert (await limiters[0].peek(TRADE, "u:1")).remaining == 9


async def test_a_bucket_is_gone_once_it_is_full(limiters: list[RedisRateLimiter], raw: Redis) -> None:
    began = time.monotonic()
    await limiters[0].take(TRADE, "u:1")
    assert 7 - since(began) <= await raw.pttl(KEY) / 1000 <= 7


async def test_a_clock_that_goes_back_grants_nothing(limiters: list[RedisRateLimiter], raw: Redis) -> None:
    for _ in range(10):
        await limiters[0].take(TRADE, "u:1")
    await age(raw, -3600)
    assert not (await limiters[0].take(TRADE, "u:1")).is_allowed


async def test_without_redis_each_process_limits_by_itself(
    server: RedisServer, limiters: list[RedisRateLimiter], clock: ManualClock
) -> None:
    for _ in range(10):
        await limiters[0].take(TRADE, "u:1")
    before = RATE_LIMIT_DEGRADED._value.get()
    server.kill()
    try:
        verdicts = [await limiters[0].take(TRADE, "u:1") for _ in range(12)]
        assert [verdict.is_allowed for verdict in verdicts] == [True] * 10 + [False] * 2
        assert (await limiters[0].peek(TRADE, "u:1")).remaining == 0
        assert RATE_LIMIT_DEGRADED._value.get() == before + 13
    finally:
        server.start()
    clock.advance(REST_SECONDS)

    # The new server knows of nobody, which is lost with it; from here on the processes share again.
    assert (await limiters[0].take(TRADE, "u:1")).remaining == 9
    assert (await limiters[1].take(TRADE, "u:1")).remaining == 8


async def test_scripts_that_the_server_forgot_are_sent_again(limiters: list[RedisRateLimiter], raw: Redis) -> None:
    await limiters[0].take(TRADE, "u:1")
    await raw.script_flush()
    assert (await limiters[0].take(TRADE, "u:1")).remaining == 8
