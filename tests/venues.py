"""Venues that tests trade on: what the conformance suite asks of one, and the paper venue with a hand on its market."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol

from sqlalchemy import func, select

from app.bootstrap import Container
from app.domain.enums import Category, OrderType, PositionSide
from app.domain.ledger import LedgerAccount
from app.domain.prices import Market, Price, Quote, Tick
from app.domain.trading import CloseParams, ExitParams, TradeParams, VenueFill, VenueRef
from app.models.market import Pair
from app.models.paper import PaperLedgerEntry
from app.services.pair_directory import PairDirectory
from app.services.price_board import no_price_yet, price_of
from app.services.providers.base import BaseTradingProvider
from app.services.providers.paper.matches import PaperMatch
from app.services.providers.paper.provider import PaperProvider
from app.services.providers.paper.terms import PaperTerms
from tests.factories import create_person
from tests.fakes import ManualClock

STARTING_BALANCE = Decimal(10_000)
TERMS = PaperTerms(starting_balance=STARTING_BALANCE)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_client_ids = itertools.count(1)
_pairs = itertools.count(1)


def next_client_id() -> int:
    """A client id that no other test has."""
    return next(_client_ids)


class VenueUnderTest(Protocol):
    """A venue of which a test holds the market; its one pair has the price it was last given."""

    @property
    def provider(self) -> BaseTradingProvider:
        """The adapter."""
        ...

    @property
    def pair(self) -> Pair:
        """What is traded."""
        ...

    async def new_account(self) -> VenueRef:
        """A funded account of a new user, and the pair."""
        ...

    async def quote(self, bid: str, ask: str) -> None:
        """The market moves; what that does at the venue is done on return."""
        ...

    async def set_open(self, *, is_open: bool) -> None:
        """The pair's market opens or closes, at the last price."""
        ...

    async def settle(self) -> None:
        """Let the venue do what it has accepted."""
        ...

    async def deadline(self, seconds: float) -> datetime:
        """The instant so many seconds from now, by the clock that the venue judges `not_after` by."""
        ...


class HandBoard:
    """A board of prices that a test writes; it keeps every tick."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ticks: dict[int, list[Tick]] = {}
        self.market = Market(is_open=True)
        self._quotes: dict[int, Quote] = {}

    def put(self, tick: Tick) -> None:
        """Take the next tick of its pair."""
        self.ticks.setdefault(tick.pair_id, []).append(tick)
        self._quotes[tick.pair_id] = Quote(tick, self.clock.now(), self.market)

    def set_open(self, *, is_open: bool) -> None:
        """Open or close every market."""
        self.market = Market(is_open=is_open)
        self._quotes = {pair_id: replace(quote, market=self.market) for pair_id, quote in self._quotes.items()}

    def latest(self, pair_id: int) -> Quote | None:
        return self._quotes.get(pair_id)

    def kept(self, pair_id: int, after_sequence: int) -> Sequence[Tick]:
        return [tick for tick in self.ticks.get(pair_id, []) if tick.sequence > after_sequence]

    def price(self, pair: Pair) -> Price:
        quote = self.latest(pair.id)
        if quote is None:
            raise no_price_yet(pair)
        return price_of(pair, quote, self.clock.now())


class PaperVenue:
    """The paper venue on the test's database, its ticks made by hand; `matches` are what ticks did, uncommitted."""

    def __init__(
        self, container: Container, directory: PairDirectory, board: HandBoard, pair: Pair, terms: PaperTerms = TERMS
    ) -> None:
        self.container = container
        self.terms = terms
        self.directory = directory
        self.board = board
        self.pair = pair
        self.uow = container.uow
        self.matches: list[PaperMatch] = []
        self.provider = PaperProvider(self.uow, board, directory, board.clock, terms)
        self.provider.market.on_late_match(self.matches.extend)

    async def start(self) -> None:
        """Begin to watch the pair, as the holder of its lease does."""
        self.matches += await self.provider.market.load([self.pair.id])

    def restarted(self) -> "PaperVenue":
        """Another process on the same database that sees the same ticks; it has not started to watch."""
        return PaperVenue(self.container, self.directory, self.board, self.pair, self.terms)

    async def new_account(self) -> VenueRef:
        person = await create_person(self.container)
        async with self.uow() as work:
            account = await work.venue_accounts.ensure(person.id, "paper")
        return VenueRef(person.id, account.id, self.pair.id, self.pair.venue_pair_id)

    def tick(self, bid: str | Decimal, ask: str | Decimal) -> Tick:
        """Show the next tick to the venue; what it does waits in `matches`."""
        sequence = len(self.board.ticks.get(self.pair.id, ())) + 1
        tick = Tick(self.pair.id, sequence, Decimal(bid), Decimal(ask), self.board.clock.now(), "test")
        self.board.put(tick)
        self.matches += self.provider.market.on_tick(tick)
        return tick

    async def settle(self) -> None:
        await self.commit()

    async def commit(self) -> list[VenueFill]:
        """Book everything that ticks did."""
        fills: list[VenueFill] = []
        while self.matches:
            batch = self.matches[:]
            self.matches.clear()
            fills += await self.provider.market.book(batch)
        return fills

    async def quote(self, bid: str, ask: str) -> None:
        self.tick(bid, ask)
        await self.commit()

    async def set_open(self, *, is_open: bool) -> None:
        self.board.set_open(is_open=is_open)

    async def deadline(self, seconds: float) -> datetime:
        async with self.uow() as work:
            return await work.paper_accounts.now() + timedelta(seconds=seconds)

    async def assert_books_balance(self) -> None:
        """Every booking sums to zero, and every account agrees with its entries and with what is open or rests."""
        async with self.uow() as work:
            assert await work.paper_accounts.is_zero()
            assert await work.paper_accounts.differences() == []

    async def house(self, account: LedgerAccount) -> Decimal:
        """What a house account holds over all users."""
        query = select(func.coalesce(func.sum(PaperLedgerEntry.amount), 0))
        async with self.uow() as work:
            total = await work.session.scalar(query.where(PaperLedgerEntry.account == account.value))
        return Decimal(total or 0)


async def new_pair(container: Container) -> Pair:
    """A pair of the paper venue that nobody has traded: steps 0.01 and 0.000001, 1x to 50x, fee 0.05 %."""
    base = f"T{next(_pairs)}"
    async with container.uow() as work:
        return await work.pairs.add(
            Pair(
                venue="paper",
                venue_pair_id=f"{base}USD",
                symbol=f"{base}USD",
                base=base,
                quote="USD",
                aliases=[],
                category=Category.CRYPTO,
                price_step=Decimal("0.01"),
                size_step=Decimal("0.000001"),
                min_leverage=1,
                max_leverage=50,
                min_collateral=Decimal(1),
                max_collateral=Decimal(1_000_000),
                taker_fee_rate=Decimal("0.0005"),
                maintenance_margin_rate=Decimal("0.01"),
                market_hours="always",
                is_active=True,
            )
        )


@asynccontextmanager
async def paper_venue(container: Container, terms: PaperTerms = TERMS) -> AsyncIterator[PaperVenue]:
    """A paper venue that watches its own new pair, at the price 100 / 101."""
    pair = await new_pair(container)
    directory = PairDirectory(container.uow)
    await directory.load()
    venue = PaperVenue(container, directory, HandBoard(), pair, terms)
    await venue.start()
    venue.tick("100", "101")
    yield venue


async def opening(
    venue: VenueUnderTest,
    ref: VenueRef,
    *,
    side: PositionSide = PositionSide.LONG,
    collateral: str = "100",
    leverage: int = 10,
    seconds: float = 10,
    price: str | None = None,
    client_id: int | None = None,
    reference_price: str | None = None,
    max_slippage: str | None = None,
) -> TradeParams:
    """An opening order, a LIMIT where a price is given."""
    return TradeParams(
        client_id=client_id or next_client_id(),
        ref=ref,
        order_type=OrderType.LIMIT if price else OrderType.MARKET,
        side=side,
        collateral=Decimal(collateral),
        leverage=leverage,
        not_after=await venue.deadline(seconds),
        price=Decimal(price) if price else None,
        reference_price=Decimal(reference_price) if reference_price else None,
        max_slippage=Decimal(max_slippage) if max_slippage else None,
    )


async def closing(
    venue: VenueUnderTest, fill: VenueFill, ref: VenueRef, *, size: Decimal | None = None, seconds: float = 10
) -> CloseParams:
    """A reduce-only order against the position of a fill, whole unless a size is given."""
    return CloseParams(
        client_id=next_client_id(),
        ref=ref,
        venue_trade_index=fill.venue_trade_index,
        side=PositionSide.LONG if fill.side.value == "buy" else PositionSide.SHORT,
        size=fill.quantity if size is None else size,
        not_after=await venue.deadline(seconds),
    )


async def exit_params(
    venue: VenueUnderTest,
    fill: VenueFill,
    ref: VenueRef,
    *,
    size: Decimal | None = None,
    stop_price: str | None = None,
    take_profit_price: str | None = None,
) -> ExitParams:
    """An exit of the position of a fill, whole unless a size is given."""
    return ExitParams(
        client_id=next_client_id(),
        ref=ref,
        venue_trade_index=fill.venue_trade_index,
        side=PositionSide.LONG if fill.side.value == "buy" else PositionSide.SHORT,
        size=fill.quantity if size is None else size,
        not_after=await venue.deadline(10),
        stop_price=Decimal(stop_price) if stop_price else None,
        take_profit_price=Decimal(take_profit_price) if take_profit_price else None,
    )
