"""A bounded number of slots that are given to those who wait in turn, so that a greedy one starves nobody."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """`total` slots, at most `each` of them to one key at a time; keys that wait take turns, each in its own order."""

    def __init__(self, total: int, each: int) -> None:
        self._free = total
        self._each = each
        self._held: dict[int, int] = {}
        self._waiting: OrderedDict[int, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, key: int) -> AsyncIterator[None]:
        """Hold a slot for the length of the block."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(key)
            raise
        try:
            yield
        finally:
            self._give_back(key)

    def _give_back(self, key: int) -> None:
        self._free += 1
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        self._grant()

    def _grant(self) -> None:
        for key in tuple(self._waiting):
            if not self._free:
                return
            self._grant_one(key)

    def _grant_one(self, key: int) -> None:
        """Let the first of a key that still waits have a slot, and the key wait behind the others again."""
        line = self._waiting[key] = deque(turn for turn in self._waiting[key] if not turn.done())
        held = self._held.get(key, 0)
        if line and held < self._each:
            self._free -= 1
            self._held[key] = held + 1
            line.popleft().set_result(None)
            self._waiting.move_to_end(key)
        if not line:
            del self._waiting[key]
