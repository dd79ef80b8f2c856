"""The paper venue: a real exchange in miniature, whose books are its own tables."""

from collections.abc import Sequence
from copy import copy
from datetime import datetime
from functools import partial
from typing import Protocol, Self

from app.core.clock import Clock
from app.core.faults import buggify
from app.domain import ledger
from app.domain.errors import Conflict
from app.domain.money import ZERO
from app.domain.prices import Price
from app.domain.trading import (
    AccountRef,
    CloseParams,
    ExitParams,
    PairListing,
    TradeParams,
    TradeResult,
    VenueBalance,
    VenueCapabilities,
    VenueFill,
    VenueFunding,
    VenueOutcome,
    VenuePosition,
    VenueRef,
)
from app.models.market import Pair
from app.repositories.outcomes import undone_when_lost, unknown_when_lost
from app.repositories.paper_repository import Execution
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.providers.base import VENUE_TOPIC, BaseTradingProvider, QuoteBoard
from app.services.providers.paper.catalogue import CATALOGUE, VENUE
from app.services.providers.paper.desk import Desk, Moment
from app.services.providers.paper.mapping import fills_of, funding_of, position_of, result_of
from app.services.providers.paper.market import PaperMarket
from app.services.providers.paper.matches import MatchKind
from app.services.providers.paper.terms import PaperTerms


class PriceBoard(QuoteBoard, Protocol):
    """The last ticks of this process, and prices as they are answered."""

    def price(self, pair: Pair) -> Price:
        """The pair's price; Unavailable before the first tick."""
        ...


class PairDirectory(Protocol):
    """Finds pairs."""

    def by_id(self, pair_id: int) -> Pair:
        """The pair; NotFound for an unknown id."""
        ...

    def resolve_pair(self, text: str, venue: str) -> Pair:
        """The pair that a symbol means at a venue; NotFound for an unknown one."""
        ...


class PaperProvider(BaseTradingProvider):
    """Orders fill in the calling process, at the last tick it has seen once it holds the account.

    By its terms an order may also work: it fills at ticks to come, in one part or in several.

    Everything that changes an account's orders, positions or money holds the lock of its row from before it looks
    until it commits, so nothing is spent, filled or closed twice, and a deadline is judged by the database's clock.
    `market` does what ticks do.
    """

    name = VENUE

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        board: PriceBoard,
        directory: PairDirectory,
        clock: Clock,
        terms: PaperTerms,
    ) -> None:
        self.market = PaperMarket(uow, board, directory.by_id, self.tell, terms)
        self.capabilities = VenueCapabilities(netting=terms.netting, native_exits=terms.native_exits)
        self._uow = uow
        self._board = board
        self._directory = directory
        self._moment = partial(_moment, directory, board, clock)
        self._terms = terms
        self._starting_balance = terms.starting_balance

    def on_pool(self, uow: UnitOfWorkFactory) -> Self:
        """The same venue, asked over another pool of connections; its market stays on the first."""
        beside = copy(self)
        beside._uow = uow
        return beside

    async def get_pairs(self) -> list[PairListing]:
        """The catalogue."""
        return [pair.listing for pair in CATALOGUE]

    async def get_price(self, asset: str, quote: str) -> Price:
        """The price on the board of this process."""
        return self._board.price(self._directory.resolve_pair(asset + quote, self.name))

    async def open_trade(self, trade_params: TradeParams) -> TradeResult:
        """Fill a market order at the quote; a limit order too where it is marketable, else let it rest."""
        ref, client_id = trade_params.ref, trade_params.client_id
        if self._terms.netting:
            async with undone_when_lost(client_id):
                await self.market.settle_position(ref.user_id, ref.pair_id)
        async with unknown_when_lost(client_id), self._uow() as work:
            desk = await self._desk(work, ref.user_id)
            placed = await desk.find(client_id) or await desk.open(trade_params, self._moment(ref.pair_id))
            self._hint(work, ref.pair_id)
        self._watch(placed)
        await buggify("venue.committed")
        return result_of(placed, ref.venue_account_id)

    async def close_trade(self, pair_id: int, index: str, params: CloseParams) -> TradeResult:
        """Reduce a position at the quote; a size beyond the position's closes it whole."""
        position_id = _position_id(index)
        async with undone_when_lost(params.client_id):
            await self.market.settle_position(params.ref.user_id, pair_id, position_id)
        async with unknown_when_lost(params.client_id), self._uow() as work:
            desk = await self._desk(work, params.ref.user_id)
            done = await desk.find(params.client_id)
            done = done or await desk.close(params, position_id, self._moment(pair_id))
            self._hint(work, pair_id)
        if done.fills and not done.fills[-1].size_left:
            self.market.forget(MatchKind.LIQUIDATION, pair_id, position_id)
        for order in desk.ended:
            self.market.forget_order(order)
        self.market.watch(done.order)
        await buggify("venue.committed")
        return result_of(done, params.ref.venue_account_id)

    async def place_exit(self, params: ExitParams) -> TradeResult:
        """Let a stop, a take-profit or both rest on a position; NOT_SUPPORTED unless the terms say so."""
        async with unknown_when_lost(params.client_id), self._uow() as work:
            desk = await self._desk(work, params.ref.user_id)
            placed = await desk.find(params.client_id)
            position_id = _position_id(params.venue_trade_index)
            placed = placed or await desk.hold(params, position_id, self._moment(params.ref.pair_id))
            self._hint(work, params.ref.pair_id)
        self.market.watch(placed.order)
        return result_of(placed, params.ref.venue_account_id)

    async def cancel_order(self, ref: VenueRef, client_id: int) -> TradeResult:
        """Take off what is left of an order and release what it reserves; REJECTED as NOT_FOUND for an unknown one."""
        async with undone_when_lost(client_id):
            await self.market.settle_order(client_id)
        async with unknown_when_lost(client_id), self._uow() as work:
            desk = await self._desk(work, ref.user_id)
            found = await desk.find(client_id)
            if found is not None:
                await desk.cancel(found.order)
        if found is None:
            return TradeResult(client_id, VenueOutcome.REJECTED, reason="NOT_FOUND")
        self.market.forget_order(found.order)
        await buggify("venue.committed")
        return result_of(found, ref.venue_account_id)

    async def query(self, ref: VenueRef, client_id: int) -> TradeResult | None:
        """The venue's word on a client id; after `not_after`, None is proof that it will never know it.

        The account's lock is waited for: a request that has it is done then, one that gets it later is too late.
        """
        async with self._uow() as work:
            found = await (await self._desk(work, ref.user_id)).find(client_id)
        if found is None:
            return None
        self._watch(found)
        return result_of(found, ref.venue_account_id)

    async def open_positions(self, refs: Sequence[VenueRef]) -> list[VenuePosition]:
        """Every open position of the accounts and pairs named."""
        venue_accounts = {ref.user_id: ref.venue_account_id for ref in refs}
        async with self._uow() as work:
            rows = await work.paper.open_positions_of([(ref.user_id, ref.pair_id) for ref in refs])
        return [position_of(position, venue_accounts[user_id]) for position, user_id in rows]

    async def fills_since(self, ref: VenueRef, since: datetime) -> list[VenueFill]:
        """Executions of one account and pair, oldest first, liquidations included."""
        async with self._uow() as work:
            account = await work.paper_accounts.of_user(ref.user_id, self._starting_balance)
            executions = await work.paper.fills_since(account.id, ref.pair_id, since)
        return [fill for execution in executions for fill in fills_of(execution, ref.venue_account_id)]

    async def funding_since(self, ref: VenueRef, since: datetime) -> list[VenueFunding]:
        """Fundings of one account and pair, by their instants."""
        async with self._uow() as work:
            account = await work.paper_accounts.of_user(ref.user_id, self._starting_balance)
            fundings = await work.paper_funding.since(account.id, ref.pair_id, since)
        return [funding_of(funding, ref.venue_account_id) for funding in fundings]

    async def balance(self, ref: AccountRef) -> VenueBalance:
        """The account's money; a new account has the starting balance."""
        async with self._uow() as work:
            account = await work.paper_accounts.of_user(ref.user_id, self._starting_balance)
        return VenueBalance(free=account.balance, locked=account.margin)

    async def ping(self) -> None:
        """The venue can be reached while its tables can."""
        async with self._uow() as work:
            await work.paper_accounts.now()

    async def reset(self, user_id: int) -> VenueBalance:
        """Bring an account back to the starting balance; Conflict while it has a position or a live order."""
        async with self._uow() as work:
            account, _ = await work.paper_accounts.lock(user_id, self._starting_balance)
            if await work.paper.is_in_use(account.id):
                raise Conflict("Close every position and cancel every resting order of the paper account first.")
            await work.paper_accounts.post([ledger.reset(account.id, account.balance, self._starting_balance)])
        return VenueBalance(free=self._starting_balance, locked=ZERO)

    def _hint(self, work: UnitOfWork, pair_id: int) -> None:
        """Let the process that does what ticks do to a pair hear of it, where that is another one."""
        if pair_id not in self.market.loaded:
            work.hint(VENUE_TOPIC, b"")

    async def _desk(self, work: UnitOfWork, user_id: int) -> Desk:
        return Desk(work, await work.paper_accounts.lock(user_id, self._starting_balance), self._terms)

    def _watch(self, placed: Execution) -> None:
        """Show the market what stands; where an answer was lost on the way, it hears of it only by a later question."""
        if placed.position is not None:
            self.market.watch(placed.position)
        self.market.watch(placed.order)


def _moment(directory: PairDirectory, board: PriceBoard, clock: Clock, pair_id: int) -> Moment:
    return Moment(directory.by_id(pair_id), board.latest(pair_id), clock.now())


def _position_id(index: str) -> int:
    """The position that a venue trade index names; 0, which none has, for what is no index of ours."""
    return int(index) if index.isascii() and index.isdecimal() and len(index) < 19 else 0
