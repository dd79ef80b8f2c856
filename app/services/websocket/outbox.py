"""What waits to be sent on one connection: frames in order, and frames of which only the latest counts."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from app.services.websocket.turns import Turns


@dataclass(frozen=True, slots=True)
class Closing:
    """Why a connection ends: the WebSocket close code and a short reason."""

    code: int
    reason: str


SLOW = Closing(4430, "reader too slow; resume from the last sequence")


class Outbox:
    """A bounded queue that nobody waits for; its one writer is given a turn whenever there may be something to send.

    Frames put in order are never dropped: one that does not fit ends the connection with 4430. A `latest` frame
    replaces an unsent one of the same key. Frames lack their last brace, so that the writer can add to each.
    """

    __slots__ = (
        "_frames",
        "_has_turn",
        "_latest",
        "_max_bytes",
        "_max_frames",
        "_room",
        "_size",
        "_turns",
        "_write",
        "closing",
    )

    def __init__(self, max_frames: int, max_bytes: int, turns: Turns) -> None:
        # Made with the first frame, and let go with the last: thousands of connections have nothing to send.
        self._frames: deque[str] | None = None
        self._latest: dict[str, str] = {}
        self._size = 0
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._room: asyncio.Future[None] | None = None
        self.closing: Closing | None = None
        self._turns = turns
        self._write: Callable[[], None] | None = None
        # Whether whoever writes will look here without being asked again; at first nobody can be asked.
        self._has_turn = True

    def attach(self, write: Callable[[], None]) -> None:
        """Have `write` called in a turn whenever there may be something to send, first now.

        It ends with `rest`, unless the connection ends.
        """
        self._write = write
        self._turns.ask(write)

    def rest(self) -> None:
        """Say that all was taken: the next that comes asks for a turn again."""
        self._has_turn = False

    def detach(self) -> None:
        """Ask for no turn any more."""
        self._write = None

    def _ask(self) -> None:
        if not self._has_turn and self._write is not None:
            self._has_turn = True
            self._turns.ask(self._write)

    def put(self, frame: str) -> None:
        """Queue a frame behind those before it; the connection ends as slow where it does not fit."""
        if self.closing is not None:
            return
        if self._frames is None:
            self._frames = deque()
        if len(self._frames) >= self._max_frames or self._size + len(frame) > self._max_bytes:
            self.close(SLOW, discard=True)
            return
        self._frames.append(frame)
        self._size += len(frame)
        self._ask()

    def put_latest(self, key: str, frame: str) -> None:
        """Queue a frame in place of an unsent one of the same key."""
        if self.closing is None:
            self._latest[key] = frame
            # Asked here for its speed: this is done for every reader of every price.
            if not self._has_turn:
                self._ask()

    def forget(self, is_over: Callable[[str], bool]) -> None:
        """Drop the unsent latest frames of the keys for which `is_over` is true."""
        for key in [key for key in self._latest if is_over(key)]:
            del self._latest[key]

    def close(self, closing: Closing, *, discard: bool = False) -> None:
        """End the connection once what is queued has been sent, or at once; the first reason stands."""
        if discard:
            self._frames = None
            self._size = 0
        self._latest.clear()
        self.closing = self.closing or closing
        self._ask()
        if self._room is not None:
            self._free(self._room)

    def take(self) -> str | None:
        """The next frame to send: those in order first; None when there is none."""
        if self._frames:
            frame = self._frames.popleft()
            self._size -= len(frame)
            if not self._frames:
                self._frames = None
            if self._room is not None and self.has_room:
                self._free(self._room)
            return frame
        if len(self._latest) > 1:
            return self._latest.pop(next(iter(self._latest)))
        # Unlike pop, this leaves the dict as it is when it is new: no gap, and soon no larger table.
        return self._latest.popitem()[1] if self._latest else None

    @property
    def has_room(self) -> bool:
        """Whether the queue is less than half full."""
        return len(self._frames or ()) * 2 < self._max_frames and self._size * 2 < self._max_bytes

    async def room(self) -> None:
        """Wait until the queue is less than half full, or the end. For the one reader, before it answers at length."""
        while not self.has_room and self.closing is None:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    @staticmethod
    def _free(waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)
