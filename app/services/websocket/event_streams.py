"""The log to those who listen: per user in order and without a gap, whatever a broadcast skips or loses."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial

from loguru import logger

from app.core.broadcast import Broadcast
from app.domain.channels import Channel, live_topic, user_topic
from app.domain.errors import InvalidRequest
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.websocket.connections import Connection, Wish
from app.services.websocket.frames import FrameFactory, Logged, decode_logged, reopened
from app.services.websocket.snapshots import ChannelSnapshots, TradeFilter

READ_AHEAD = 500

# Told of a user's next event, or of None where the stream begins and what came before is not told.
type EventListener = Callable[[int, Logged | None], None]


@dataclass(slots=True)
class _UserStream:
    """`last` is the last sequence handed on, and `first` the one it began after; both None before the first snapshot.

    `is_behind`: the log has more.
    """

    user_id: int
    connections: dict[int, Connection] = field(default_factory=dict)
    unsubscribe: list[Callable[[], None]] = field(default_factory=list)
    first: int | None = None
    last: int | None = None
    is_behind: bool = False
    is_reading: bool = False


class EventStreams:
    """One subscription of the broadcast per user that anybody here listens for.

    A broadcast is believed only where it is the very next event; else the log is read.
    """

    def __init__(
        self, uow: UnitOfWorkFactory, broadcast: Broadcast, frames: FrameFactory, snapshots: ChannelSnapshots
    ) -> None:
        self._uow = uow
        self._broadcast = broadcast
        self._frames = frames
        self._snapshots = snapshots
        self._streams: dict[int, _UserStream] = {}
        self._listeners: list[EventListener] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def on_event(self, listener: EventListener) -> None:
        """Call `listener` with each event of a user that is listened for here, in order, after None at the start."""
        self._listeners.append(listener)

    def users_on(self, channel: Channel) -> list[int]:
        """The users of whom some client here is shown a channel."""
        return [
            stream.user_id
            for stream in self._streams.values()
            if any(connection.is_shown(channel) for connection in stream.connections.values())
        ]

    async def subscribe(self, user_id: int, connection: Connection, wish: Wish) -> None:
        """Show a client a channel: the answer, the snapshot or the events since, then every change.

        Trades named are added to those named before. NotFound UNKNOWN_ID where one is not the user's.
        """
        if wish.trade_ids is not None:
            await self._snapshots.check_owner(user_id, wish.trade_ids)
        before = connection.subscriptions.get(wish.channel)
        wanted = _wider(before.trade_ids, wish.trade_ids) if before else wish.trade_ids
        self._join(user_id, connection)
        try:
            with connection.holding(wish.channel, wanted) as subscription:
                snapshot = await self._snapshots.read(user_id, wish.channel, wanted, wish.since)
                self._start(user_id, snapshot.sequence)
                answer = self._frames.of_now("subscribed", wish.channel, snapshot.facts(wanted), wish.frame_id)
                await connection.tell(subscription, answer, snapshot)
        finally:
            self._leave_unless_subscribed(user_id, connection)

    def unsubscribe(self, user_id: int, connection: Connection, wish: Wish) -> None:
        """Show a client some trades no longer, or nothing of a channel.

        InvalidRequest where trades are named and the client sees all.
        """
        subscription = connection.subscriptions.get(wish.channel)
        left: frozenset[int] = frozenset()
        if subscription is not None and wish.trade_ids is not None:
            if subscription.trade_ids is None:
                raise InvalidRequest("All trades are subscribed; unsubscribe the whole channel first")
            left = subscription.trade_ids - wish.trade_ids
        if subscription is not None and left:
            subscription.trade_ids = left
        else:
            connection.subscriptions.pop(wish.channel, None)
            connection.outbox.forget(_keys_of(wish.channel))
            self._leave_unless_subscribed(user_id, connection)
        connection.outbox.put(self._frames.of_now("unsubscribed", wish.channel, {}, wish.frame_id))

    def leave(self, user_id: int, connection: Connection) -> None:
        """Forget a client that is gone."""
        connection.subscriptions.clear()
        self._leave_unless_subscribed(user_id, connection)

    def show(self, user_id: int, channel: Channel, key: str, frame: str) -> None:
        """Hand a frame that is not of the log to the clients of a user on a channel; the latest of a key counts."""
        stream = self._streams.get(user_id)
        for connection in stream.connections.values() if stream else ():
            connection.deliver_latest(channel, key, frame)

    async def find_missed(self) -> None:
        """Compare every stream with its user's counter, and read what no broadcast told of."""
        started = {stream.user_id: stream for stream in self._streams.values() if stream.last is not None}
        if not started:
            return
        async with self._uow() as work:
            sequences = await work.events.last_sequences(list(started))
        for user_id, stream in started.items():
            if sequences.get(user_id, 0) > (stream.last or 0):
                self._read_on(stream)

    async def aclose(self) -> None:
        """Give up what is being read."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _join(self, user_id: int, connection: Connection) -> None:
        stream = self._streams.get(user_id)
        if stream is None:
            stream = self._streams[user_id] = _UserStream(user_id)
            stream.unsubscribe = [
                self._broadcast.subscribe(user_topic(user_id), partial(self._on_message, stream)),
                self._broadcast.subscribe(live_topic(user_id), partial(self._on_live_message, user_id)),
            ]
        stream.connections[connection.id] = connection

    def _leave_unless_subscribed(self, user_id: int, connection: Connection) -> None:
        stream = self._streams.get(user_id)
        if stream is None or connection.subscriptions:
            return
        stream.connections.pop(connection.id, None)
        if not stream.connections:
            for unsubscribe in stream.unsubscribe:
                unsubscribe()
            del self._streams[user_id]

    def _start(self, user_id: int, sequence: int) -> None:
        """Begin to hand on after a snapshot; one that is older than where others began has it begin again there."""
        stream = self._streams[user_id]
        if stream.first is None:
            self._notify(user_id, None)
        elif sequence < stream.first:
            stream.is_behind = True
        else:
            return
        stream.first = stream.last = sequence
        if stream.is_behind:
            self._read_on(stream)

    def _on_message(self, stream: _UserStream, message: bytes) -> None:
        event = decode_logged(message)
        if stream.last is None or stream.is_reading:
            stream.is_behind = True
        elif event.sequence == stream.last + 1:
            self._hand_on(stream, [event])
        elif event.sequence > stream.last:
            self._read_on(stream)

    def _on_live_message(self, user_id: int, message: bytes) -> None:
        key, _, frame = message.partition(b"\n")
        text = key.decode()
        self.show(user_id, Channel(text.partition(":")[0]), text, reopened(frame))

    def _hand_on(self, stream: _UserStream, events: Iterable[Logged]) -> None:
        for event in events:
            stream.last = event.sequence
            if (frame := self._frames.of_event(event)) is not None:
                for connection in stream.connections.values():
                    connection.deliver(frame)
            self._notify(stream.user_id, event)

    def _notify(self, user_id: int, event: Logged | None) -> None:
        for listener in self._listeners:
            listener(user_id, event)

    def _read_on(self, stream: _UserStream) -> None:
        stream.is_behind = True
        if not stream.is_reading:
            stream.is_reading = True
            self._spawn(self._read(stream))

    async def _read(self, stream: _UserStream) -> None:
        try:
            while stream.is_behind and stream.connections:
                stream.is_behind = False
                after = stream.last or 0
                async with self._uow() as work:
                    events = await work.events.after(stream.user_id, after, limit=READ_AHEAD)
                if stream.last != after:
                    continue  # it began again meanwhile, which also set is_behind
                self._hand_on(stream, events)
                stream.is_behind |= len(events) == READ_AHEAD
        finally:
            stream.is_reading = False

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).warning("Reading the event log failed; the sweep tries again")


def _wider(before: TradeFilter, wish: TradeFilter) -> TradeFilter:
    """Both filters together; None, every trade, absorbs the other."""
    return None if before is None or wish is None else before | wish


def _keys_of(channel: Channel) -> Callable[[str], bool]:
    return lambda key: key.startswith(f"{channel}:")
