"""Rate limits in Redis: one bucket for all processes, by the server's clock."""

from typing import cast

from app.core.clock import Clock
from app.core.metrics import RATE_LIMIT_DEGRADED
from app.core.outage import Outage, Resting
from app.core.rate_limit import WINDOW_SECONDS, MemoryRateLimiter, Policy, Verdict, verdict_of
from app.core.redis_clients import REDIS_FAILURES, RedisClients

# Answers whether a token was to be had, and the tokens left: with their fraction, which a number would lose.
_BUCKET = """
local capacity, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 't', 'm')
local tokens, at = tonumber(kept[1]) or capacity, tonumber(kept[2]) or now
tokens = math.min(capacity, tokens + math.max(0, now - at) * capacity / period)
local allowed = 0
if tokens >= 1 then allowed = 1 end
if cost > 0 then
  if allowed == 1 then tokens = tokens - cost end
  redis.call('HSET', KEYS[1], 't', string.format('%.6f', tokens), 'm', now)
  redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - tokens) * period / capacity) + 1000)
end
return {allowed, string.format('%.6f', tokens)}
"""


class RedisRateLimiter:
    """The token bucket of MemoryRateLimiter under `rl:v1:<policy>:<caller>`.

    While Redis is away this process's own buckets decide: degraded, and never without a limit.
    """

    def __init__(self, clients: RedisClients, clock: Clock, *, prefix: str = "") -> None:
        self._bucket = clients.limiter.register_script(_BUCKET)
        self._prefix = prefix
        self._fallback = MemoryRateLimiter(clock)
        self._outage = Outage("Redis (rate limits)", clock, "each process limits by itself", REDIS_FAILURES)

    async def take(self, policy: Policy, caller: str) -> Verdict:
        """Count one request."""
        try:
            return await self._ask(policy, caller, cost=1)
        except Resting:
            RATE_LIMIT_DEGRADED.inc()
            return await self._fallback.take(policy, caller)

    async def peek(self, policy: Policy, caller: str) -> Verdict:
        """What is left now."""
        try:
            return await self._ask(policy, caller, cost=0)
        except Resting:
            RATE_LIMIT_DEGRADED.inc()
            return await self._fallback.peek(policy, caller)

    async def _ask(self, policy: Policy, caller: str, *, cost: int) -> Verdict:
        key = f"{self._prefix}rl:v1:{policy.name}:{caller}"
        with self._outage.noticed():
            answer = await self._bucket(keys=[key], args=[policy.per_minute, WINDOW_SECONDS * 1000, cost])
        is_allowed, tokens = cast("tuple[int, bytes]", answer)
        return verdict_of(policy, float(tokens), is_allowed=bool(is_allowed))
