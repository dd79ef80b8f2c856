"""The cache in Redis, shared by all processes."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.core.clock import Clock
from app.core.metrics import CACHE_DEGRADED
from app.core.outage import Outage, Resting
from app.core.redis_clients import REDIS_FAILURES, RedisClients
from app.domain.errors import Unavailable

type Command = Callable[[], Awaitable[Any]]

RETRY_AFTER = 1

# The life runs from the first count, and no count is ever without one.
_INCR = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
"""


class RedisCache:
    """While Redis is away nothing is found and plain writes are dropped: requests are served without the cache.

    `add`, `pop` and `incr` raise Unavailable then: a nonce, a ticket or a count that is guessed at protects nobody.
    """

    def __init__(self, clients: RedisClients, clock: Clock, *, prefix: str = "") -> None:
        self._client = clients.cache
        self._once = clients.once
        self._prefix = prefix
        self._incr = clients.once.register_script(_INCR)
        self._outage = Outage("Redis (cache)", clock, "requests are served without the cache", REDIS_FAILURES)

    async def get(self, key: str) -> bytes | None:
        """The value, None when absent, expired, or not to be had."""
        value: bytes | None = await self._spared("get", lambda: self._client.get(self._prefix + key))
        return value

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        """Keep a value, replacing what is there; dropped while Redis is away."""
        life = _milliseconds(ttl_seconds)
        await self._spared("set", lambda: self._client.set(self._prefix + key, value, px=life))

    async def delete(self, key: str) -> None:
        """Forget a value; dropped while Redis is away, when the value's own end must do."""
        await self._spared("delete", lambda: self._client.delete(self._prefix + key))

    async def add(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        """Keep a value only where none is; False when one is. Unavailable while Redis is away."""
        life = _milliseconds(ttl_seconds)
        return bool(await self._needed("add", lambda: self._once.set(self._prefix + key, value, px=life, nx=True)))

    async def pop(self, key: str) -> bytes | None:
        """Take a value out: one caller gets it. Unavailable while Redis is away."""
        value: bytes | None = await self._needed("pop", lambda: self._once.getdel(self._prefix + key))
        return value

    async def incr(self, key: str, *, ttl_seconds: float) -> int:
        """Count up and answer the new count. Unavailable while Redis is away."""
        life = _milliseconds(ttl_seconds)
        return int(await self._needed("incr", lambda: self._incr(keys=[self._prefix + key], args=[life])))

    async def ping(self) -> None:
        """Return when Redis answers; also where it was left alone a moment ago."""
        await self._client.ping()

    async def _spared(self, operation: str, command: Command) -> Any:
        """The answer, None where there is none: it is left undone while Redis is away."""
        try:
            with self._outage.noticed():
                return await command()
        except Resting:
            CACHE_DEGRADED.labels(operation).inc()
            return None

    async def _needed(self, operation: str, command: Command) -> Any:
        """The answer, of what has none while Redis is away."""
        try:
            with self._outage.noticed():
                return await command()
        except Resting:
            CACHE_DEGRADED.labels(operation).inc()
            raise Unavailable("The cache does not answer; try again.", retry_after=RETRY_AFTER) from None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
