"""The trading services on a paper venue that nets: trades of one position live and end apart, and the sums agree."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.domain.enums import OrderRole, OrderStatus, OrderType, TradeStatus
from app.domain.errors import Conflict
from app.domain.money import ZERO
from app.domain.positions import unrealised_pnl
from app.domain.routing import parse_rules
from app.domain.trading import VenuePosition, VenueRef
from app.models.trading import Order, Position, Trade
from app.services.booking_service import BookingService
from app.services.execution_service import ExecutionService
from app.services.funding_service import FundingService
from app.services.invariant_service import InvariantService
from app.services.market_view import MarketView
from app.services.providers.factory import ProviderFactory
from app.services.providers.router import ProviderRouter
from app.services.settlement_service import SettlementService
from app.services.trading_service import Trader, TradingService
from tests.factories import open_terms
from tests.venues import TERMS, PaperVenue, paper_venue
from tests.waiting import until

OPEN, CLOSED, LIQUIDATED = TradeStatus.OPEN, TradeStatus.CLOSED, TradeStatus.LIQUIDATED
NETTED = replace(TERMS, netting=True, funding_rate=Decimal("0.001"), funding_seconds=3600)


@dataclass
class Stack:
    """The trading services on one paper venue, and one user."""

    paper: PaperVenue
    ref: VenueRef

    def __post_init__(self) -> None:
        container, paper = self.paper.container, self.paper
        uow, clock, factory = container.uow, container.clock, ProviderFactory({"paper": paper.provider})
        router = ProviderRouter(factory, parse_rules("paper", [], []), paper.directory)
        self.booking = BookingService(uow, paper.board, clock, ["paper"])
        paper.provider.on_fill(self.booking.book_fill)
        paper.provider.on_funding(FundingService(uow, factory, paper.directory).book)
        market = MarketView(uow, paper.directory, router, paper.board, paper.board.clock)
        self.execution = ExecutionService(uow, factory, paper.directory, self.booking, clock)
        self.trading = TradingService(uow, market, self.execution, container.broadcast, clock, 30)
        self.settlement = SettlementService(
            uow, self.execution, self.booking, self.trading, factory, paper.directory, clock
        )

    @property
    def trader(self) -> Trader:
        return Trader(self.ref.user_id, may_trade=True, is_sandbox=False)

    async def open(self, **values: Any) -> Trade:
        """A 10x long of 100 USDC with a stop at 93, but for what is given."""
        terms = open_terms(**({"asset": self.paper.pair.symbol, "stop_price": Decimal(93)} | values))
        placed = await self.trading.open_trade(self.trader, terms, None)
        async with self.paper.uow() as work:
            trade = await work.trades.get(placed.order.trade_id or 0)
        assert trade is not None
        return trade

    async def close(self, trade: Trade, fraction: str = "1") -> None:
        await self.trading.close_trade(self.trader, trade.pair_id, trade.trade_index, Decimal(fraction), None)

    async def now(self, *trades: Trade) -> list[Trade]:
        async with self.paper.uow() as work:
            found = {row.id: row for row in await work.trades.among(self.ref.user_id, [trade.id for trade in trades])}
        return [found[trade.id] for trade in trades]

    async def positions(self, *trades: Trade) -> list[Position]:
        async with self.paper.uow() as work:
            rows = [await work.positions.of_trade(trade.id) for trade in trades]
        return [row for row in rows if row is not None]

    async def exits(self, *trades: Trade) -> list[Order]:
        async with self.paper.uow() as work:
            orders = [order for trade in trades for order in await work.orders.of_trade(trade.id)]
        return [order for order in orders if order.role is OrderRole.EXIT]

    async def held(self) -> VenuePosition:
        (position,) = await self.paper.provider.open_positions([self.ref])
        return position

    async def assert_sums_agree(self, *trades: Trade) -> None:
        """Trades and their positions add up to the venue's, in size and in margin, and share its entry price."""
        venue, mine, shown = await self.held(), await self.now(*trades), await self.positions(*trades)
        assert sum((trade.size for trade in mine), ZERO) == venue.size
        assert sum((position.size for position in shown), ZERO) == venue.size
        assert sum((position.margin for position in shown), ZERO) == venue.margin
        assert {p.liquidation_price for p in shown if p.is_open} == {venue.liquidation_price}
        assert {p.entry_price for p in shown if p.is_open} == {venue.entry_price}


@pytest_asyncio.fixture
async def stack(container: Container) -> AsyncIterator[Stack]:
    """A user on a paper venue that nets, at 100 / 101; at the end nothing is under way and every invariant holds."""
    async with paper_venue(container, NETTED) as paper:
        await paper.commit()
        stack = Stack(paper, replace(await paper.new_account()))
        yield stack
        await until(lambda: stack.execution.is_idle)
        await paper.commit()
        await stack.settlement.reconcile("paper")
        await paper.assert_books_balance()
        assert await InvariantService(container.uow).check(is_full=True, is_at_rest=True) == []


async def test_trades_of_one_position_are_closed_apart(stack: Stack) -> None:
    first, second, third = [await stack.open(collateral=Decimal(amount)) for amount in (100, 50, 33)]
    assert len({trade.venue_trade_index for trade in (first, second, third)}) == 1
    await stack.assert_sums_agree(first, second, third)
    await stack.paper.quote("110", "111")

    await stack.close(first)
    await stack.close(second, "0.5")

    gone, cut, whole = await stack.now(first, second, third)
    assert [trade.status for trade in (gone, cut, whole)] == [CLOSED, OPEN, OPEN]
    assert (gone.size, whole.size) == (ZERO, third.size)
    assert 0 < cut.size < second.size
    assert 0 <= first.size * (110 - 101) - (gone.pnl or ZERO) < Decimal("0.000001")
    assert {order.quantity for order in await stack.exits(second)} == {cut.size}
    await stack.assert_sums_agree(first, second, third)


async def test_closing_one_of_them_moves_no_equity(stack: Stack) -> None:
    """What a close realises is what its position was shown to have gained: both count from the average entry."""
    first = await stack.open()
    await stack.paper.quote("110", "110")
    second = await stack.open(stop_price=Decimal(105))
    positions = await stack.positions(first, second)
    shown = {p.trade_id: unrealised_pnl(p.side, p.size, p.entry_price, Decimal(110)) for p in positions}

    await stack.close(first)

    (gone, left) = await stack.now(first, second)
    assert gone.pnl == shown[first.id] > 0
    (ended,), (rest,) = await stack.positions(gone), await stack.positions(left)
    assert ended.entry_price == rest.entry_price == (await stack.held()).entry_price
    assert unrealised_pnl(rest.side, rest.size, rest.entry_price, Decimal(110)) == shown[second.id] > 0
    assert (gone.entry_price, left.entry_price) == (Decimal(101), Decimal(110))
    await stack.assert_sums_agree(first, second)


async def test_positions_that_show_their_own_entries_are_set_right(stack: Stack) -> None:
    first = await stack.open()
    await stack.paper.quote("110", "110")
    second = await stack.open(stop_price=Decimal(105))
    async with stack.paper.uow() as work:
        # As they were written before fills told it.
        for trade in (first, second):
            position = await work.positions.of_trade(trade.id)
            assert position is not None
            position.entry_price = trade.entry_price or ZERO

    await stack.settlement.reconcile("paper")

    await stack.assert_sums_agree(first, second)


async def test_a_liquidation_ends_all_of_them(stack: Stack) -> None:
    first, second = await stack.open(), await stack.open(collateral=Decimal(77))
    await stack.paper.quote("100", "101")

    await stack.paper.quote("91", "92")

    ended = await stack.now(first, second)
    assert {trade.status for trade in ended} == {LIQUIDATED}
    assert sum((trade.pnl or ZERO) for trade in ended) - sum(trade.fees for trade in ended) < -177
    assert {order.status for order in await stack.exits(first, second)} == {OrderStatus.CANCELLED}
    assert await stack.paper.provider.open_positions([stack.ref]) == []


async def test_what_nobody_told_is_found_by_the_sums(stack: Stack) -> None:
    """The venue liquidates in another process, whose word is lost."""
    first, second = await stack.open(), await stack.open()
    assert await stack.settlement.reconcile("paper") == 0
    elsewhere = stack.paper.restarted()
    await elsewhere.start()
    elsewhere.tick("91", "92")
    assert len(await elsewhere.commit()) == 1
    assert {trade.status for trade in await stack.now(first, second)} == {OPEN}

    assert await stack.settlement.reconcile("paper") == 2

    assert {trade.status for trade in await stack.now(first, second)} == {LIQUIDATED}
    assert await stack.settlement.reconcile("paper") == 0


@pytest.mark.parametrize(
    ("asked_for", "code"),
    [
        ({"is_long": False, "stop_price": Decimal(107)}, "POSITION_CONFLICT"),
        ({"leverage": 20, "stop_price": Decimal(97)}, "LEVERAGE_CONFLICT"),
    ],
)
async def test_what_conflicts_never_reaches_the_venue(stack: Stack, asked_for: dict[str, Any], code: str) -> None:
    trade = await stack.open()

    with pytest.raises(Conflict) as refusal:
        await stack.open(**asked_for)

    assert refusal.value.code == code
    await stack.assert_sums_agree(trade)


async def test_a_limit_joins_the_position_when_it_fills(stack: Stack) -> None:
    first = await stack.open()
    limit = await stack.open(order_type=OrderType.LIMIT, price=Decimal(98))
    await stack.close(first, "0.5")

    await stack.paper.quote("97", "98")

    _, filled = await stack.now(first, limit)
    assert (filled.status, filled.entry_price, filled.venue_trade_index) == (OPEN, Decimal(98), first.venue_trade_index)
    await stack.assert_sums_agree(first, limit)


async def test_a_funding_is_shared_by_the_trades(stack: Stack) -> None:
    first, second = await stack.open(), await stack.open(collateral=Decimal(50))
    stack.paper.board.clock.set(stack.paper.board.clock.now() + timedelta(hours=1))
    await stack.paper.quote("100", "101")

    paid = [trade.funding for trade in await stack.now(first, second)]

    (funding,) = await stack.paper.provider.funding_since(stack.ref, stack.paper.board.clock.now() - timedelta(days=1))
    assert sum(paid, ZERO) == funding.amount < 0
    assert abs(paid[0] - 2 * paid[1]) < Decimal("0.00001")
    await stack.assert_sums_agree(first, second)
