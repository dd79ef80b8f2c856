"""Rate limits: token buckets behind a port, and their adapter in memory."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from app.core.clock import Clock

WINDOW_SECONDS = 60
MAX_BUCKETS = 50_000


@dataclass(frozen=True, slots=True)
class Policy:
    """A class of requests and how many of them a caller may make a minute; 0 is unlimited."""

    name: str
    per_minute: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bucket said: whether the request may pass, whole requests left, seconds until it may, or is full again."""

    policy: Policy
    is_allowed: bool
    remaining: int
    retry_seconds: float
    full_seconds: float

    def headers(self) -> dict[str, str]:
        """The standard's two fields, and the older three for clients that know only those."""
        name, limit = self.policy.name, self.policy.per_minute
        reset = math.ceil(self.full_seconds if self.is_allowed else self.retry_seconds)
        return {
            "RateLimit-Policy": f'"{name}";q={limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"{name}";r={self.remaining};t={reset}',
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(reset),
        }


class RateLimiter(Protocol):
    """Takes one token from the bucket of a policy and a caller, or only looks into it."""

    async def take(self, policy: Policy, caller: str) -> Verdict:
        """Count one request of `caller` ("u:7", "ip:<hash>"); never waits for room."""
        ...

    async def peek(self, policy: Policy, caller: str) -> Verdict:
        """What `take` would say now, without counting."""
        ...


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class MemoryRateLimiter:
    """Buckets within one process; the longest unused are dropped beyond `max_buckets`."""

    def __init__(self, clock: Clock, *, max_buckets: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    async def take(self, policy: Policy, caller: str) -> Verdict:
        """Count one request."""
        key = (policy.name, caller)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(float(policy.per_minute), self._clock.monotonic())
            if len(self._buckets) > self._max_buckets:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        # The fraction is kept: flooring it would grant less than the policy under steady load.
        bucket.tokens, bucket.at = self._filled(policy, bucket), self._clock.monotonic()
        is_allowed = bucket.tokens >= 1
        if is_allowed:
            bucket.tokens -= 1
        return verdict_of(policy, bucket.tokens, is_allowed=is_allowed)

    async def peek(self, policy: Policy, caller: str) -> Verdict:
        """What is left now."""
        bucket = self._buckets.get((policy.name, caller))
        tokens = float(policy.per_minute) if bucket is None else self._filled(policy, bucket)
        return verdict_of(policy, tokens, is_allowed=tokens >= 1)

    def _filled(self, policy: Policy, bucket: _Bucket) -> float:
        passed = max(0.0, self._clock.monotonic() - bucket.at)
        return min(float(policy.per_minute), bucket.tokens + passed * policy.per_minute / WINDOW_SECONDS)


def verdict_of(policy: Policy, tokens: float, *, is_allowed: bool) -> Verdict:
    """What a bucket says that has so many tokens left."""
    per_second = policy.per_minute / WINDOW_SECONDS
    return Verdict(
        policy,
        is_allowed,
        remaining=math.floor(tokens),
        retry_seconds=0.0 if is_allowed else (1 - tokens) / per_second,
        full_seconds=(policy.per_minute - tokens) / per_second,
    )
