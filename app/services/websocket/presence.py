"""Who is connected, over all processes that share a cache: a user's places, and what each connection is."""

import asyncio
import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime

from app.core.cache import Cache
from app.core.clock import Clock
from app.core.json import encode
from app.domain.channels import Channel
from app.domain.errors import Unavailable
from app.services.websocket.connections import Connection

# A process that was killed leaves its places for this long; one that lives renews them three times meanwhile.
LIFE_SECONDS = 60.0
RENEW_SECONDS = 20.0


def connection_key(name: str) -> str:
    """Where a connection's facts are kept."""
    return f"ws:connection:{name}"


def place_key(user_id: int, place: int) -> str:
    """Where the name of the connection is kept that has one of a user's places."""
    return f"ws:place:{user_id}:{place}"


class Presence:
    """Each connection of a user holds one of `places` keys that expire, whichever process it came to.

    The keys are renewed while it lasts. Where the cache does not answer, a user's places are counted by each process
    alone.
    """

    def __init__(self, cache: Cache, clock: Clock, *, places: int) -> None:
        self._cache = cache
        self._clock = clock
        self._places = places
        self._process = secrets.token_hex(4)
        self._held: dict[int, _Held] = {}

    def name_of(self, connection: Connection) -> str:
        """What a connection is called, as no other in any process is."""
        return f"conn_{self._process}_{connection.id}"

    async def enter(self, connection: Connection, user_id: int) -> bool:
        """Take a place of a user; False where all are taken."""
        held = self._held[connection.id] = _Held(connection, user_id, self._clock.now())
        async with held.lock:
            is_in = await self._take_place(held)
            if is_in:
                await self._write(held)
            else:
                del self._held[connection.id]
        return is_in

    async def leave(self, connection: Connection) -> None:
        """Give back the place of a connection that has one."""
        held = self._held.pop(connection.id, None)
        if held is None:
            return
        async with held.lock:
            if held.place is not None and await self._is_ours(held):
                await self._cache.delete(place_key(held.user_id, held.place))
            await self._cache.delete(connection_key(self.name_of(connection)))

    async def renew(self) -> None:
        """Prolong what is held here; a place that was lost meanwhile is taken again, or another."""
        for held in tuple(self._held.values()):
            async with held.lock:
                if held.connection.id in self._held:
                    if not await self._is_ours(held):
                        await self._take_place(held)
                    await self._write(held)

    async def _take_place(self, held: "_Held") -> bool:
        name = self.name_of(held.connection).encode()
        try:
            for place in _nearest_first(held.place, self._places):
                if await self._cache.add(place_key(held.user_id, place), name, ttl_seconds=LIFE_SECONDS):
                    held.place = place
                    return True
        except Unavailable:
            held.place = None
            return True
        # The one it held before is another's by now.
        held.place = None
        return False

    async def _is_ours(self, held: "_Held") -> bool:
        if held.place is None:
            return False
        return await self._cache.get(place_key(held.user_id, held.place)) == self.name_of(held.connection).encode()

    async def _write(self, held: "_Held") -> None:
        name = self.name_of(held.connection)
        if held.place is not None:
            await self._cache.set(place_key(held.user_id, held.place), name.encode(), ttl_seconds=LIFE_SECONDS)
        await self._cache.set(connection_key(name), encode(held.facts()), ttl_seconds=LIFE_SECONDS)


class _Held:
    """One connection's place (None where the cache could not be asked, or all are taken), and since when."""

    __slots__ = ("connected_at", "connection", "lock", "place", "user_id")

    def __init__(self, connection: Connection, user_id: int, connected_at: datetime) -> None:
        self.connection = connection
        self.user_id = user_id
        self.connected_at = connected_at
        self.place: int | None = None
        # What is written of it is written in turn.
        self.lock = asyncio.Lock()

    def facts(self) -> dict[str, object]:
        """What is told of the connection; its address only as a hash."""
        return {
            "user": self.user_id,
            "address": hashlib.sha256(self.connection.address.encode()).hexdigest()[:32],
            "connected_at": self.connected_at,
            "subscriptions": {
                Channel.PRICES: sorted(self.connection.pairs),
                **{
                    channel: None if told.trade_ids is None else sorted(told.trade_ids)
                    for channel, told in self.connection.subscriptions.items()
                },
            },
        }


def _nearest_first(place: int | None, places: int) -> Iterable[int]:
    """Every place, the one that was held before first."""
    first = place or 0
    return ((first + step) % places for step in range(places))
