"""The paper venue's matching: books fed by ticks, and what they match booked in the venue's tables."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import batched

from app.domain.enums import PaperOrderStatus, PaperPositionStatus
from app.domain.prices import Tick
from app.domain.trading import VenueFill
from app.models.paper import PaperOrder, PaperPosition
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.providers.base import Match, OnFill, QuoteBoard
from app.services.providers.paper.books import MatchKind, PairBooks, PaperMatch
from app.services.providers.paper.catalogue import VENUE
from app.services.providers.paper.matching import PairOf, book_matches

BATCH = 100

type OnLateMatch = Callable[[Sequence[PaperMatch]], None]


class PaperMarket:
    """The matching venue of the pairs that were loaded here; of others it knows nothing and is told nothing.

    `load` starts a pair's books anew from the tables, so it is right at the start, after ticks were missed, and
    whenever another process may have traded.
    """

    name = VENUE

    def __init__(self, uow: UnitOfWorkFactory, board: QuoteBoard, pair_of: PairOf, tell_fill: OnFill) -> None:
        self._uow = uow
        self._board = board
        self._pair_of = pair_of
        self._tell_fill = tell_fill
        self._books: dict[int, PairBooks] = {}
        # Books that are being read: what is committed meanwhile is in the tables too late for them.
        self._loading: dict[int, PairBooks] = {}
        self._load_lock = asyncio.Lock()
        self._unheard: list[PaperMatch] = []
        self._tell: OnLateMatch = self._unheard.extend

    def on_tick(self, tick: Tick) -> Sequence[PaperMatch]:
        """Judge one tick of a pair; what it did is to be booked in order."""
        books = self._books.get(tick.pair_id)
        return books.on_tick(tick) if books is not None else ()

    async def book(self, matches: Sequence[Match]) -> list[VenueFill]:
        """Book matches, each once however often it is asked; the fills of all that have one, in order."""
        fills: list[VenueFill] = []
        for batch in batched(map(_own, matches), BATCH):
            async with self._uow() as work:
                booked = await book_matches(work, batch, self._pair_of)
            for match in batch:
                self.forget(match.kind, match.pair_id, match.row_id)
            for position in booked.opened:
                self.watch(position)
            fills += booked.fills
        for fill in fills:
            await self._tell_fill(fill)
        return fills

    async def load(self, pair_ids: Sequence[int]) -> Sequence[PaperMatch]:
        """Read the open positions and resting orders of pairs, and play them the kept ticks; what those did."""
        async with self._load_lock:
            self._loading = {pair_id: PairBooks() for pair_id in pair_ids}
            try:
                async with self._uow() as work:
                    positions = await work.paper.open_positions(pair_ids)
                    orders = await work.paper.resting_orders(pair_ids)
            finally:
                loaded, self._loading = self._loading, {}
            rows: list[PaperPosition | PaperOrder] = [*positions, *orders]
            for row in rows:
                loaded[row.pair_id].add(row, ())
            self._books |= loaded
            ticks = (tick for pair_id in pair_ids for tick in self._board.kept(pair_id, 0))
            return [match for tick in ticks for match in self.on_tick(tick)]

    def on_late_match(self, listener: OnLateMatch) -> None:
        """Register who is told of what kept ticks did to something added after them."""
        self._tell = listener
        if self._unheard:
            listener(self._unheard)

    def watch(self, row: PaperPosition | PaperOrder) -> None:
        """Watch a committed row while it is open or rests; one that is watched already stays as it is."""
        if row.status not in (PaperPositionStatus.OPEN, PaperOrderStatus.RESTING):
            return
        loading, books = self._loading.get(row.pair_id), self._books.get(row.pair_id)
        if loading is not None:
            loading.add(row, ())
        if books is not None and row not in books:
            match = books.add(row, self._board.kept(row.pair_id, row.armed_sequence))
            if match is not None:
                self._tell([match])

    async def settle(self, kind: MatchKind, pair_id: int, row_id: int) -> None:
        """Book what a tick has done to a row already, so that nothing that comes later overtakes it."""
        books = self._books.get(pair_id)
        match = books.matched(kind, row_id) if books is not None else None
        if match is not None:
            await self.book([match])

    def forget(self, kind: MatchKind, pair_id: int, row_id: int) -> None:
        """Stop watching a row that was closed, cancelled or booked."""
        for books in (self._books.get(pair_id), self._loading.get(pair_id)):
            if books is not None:
                books.forget(kind, row_id)


def _own(match: Match) -> PaperMatch:
    if not isinstance(match, PaperMatch):
        raise TypeError(f"{type(match).__name__} is no match of this venue")
    return match
