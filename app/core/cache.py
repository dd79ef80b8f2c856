"""The cache port: small values that may vanish at any time, and its adapter in memory."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from app.core.clock import Clock

MAX_ENTRIES = 50_000


class Cache(Protocol):
    """Bytes under text keys, each with a life in seconds. Losing all of them harms nobody."""

    async def get(self, key: str) -> bytes | None:
        """The value, None when absent or expired."""
        ...

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        """Keep a value, replacing what is there."""
        ...

    async def add(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        """Keep a value only where none is; False when one is."""
        ...

    async def pop(self, key: str) -> bytes | None:
        """Take a value out: of callers at the same time one gets it, the others None."""
        ...

    async def incr(self, key: str, *, ttl_seconds: float) -> int:
        """Count up and answer the new count; the life runs from the first count."""
        ...

    async def delete(self, key: str) -> None:
        """Forget a value; harmless when absent."""
        ...

    async def ping(self) -> None:
        """Return when the cache answers, else raise."""
        ...


@dataclass(slots=True)
class _Entry:
    value: bytes
    expires_at: float


class MemoryCache:
    """A cache within one process; beyond `max_entries` the longest unused go."""

    def __init__(self, clock: Clock, *, max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        """The value, None when absent or expired."""
        entry = self._living(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.value

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        """Keep a value, replacing what is there."""
        # A copy: bytes that orjson has written hold 4 KiB each, however short they are.
        self._entries[key] = _Entry(bytes(memoryview(value)), self._clock.monotonic() + ttl_seconds)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    async def add(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        """Keep a value only where none is; False when one is."""
        if self._living(key) is not None:
            return False
        await self.set(key, value, ttl_seconds=ttl_seconds)
        return True

    async def pop(self, key: str) -> bytes | None:
        """Take a value out."""
        entry = self._living(key)
        self._entries.pop(key, None)
        return None if entry is None else entry.value

    async def incr(self, key: str, *, ttl_seconds: float) -> int:
        """Count up and answer the new count."""
        entry = self._living(key)
        if entry is None:
            await self.set(key, b"1", ttl_seconds=ttl_seconds)
            return 1
        count = int(entry.value) + 1
        entry.value = str(count).encode()
        return count

    async def delete(self, key: str) -> None:
        """Forget a value."""
        self._entries.pop(key, None)

    async def ping(self) -> None:
        """Memory always answers."""

    def _living(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.expires_at <= self._clock.monotonic():
            del self._entries[key]
            return None
        return entry
