"""The paper venue's matching: books fed by ticks, and what they match booked in the venue's tables."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

from app.core.faults import buggify
from app.domain.enums import PaperPositionStatus
from app.domain.prices import Tick
from app.domain.trading import VenueFill, VenueFunding
from app.models.paper import PaperOrder, PaperPosition
from app.repositories.paper_repository import LIVE
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.providers.base import Match, QuoteBoard
from app.services.providers.paper.books import FundingClock, PairBooks
from app.services.providers.paper.catalogue import VENUE
from app.services.providers.paper.funding import book_funding, funded_until
from app.services.providers.paper.matches import ORDER_KINDS, MatchKind, PaperMatch
from app.services.providers.paper.matching import Booked, PairOf, book_matches
from app.services.providers.paper.stepping import book_steps
from app.services.providers.paper.terms import PaperTerms

BATCH = 100
# A row is stamped before it is committed: what is asked about begins so long before the last question.
OVERLAP = timedelta(seconds=30)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

type OnLateMatch = Callable[[Sequence[PaperMatch]], None]
type Tell = Callable[[VenueFill | VenueFunding], Awaitable[None]]


class PaperMarket:
    """The matching venue of the pairs that were loaded here; of others it knows nothing and is told nothing.

    `load` starts a pair's books anew from the tables, so it is right at the start and after ticks were missed;
    `catch_up` adds what other processes have traded.
    """

    name = VENUE

    def __init__(
        self, uow: UnitOfWorkFactory, board: QuoteBoard, pair_of: PairOf, tell: Tell, terms: PaperTerms
    ) -> None:
        self._uow = uow
        self._board = board
        self._pair_of = pair_of
        self._tell = tell
        self._terms = terms
        self._books: dict[int, PairBooks] = {}
        # The pairs to which this process does what ticks do.
        self.loaded = self._books.keys()
        # Books that are being read: what is committed meanwhile is in the tables too late for them.
        self._loading: dict[int, PairBooks] = {}
        self._load_lock = asyncio.Lock()
        self._asked_at = _LONG_AGO
        self._unheard: list[PaperMatch] = []
        self._tell_late: OnLateMatch = self._unheard.extend

    def on_tick(self, tick: Tick) -> Sequence[PaperMatch]:
        """Judge one tick of a pair; what it did is to be booked in order."""
        books = self._books.get(tick.pair_id)
        return books.on_tick(tick) if books is not None else ()

    async def book(self, matches: Sequence[Match]) -> list[VenueFill]:
        """Book matches, each once however often it is asked; the fills of all that have one, in order.

        What comes to light on the way and happened before the next of them is booked before it.
        """
        told: list[VenueFill | VenueFunding] = []
        waiting = deque(map(_own, matches))
        while waiting:
            late = self._late(waiting[0])
            waiting.extendleft(reversed(late))
            batch = self._batch(waiting)
            booked = await self._book(batch)
            for _ in batch:
                waiting.popleft()
            self._follow(batch, booked)
            told += booked.told
        if await buggify("match.committed"):
            for word in told:
                await self._tell(word)
        for word in told:
            await self._tell(word)
        await buggify("match.told")
        return [word for word in told if isinstance(word, VenueFill)]

    async def load(self, pair_ids: Sequence[int]) -> Sequence[PaperMatch]:
        """Read the open positions and live orders of pairs, and play them the kept ticks; what those did."""
        async with self._load_lock:
            self._loading = {pair_id: PairBooks() for pair_id in pair_ids}
            try:
                async with self._uow() as work:
                    self._asked_at = await work.paper_accounts.now()
                    positions = await work.paper.open_positions(pair_ids)
                    orders = await work.paper.live_orders(pair_ids)
                    funded = await funded_until(work, pair_ids, self._terms.funding_seconds)
            finally:
                loaded, self._loading = self._loading, {}
            rows: list[PaperPosition | PaperOrder] = [*positions, *orders]
            for row in rows:
                loaded[row.pair_id].add(row, ())
            if self._terms.funding_seconds:
                for pair_id, books in loaded.items():
                    books.funding = FundingClock(self._terms.funding_seconds, funded.get(pair_id))
            self._books |= loaded
            ticks = (tick for pair_id in pair_ids for tick in self._board.kept(pair_id, 0))
            return [match for tick in ticks for match in self.on_tick(tick)]

    def unload(self) -> None:
        """Judge ticks no longer: another process does."""
        self._books.clear()

    async def catch_up(self) -> None:
        """Take up what other processes have let stand since the last time on the pairs that are loaded here."""
        async with self._uow() as work:
            now = await work.paper_accounts.now()
            rows = await work.paper.changed_since(list(self._books), self._asked_at - OVERLAP)
        for row in rows:
            self.watch(row)
        self._asked_at = now

    def on_late_match(self, listener: OnLateMatch) -> None:
        """Register who is told of what kept ticks did to something added after them."""
        self._tell_late = listener
        if self._unheard:
            listener(self._unheard)

    def watch(self, row: PaperPosition | PaperOrder) -> None:
        """Watch a committed row while it is open or live.

        One that is watched already stays as it is, but for a position that has a new liquidation price.
        """
        if row.status is not PaperPositionStatus.OPEN and row.status not in LIVE:
            return
        loading, books = self._loading.get(row.pair_id), self._books.get(row.pair_id)
        if loading is not None:
            loading.add(row, ())
        if books is not None and row not in books:
            if isinstance(row, PaperPosition):
                books.forget(MatchKind.LIQUIDATION, row.id)
            since = row.armed_sequence
            if isinstance(row, PaperOrder) and row.fill_sequence is not None:
                since = row.fill_sequence
            matches = books.add(row, self._board.kept(row.pair_id, since))
            if matches:
                self._tell_late(matches)

    async def settle_order(self, client_id: int) -> None:
        """Book what ticks have done to an order already, so that nothing that comes later overtakes it."""
        async with self._uow() as work:
            found = (await work.paper.by_client_ids([client_id])).get(client_id)
        if found is not None and found.order.status in LIVE:
            await self.book(self._matched(found.order))

    async def settle_position(self, user_id: int, pair_id: int, position_id: int = 0) -> None:
        """Book what ticks have done to a position already, or are to do to its pair by funding.

        Where the venue nets, all that they did on the pair to the account of its user.
        """
        books = self._books.get(pair_id)
        if books is None:
            return
        account_id = None
        if self._terms.netting:
            async with self._uow() as work:
                account_id = await work.paper_accounts.id_of(user_id)
        await self.book(books.matched_on(position_id, account_id))

    def forget(self, kind: MatchKind, pair_id: int, row_id: int) -> None:
        """Stop watching a row that was closed, cancelled or booked."""
        for books in (self._books.get(pair_id), self._loading.get(pair_id)):
            if books is not None:
                books.forget(kind, row_id)

    def forget_order(self, order: PaperOrder) -> None:
        """Stop watching an order that is over."""
        for kind in ORDER_KINDS:
            self.forget(kind, order.pair_id, order.id)

    def _matched(self, order: PaperOrder) -> list[PaperMatch]:
        books = self._books.get(order.pair_id)
        return [match for kind in ORDER_KINDS for match in books.matched(kind, order.id)] if books is not None else []

    async def _book(self, batch: Sequence[PaperMatch]) -> Booked:
        async with self._uow() as work:
            if batch[0].kind is MatchKind.FUNDING:
                return await book_funding(work, batch[0], self._pair_of(batch[0].pair_id), self._terms)
            if self._is_stepwise(batch[0]):
                return await book_steps(work, batch, self._pair_of, self._terms)
            return await book_matches(work, batch, self._pair_of)

    def _batch(self, waiting: Sequence[PaperMatch]) -> list[PaperMatch]:
        """The first of them that can be booked in one transaction."""
        first, most = waiting[0], islice(waiting, BATCH)
        if not self._is_stepwise(first):
            return list(takewhile(lambda match: not self._is_stepwise(match), most))
        return list(takewhile(lambda match: self._is_stepwise(match) and match.step == first.step, most))

    def _is_stepwise(self, match: PaperMatch) -> bool:
        """Whether it must find what those before it have left: netted, a limit fills into what is open."""
        return match.is_stepwise or (self._terms.netting and match.kind is MatchKind.LIMIT_FILL)

    def _late(self, match: PaperMatch) -> list[PaperMatch]:
        books = self._books.get(match.pair_id)
        return books.late(match.step) if books is not None else []

    def _follow(self, batch: Sequence[PaperMatch], booked: Booked) -> None:
        """Bring the books to what was booked."""
        for match in batch:
            books = self._books.get(match.pair_id)
            if books is not None:
                books.booked(match)
        for order in booked.ended:
            self.forget_order(order)
        for position in booked.positions:
            self.watch(position)


def _own(match: Match) -> PaperMatch:
    if not isinstance(match, PaperMatch):
        raise TypeError(f"{type(match).__name__} is no match of this venue")
    return match
