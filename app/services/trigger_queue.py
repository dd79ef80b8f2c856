"""What ticks did, in the order they did it, until it is committed."""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice, takewhile

from app.services.claim_service import Crossed
from app.services.pair_watch import PairWatch, Unsettled
from app.services.providers.base import Match

BATCH = 100
# So much may wait for the database before the feed is held back.
BACKLOG = 2000


class TriggerQueue:
    """Crossings and matches of all pairs. Nothing leaves before it is settled, so a failure loses nothing."""

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

    async def next_run(self) -> Sequence[Unsettled]:
        """Wait for the front of the queue: up to 100 items of one kind, which stay there until they are settled."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        kind = isinstance(self._items[0].subject, Crossed)
        return list(takewhile(lambda item: isinstance(item.subject, Crossed) is kind, islice(self._items, BATCH)))

    def settled(self, run: Sequence[Unsettled]) -> None:
        """Drop a run from the front: it is committed, or latched on its rows."""
        for item in run:
            self._items.popleft()
            item.watch.unsettled.discard(item)
        if len(self._items) <= BACKLOG:
            self.has_room.set()
