"""Slowing down those who guess: after some failures each further one must wait longer."""

import hashlib
import math

from app.core.cache import Cache
from app.core.clock import Clock
from app.domain.errors import RateLimited

FREE_FAILURES = 5
WINDOW_SECONDS = 900
LONGEST_WAIT_SECONDS = 900


class BruteForceGuard:
    """Counts attempts for one name (an email, say), whether it exists or not; a success forgets them."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock

    async def attempt(self, name: str) -> None:
        """Count an attempt before its costly part; RateLimited while its predecessors' wait lasts."""
        count_key, wait_key = _keys(name)
        now = self._clock.now().timestamp()
        wait_until = await self._cache.get(wait_key)
        if wait_until is not None and float(wait_until) > now:
            raise RateLimited(retry_after=math.ceil(float(wait_until) - now))
        count = await self._cache.incr(count_key, ttl_seconds=WINDOW_SECONDS)
        if count >= FREE_FAILURES:
            wait = min(2 ** min(count - FREE_FAILURES, 16), LONGEST_WAIT_SECONDS)
            await self._cache.set(wait_key, str(now + wait).encode(), ttl_seconds=wait)

    async def success(self, name: str) -> None:
        """Forget the failures."""
        for key in _keys(name):
            await self._cache.delete(key)


def _keys(name: str) -> tuple[str, str]:
    hashed = hashlib.sha256(name.encode()).hexdigest()
    return f"failures:{hashed}", f"failures-wait:{hashed}"
