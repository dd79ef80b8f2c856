"""The event log to those who listen: subscriptions, one stream per user, and what broadcasts lose."""

import asyncio
from collections.abc import Callable, Coroutine

from loguru import logger

from app.core.broadcast import Broadcast
from app.domain.channels import Channel
from app.domain.errors import InvalidRequest
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.websocket.connections import Connection, Wish
from app.services.websocket.frames import FrameFactory, Logged
from app.services.websocket.snapshots import ChannelSnapshots, TradeFilter
from app.services.websocket.user_stream import EventListener, UserStream


class EventStreams:
    """One stream per user that anybody here listens for."""

    def __init__(
        self, uow: UnitOfWorkFactory, broadcast: Broadcast, frames: FrameFactory, snapshots: ChannelSnapshots
    ) -> None:
        self._uow = uow
        self._broadcast = broadcast
        self._frames = frames
        self._snapshots = snapshots
        self._streams: dict[int, UserStream] = {}
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
        stream = self._join(user_id, connection)
        try:
            with connection.holding(wish.channel, wanted) as subscription:
                snapshot = await self._snapshots.read(user_id, wish.channel, wanted, wish.since)
                stream.start(snapshot.sequence)
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

    def show(self, user_id: int, channel: Channel, key: str, frame: str, trade_id: int | None = None) -> None:
        """Hand a frame that is not of the log to the clients of a user on a channel; the latest of a key counts.

        With a `trade_id`, to those who watch that trade.
        """
        if (stream := self._streams.get(user_id)) is not None:
            stream.show(channel, key, frame, trade_id)

    async def find_missed(self) -> None:
        """Compare every stream with its user's counter, and read what no broadcast told of."""
        started = {stream.user_id: stream for stream in self._streams.values() if stream.suspect_gap()}
        if not started:
            return
        async with self._uow() as work:
            sequences = await work.events.last_sequences(list(started))
        for user_id, stream in started.items():
            if sequences.get(user_id, 0) > (stream.last or 0):
                stream.read_on()

    async def settle(self) -> None:
        """Wait until nothing is being read."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Give up what is being read."""
        for task in self._tasks:
            task.cancel()
        await self.settle()

    def _join(self, user_id: int, connection: Connection) -> UserStream:
        stream = self._streams.get(user_id)
        if stream is None:
            stream = self._streams[user_id] = UserStream(
                user_id, uow=self._uow, frames=self._frames, notify=self._notify, spawn=self._spawn
            )
            stream.listen(self._broadcast)
        stream.connections[connection.id] = connection
        return stream

    def _leave_unless_subscribed(self, user_id: int, connection: Connection) -> None:
        stream = self._streams.get(user_id)
        if stream is None or connection.subscriptions:
            return
        stream.connections.pop(connection.id, None)
        if not stream.connections:
            stream.close()
            del self._streams[user_id]

    def _notify(self, user_id: int, event: Logged | None) -> None:
        for listener in self._listeners:
            listener(user_id, event)

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
