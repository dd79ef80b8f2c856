"""Prices to those who listen: each frame is decoded once and kept for each reader, latest wins."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from app.core.broadcast import Broadcast
from app.domain.channels import Channel, price_topic
from app.domain.errors import Conflict
from app.services.websocket.connections import Connection, Wish
from app.services.websocket.frames import FrameFactory, as_snapshot, reopened

# The ready price_update frame of a pair; None before its first price.
type PriceFrames = Callable[[int], bytes | None]


@dataclass(slots=True)
class PairStream:
    """One pair's frames, at most one each `pause` seconds: the first at once, of those within a pause the last."""

    key: str
    pause: float
    connections: dict[int, Connection] = field(default_factory=dict)
    unsubscribe: Callable[[], None] | None = None
    _waiting: bytes | None = None
    _timer: asyncio.TimerHandle | None = None

    def receive(self, message: bytes) -> None:
        """Show a frame, or keep it until the pause is over."""
        if self._timer is not None:
            self._waiting = message
            return
        self._show(message)
        if self.pause:
            self._timer = asyncio.get_running_loop().call_later(self.pause, self._end_pause)

    def stop(self) -> None:
        """Show nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self.unsubscribe is not None:
            self.unsubscribe()

    def _end_pause(self) -> None:
        self._timer = None
        if (message := self._waiting) is not None:
            self._waiting = None
            self.receive(message)

    def _show(self, message: bytes) -> None:
        frame = reopened(message)
        for connection in self.connections.values():
            connection.outbox.put_latest(self.key, frame)


class PriceStreams:
    """One subscription of the broadcast per pair that anybody here listens to."""

    def __init__(
        self,
        broadcast: Broadcast,
        price_frames: PriceFrames,
        frames: FrameFactory,
        *,
        max_pairs: int,
        pause_seconds: float,
    ) -> None:
        self._broadcast = broadcast
        self._price_frames = price_frames
        self._frames = frames
        self._max_pairs = max_pairs
        self._pause_seconds = pause_seconds
        self._streams: dict[int, PairStream] = {}

    def subscribe(self, connection: Connection, wish: Wish) -> None:
        """Show a client pairs: the answer, the current price of each, then every change.

        Conflict LIMIT_EXCEEDED, and no change, where that would be too many.
        """
        pairs = wish.pairs or {}
        if len(connection.pairs | pairs.keys()) > self._max_pairs:
            raise Conflict("Too many pairs", code="LIMIT_EXCEEDED", limit="pairs", max=self._max_pairs)
        data = {"pairs": list(pairs.values())}
        connection.outbox.put(self._frames.of_now("subscribed", Channel.PRICES, data, wish.frame_id))
        for pair_id in pairs:
            self._join(connection, pair_id)

    def unsubscribe(self, connection: Connection, wish: Wish) -> None:
        """Show a client some pairs no longer, or none."""
        pair_ids = connection.pairs if wish.pairs is None else connection.pairs & wish.pairs.keys()
        for pair_id in tuple(pair_ids):
            self._leave(connection, pair_id)
        data = {} if wish.pairs is None else {"pairs": list(wish.pairs.values())}
        connection.outbox.put(self._frames.of_now("unsubscribed", Channel.PRICES, data, wish.frame_id))

    def leave_all(self, connection: Connection) -> None:
        """Forget a client that is gone."""
        for pair_id in tuple(connection.pairs):
            self._leave(connection, pair_id)

    def _join(self, connection: Connection, pair_id: int) -> None:
        stream = self._streams.get(pair_id)
        if stream is None:
            stream = self._streams[pair_id] = PairStream(f"{Channel.PRICES}:{pair_id}", self._pause_seconds)
            stream.unsubscribe = self._broadcast.subscribe(price_topic(pair_id), stream.receive)
        stream.connections[connection.id] = connection
        connection.pairs.add(pair_id)
        if (current := self._price_frames(pair_id)) is not None:
            connection.outbox.put_latest(stream.key, as_snapshot(reopened(current)))

    def _leave(self, connection: Connection, pair_id: int) -> None:
        stream = self._streams[pair_id]
        connection.pairs.discard(pair_id)
        connection.outbox.forget(lambda key: key == stream.key)
        stream.connections.pop(connection.id, None)
        if not stream.connections:
            stream.stop()
            del self._streams[pair_id]
