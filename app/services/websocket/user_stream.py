"""One user's log as this process hands it on: in order and without a gap, whatever a broadcast skips."""

from collections.abc import Callable, Coroutine, Iterable

from app.core.broadcast import Broadcast
from app.domain.channels import Channel, live_topic, user_topic
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.websocket.connections import Connection
from app.services.websocket.frames import FrameFactory, Logged, decode_logged, reopened

READ_AHEAD = 500

# Told of a user's next event, or of None where the stream begins and what came before is not told.
type EventListener = Callable[[int, Logged | None], None]
type Spawn = Callable[[Coroutine[None, None, None]], None]


class UserStream:
    """Hands a user's events to its connections, once the first snapshot has said where to begin.

    A broadcast is believed only where it is the very next event; else the log is read, by a task of `spawn`.
    """

    def __init__(
        self,
        user_id: int,
        *,
        uow: UnitOfWorkFactory,
        frames: FrameFactory,
        notify: Callable[[int, Logged | None], None],
        spawn: Spawn,
    ) -> None:
        self.user_id = user_id
        self.connections: dict[int, Connection] = {}
        # The last sequence handed on, and the one the stream began after.
        self.last: int | None = None
        self._first: int | None = None
        self._is_behind = False
        self._is_reading = False
        self._uow = uow
        self._frames = frames
        self._notify = notify
        self._spawn = spawn
        self._unsubscribe: list[Callable[[], None]] = []

    def listen(self, broadcast: Broadcast) -> None:
        """Hear of the user's events and live frames until `close`."""
        self._unsubscribe = [
            broadcast.subscribe(user_topic(self.user_id), self._on_message),
            broadcast.subscribe(live_topic(self.user_id), self._on_live_message),
        ]

    def close(self) -> None:
        """Hear of nothing more."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    def start(self, sequence: int) -> None:
        """Begin to hand on after a snapshot; one that is older than where others began has it begin again there."""
        if self._first is None:
            self._notify(self.user_id, None)
        elif sequence < self._first:
            self._is_behind = True
            # All of it is handed on again, and what comes must come in order.
            for connection in self.connections.values():
                connection.forget_held()
        else:
            return
        self._first = self.last = sequence
        if self._is_behind:
            self.read_on()

    def suspect_gap(self) -> bool:
        """Events may have been missed: whether to compare with the log now.

        Not before a snapshot has said where to begin; that may be an old one, so the stream then reads on from there.
        """
        if self.last is None:
            self._is_behind = True
        return self.last is not None

    def read_on(self) -> None:
        """Read the log from the last event handed on to its end."""
        self._is_behind = True
        if not self._is_reading:
            self._is_reading = True
            self._spawn(self._read())

    def show(self, channel: Channel, key: str, frame: str, trade_id: int | None = None) -> None:
        """Hand on a frame that is not of the log; the latest of a key counts."""
        for connection in self.connections.values():
            connection.deliver_latest(channel, key, frame, trade_id)

    def _on_message(self, message: bytes) -> None:
        event = decode_logged(message)
        if self.last is None or self._is_reading:
            self._is_behind = True
        elif event.sequence == self.last + 1:
            self._hand_on([event])
        elif event.sequence > self.last:
            self.read_on()

    def _on_live_message(self, message: bytes) -> None:
        key, _, frame = message.partition(b"\n")
        text = key.decode()
        self.show(Channel(text.partition(":")[0]), text, reopened(frame))

    def _hand_on(self, events: Iterable[Logged]) -> None:
        for event in events:
            self.last = event.sequence
            if (frame := self._frames.of_event(event)) is not None:
                for connection in self.connections.values():
                    connection.deliver(frame)
            self._notify(self.user_id, event)

    async def _read(self) -> None:
        try:
            while self._is_behind and self.connections:
                self._is_behind = False
                after = self.last or 0
                async with self._uow() as work:
                    events = await work.events.after(self.user_id, after, limit=READ_AHEAD)
                if self.last != after:
                    continue  # it began again meanwhile, which also left it behind
                self._hand_on(events)
                self._is_behind |= len(events) == READ_AHEAD
        finally:
            self._is_reading = False
