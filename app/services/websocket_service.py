"""The hub of this process's WebSocket connections: who is connected, who listens to what, who must go."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Set
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from itertools import count
from uuid import UUID

from app.core.broadcast import Broadcast
from app.core.cache import Cache
from app.core.clock import Clock
from app.domain.channels import RESYNC_TOPIC, SESSION_REVOKED_TOPIC, Channel
from app.domain.errors import Conflict, RateLimited, Unauthorized, Unavailable
from app.models.market import Pair
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.websocket.connections import Connection, Identity, Wish
from app.services.websocket.event_streams import EventStreams
from app.services.websocket.frames import FrameFactory, Members
from app.services.websocket.outbox import SLOW, Closing, Outbox
from app.services.websocket.presence import RENEW_SECONDS, Presence
from app.services.websocket.price_streams import PriceFrames, PriceStreams
from app.services.websocket.snapshots import ChannelSnapshots
from app.services.websocket.turns import Turns

# The pair that a name means to a user, who may be a sandbox one; NotFound PAIR_NOT_FOUND.
type FindPair = Callable[[str, bool], Awaitable[Pair]]

WATCH_SECONDS = 1.0
SWEEP_SECONDS = 5.0
# At least between two sweeps, however often broadcasts are said to have been missed.
GAP_SECONDS = 0.2

RESTART = Closing(1012, "service restart")
OLD = Closing(1012, "connected for too long")
REVOKED = Closing(4401, "session ended")


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """What one client may use; sizes in bytes, durations in seconds."""

    connections_per_user: int = 10
    unknown_per_address: int = 20
    pairs: int = 200
    frame_bytes: int = 65536
    messages_per_second: float = 10.0
    message_burst: int = 20
    bad_messages: int = 10
    auth_seconds: float = 5.0
    queue_frames: int = 1000
    queue_bytes: int = 1024 * 1024
    stall_seconds: float = 5.0
    slow_grace_seconds: float = 10.0
    price_seconds: float = 0.1
    life_seconds: float = 86400.0
    farewell_seconds: float = 2.0


class WebSocketManager:
    """Every connection has its own outbox and subscriptions; nobody waits here for a client.

    Errors are MarqetErrors with the codes that HTTP has.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWorkFactory,
        broadcast: Broadcast,
        cache: Cache,
        clock: Clock,
        frames: FrameFactory,
        find_pair: FindPair,
        price_frames: PriceFrames,
        limits: WebSocketLimits | None = None,
    ) -> None:
        self.limits = limits or WebSocketLimits()
        self.find_pair = find_pair
        self.frames = frames
        self._turns = Turns()
        self._uow = uow
        self._clock = clock
        self._prices = PriceStreams(
            broadcast,
            price_frames,
            frames,
            max_pairs=self.limits.pairs,
            pause_seconds=self.limits.price_seconds,
        )
        self.presence = Presence(cache, clock, places=self.limits.connections_per_user)
        self.events = EventStreams(uow, broadcast, frames, ChannelSnapshots(uow, frames, clock))
        self._ids = count(1)
        self._connections: dict[int, Connection] = {}
        self._per_user: Counter[int] = Counter()
        self._unknown: Counter[str] = Counter()
        self._is_leaving = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._has_gap = asyncio.Event()
        broadcast.subscribe(SESSION_REVOKED_TOPIC, self._on_session_revoked)
        broadcast.subscribe(RESYNC_TOPIC, lambda _: self._has_gap.set())

    async def connect(self, address: str, identity: Identity | None = None) -> Connection:
        """Register a client, of a user where it is known already.

        Raises Unavailable during a shutdown, RateLimited where too many of the address are not known yet, and
        Conflict LIMIT_EXCEEDED where the user has too many.
        """
        if self._is_leaving:
            raise Unavailable("The server is restarting", retry_after=1)
        if identity is None and self._unknown[address] >= self.limits.unknown_per_address:
            raise RateLimited("Too many connections of this address wait to authenticate", retry_after=5)
        outbox = Outbox(self.limits.queue_frames, self.limits.queue_bytes, self._turns)
        opened_at = asyncio.get_running_loop().time()
        connection = Connection(
            next(self._ids), address, outbox, max_held=self.limits.queue_frames, opened_at=opened_at
        )
        self._unknown[address] += 1
        self._connections[connection.id] = connection
        self._empty.clear()
        if identity is not None:
            async with AsyncExitStack() as undo:
                undo.push_async_callback(self.disconnect, connection)
                await self.identify(connection, identity)
                undo.pop_all()
        return connection

    async def identify(self, connection: Connection, identity: Identity) -> None:
        """Tell whose a connection is, or by which newer token; Conflict LIMIT_EXCEEDED where that is one too many."""
        if connection.identity is None:
            most = self.limits.connections_per_user
            too_many = Conflict("Too many connections", code="LIMIT_EXCEEDED", limit="connections", max=most)
            if self._per_user[identity.user_id] >= most:
                raise too_many
            self._per_user[identity.user_id] += 1
            _subtract(self._unknown, connection.address)
            connection.identity = identity
            if not await self.presence.enter(connection, identity.user_id):
                if connection.id in self._connections:
                    # One that went away meanwhile has been counted out already.
                    connection.identity = None
                    self._unknown[connection.address] += 1
                    _subtract(self._per_user, identity.user_id)
                raise too_many
        connection.identity = identity

    async def disconnect(self, connection: Connection) -> None:
        """Forget a client and everything it listened to."""
        if self._connections.pop(connection.id, None) is None:
            return
        if not self._connections:
            self._empty.set()
        self._prices.leave_all(connection)
        if connection.identity is None:
            _subtract(self._unknown, connection.address)
            return
        self.events.leave(connection.identity.user_id, connection)
        _subtract(self._per_user, connection.identity.user_id)
        await self.presence.leave(connection)

    async def subscribe(self, connection: Connection, wish: Wish) -> None:
        """Show a client what it asks for: `subscribed`, then its state now, then every change."""
        if wish.channel is Channel.PRICES:
            self._prices.subscribe(connection, wish)
        else:
            await self.events.subscribe(_user_of(connection), connection, wish)

    def unsubscribe(self, connection: Connection, wish: Wish) -> None:
        """Show a client something no longer: `unsubscribed` is the last it hears of it."""
        if wish.channel is Channel.PRICES:
            self._prices.unsubscribe(connection, wish)
        else:
            self.events.unsubscribe(_user_of(connection), connection, wish)

    def send_update(
        self, user_id: int, channel: Channel, data: Members, *, key: str, trade_id: int | None = None
    ) -> None:
        """Show a user's subscribers of a channel what is not in the log, in place of an unsent one of the key.

        What is about one trade is shown to those who watch that trade.
        """
        frame = self.frames.of_now(channel.update_type, channel, data)
        self.events.show(user_id, channel, f"{channel}:{key}", frame, trade_id)

    async def run(self) -> None:
        """Close those who do not read, and find what broadcasts lost, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._keep_sweeping())
            group.create_task(self._keep_present())

    async def shutdown(self) -> None:
        """Tell every client to reconnect, close with 1012, refuse new ones; wait a little until all are gone."""
        self._is_leaving = True
        self._take_leave(self._connections.values(), RESTART)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.farewell_seconds):
                await self._empty.wait()
        await self.events.aclose()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.close_stalled(loop.time())
            self.close_old(loop.time())

    async def _keep_present(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self.presence.renew()

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(GAP_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS - GAP_SECONDS):
                    await self._has_gap.wait()
            self._has_gap.clear()
            await self.sweep()

    async def sweep(self) -> None:
        """Find what broadcasts lost: events that were not handed on, sessions that have ended."""
        await self.events.find_missed()
        identities = [connection.identity for connection in self._connections.values()]
        session_ids = {identity.session_id for identity in identities if identity is not None}
        if session_ids:
            async with self._uow() as work:
                alive = await work.sessions.alive_among(session_ids, self._clock.now())
            self._end_sessions(session_ids - alive)

    def close_stalled(self, now: float) -> None:
        """End those whose client takes nothing: told so first, dropped when even that does not go out."""
        for connection in tuple(self._connections.values()):
            stalled = now - connection.sending_since if connection.sending_since is not None else 0.0
            if stalled > self.limits.stall_seconds:
                connection.outbox.close(SLOW, discard=True)
            if stalled > self.limits.stall_seconds + self.limits.slow_grace_seconds:
                connection.drop()

    def close_old(self, now: float) -> None:
        """Tell those who have been connected for the longest time that is allowed to reconnect."""
        born_before = now - self.limits.life_seconds
        old = [each for each in self._connections.values() if each.opened_at < born_before and not each.outbox.closing]
        self._take_leave(old, OLD)

    def _take_leave(self, connections: Collection[Connection], closing: Closing) -> None:
        if connections:
            farewell = self.frames.of_now("reconnect", None, {"reason": closing.reason})
            for connection in connections:
                connection.outbox.put(farewell)
                connection.outbox.close(closing)

    def _on_session_revoked(self, message: bytes) -> None:
        self._end_sessions({UUID(message.decode())})

    def _end_sessions(self, session_ids: Set[UUID]) -> None:
        for connection in self._connections.values():
            if connection.identity is not None and connection.identity.session_id in session_ids:
                connection.outbox.close(REVOKED)


def _user_of(connection: Connection) -> int:
    if connection.identity is None:
        raise Unauthorized
    return connection.identity.user_id


def _subtract[K](counter: Counter[K], key: K) -> None:
    """Take one away; a key that is down to none costs no memory."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
