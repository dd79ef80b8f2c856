"""What ticks did, in the order they did it, until it is committed."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import takewhile

from app.services.claim_service import Crossed
from app.services.pair_watch import PairWatch, Unsettled
from app.services.providers.base import Match

# So much may wait for the database before the feed is held back.
BACKLOG = 2000


class TriggerQueue:
    """Crossings and matches of all pairs. What is taken and not settled still holds back its pair's checkpoint."""

    def __init__(self) -> None:
        self._items: deque[Unsettled] = deque()
        self._filled = asyncio.Event()
        self.has_room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def open(self) -> None:
        """Let the feed come."""
        self.has_room.set()

    def close(self) -> None:
        """Forget everything, and hold the feed back."""
        self._items.clear()
        self.has_room.clear()

    def push(self, watch: PairWatch, sequence: int, subject: Crossed | Match) -> None:
        """Add what a tick did; until it is settled the pair's checkpoint stays before that tick."""
        item = Unsettled(watch, sequence, subject)
        watch.unsettled.add(item)
        self._items.append(item)
        self._filled.set()
        if len(self._items) > BACKLOG:
            self.has_room.clear()

    async def filled(self) -> None:
        """Return once something waits."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()

    def take(self) -> Sequence[Unsettled]:
        """Take everything of one kind from the front; it is settled or put back by who took it."""
        if not self._items:
            return ()
        kind = isinstance(self._items[0].subject, Crossed)
        run = list(takewhile(lambda item: isinstance(item.subject, Crossed) is kind, self._items))
        for _ in run:
            self._items.popleft()
        return run

    def put_back(self, items: Sequence[Unsettled]) -> None:
        """Let items wait again, before all others."""
        self._items.extendleft(reversed(items))
        if items:
            self._filled.set()

    def defer(self, items: Sequence[Unsettled]) -> None:
        """Let items wait again, behind all others."""
        self._items.extend(items)

    def settle(self, items: Iterable[Unsettled]) -> None:
        """Items are committed, or latched on their rows: their ticks hold back no checkpoint any more."""
        for item in items:
            item.watch.unsettled.discard(item)
        if len(self._items) <= BACKLOG:
            self.has_room.set()
