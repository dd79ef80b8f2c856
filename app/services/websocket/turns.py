"""Turns for many writers: some in each round of the event loop, so that whatever else is due runs between them."""

import asyncio
from collections import deque
from collections.abc import Callable

# A frame to each of so many takes about a millisecond.
EACH_ROUND = 50


class Turns:
    """Calls back whoever asked for a turn, in the order of asking; a call must not wait and must not raise."""

    __slots__ = ("_each_round", "_is_due", "_waiting")

    def __init__(self, each_round: int = EACH_ROUND) -> None:
        self._each_round = each_round
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    def ask(self, call: Callable[[], None]) -> None:
        """Have `call` made in this round of the running loop or a later one."""
        self._waiting.append(call)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._round)

    def _round(self) -> None:
        try:
            for _ in range(min(self._each_round, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            self._is_due = bool(self._waiting)
            if self._is_due:
                asyncio.get_running_loop().call_soon(self._round)
