"""The trading services on a scripted venue: everything a test needs to place orders and to see what became of them."""

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, text, update

from app.bootstrap import Container
from app.domain.enums import IntentStatus, OrderRole, OrderStatus, TradeStatus, TriggeredLeg
from app.domain.idempotency import RequestKey
from app.domain.lifecycle import LIVE_ORDER, OPEN_TRADE
from app.domain.order_terms import ExitTerms
from app.domain.prices import Tick
from app.domain.routing import parse_rules
from app.domain.triggers import Crossing
from app.models.market import Pair
from app.models.trading import Intent, Order, Position, Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.booking_service import BookingService
from app.services.claim_service import Claim, ClaimOutcome, ClaimService, Crossed, latched_crossing
from app.services.execution_service import ExecutionService
from app.services.exit_order_service import ExitOrderService
from app.services.idempotency_service import IdempotencyService
from app.services.market_view import MarketView
from app.services.pair_directory import PairDirectory
from app.services.providers.factory import ProviderFactory
from app.services.providers.paper.catalogue import CATALOGUE
from app.services.providers.router import ProviderRouter
from app.services.settlement_service import SettlementService
from app.services.trading_service import Placed, Trader, TradingService
from tests.factories import create_person, open_terms
from tests.fakes import ScriptedVenue
from tests.venues import HandBoard
from tests.waiting import until

LIVE_INTENT = (IntentStatus.NEW, IntentStatus.SENT, IntentStatus.RESTING)
IN_FLIGHT = (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN, OrderStatus.PARTIALLY_FILLED)
_indexes = itertools.count(1)


def request_key(key: str, asked: str = "what is asked for") -> RequestKey:
    """A key, and what its request asks for."""
    return RequestKey(key, asked)


@dataclass
class Desk:
    """One user on one scripted venue whose single pair is BTC, quoted 999.50 to 1000.50 at first."""

    container: Container
    uow: UnitOfWorkFactory
    venue: ScriptedVenue
    directory: PairDirectory
    board: HandBoard
    pair: Pair
    user_id: int
    wait_seconds: float
    sequence: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        uow, clock, broadcast = self.uow, self.container.clock, self.container.broadcast
        factory = self.venues = ProviderFactory({self.venue.name: self.venue})
        router = ProviderRouter(factory, parse_rules(self.venue.name, [], []), self.directory)
        netting = [self.venue.name] if self.venue.capabilities.netting else []
        self.booking = BookingService(uow, self.board, clock, netting)
        self.venue.on_fill(self.booking.book_fill)
        self.market = MarketView(uow, self.directory, router, self.board, clock)
        self.execution = ExecutionService(uow, factory, self.directory, self.booking, clock)
        self.trading = TradingService(uow, self.market, self.execution, broadcast, clock, self.wait_seconds)
        self._hasty = TradingService(uow, self.market, self.execution, broadcast, clock, 0)
        self.exits = ExitOrderService(uow, self.market, self.trading, self.execution)
        self.claims = ClaimService(uow, clock)
        self.idempotency = IdempotencyService(uow)
        self.settlement = SettlementService(
            uow, self.execution, self.booking, self.trading, factory, self.directory, clock
        )

    def beside(self, uow: UnitOfWorkFactory) -> "Desk":
        """The services of another process for the same user, on the same venue and market."""
        return replace(self, uow=uow)

    @property
    def trader(self) -> Trader:
        return Trader(self.user_id, may_trade=True, is_sandbox=False)

    def tick(self, bid: str, ask: str) -> Tick:
        """The market moves, for the venue and for us."""
        self.sequence += 1
        tick = Tick(self.pair.id, self.sequence, Decimal(bid), Decimal(ask), datetime.now(UTC), "test")
        self.board.put(tick)
        self.venue.see(tick)
        return tick

    async def open(self, key: str | None = None, **values: Any) -> Placed:
        """Ask for a 10x long at market with 100 USDC, but for what is given."""
        terms = open_terms(**values)
        return await self.trading.open_trade(self.trader, terms, None if key is None else request_key(key))

    async def open_unsettled(self, **values: Any) -> Placed:
        """Ask for one that the venue will not settle at once; how it stands when the venue has answered."""
        return await self.answered(await self.open_hasty(**values))

    async def open_hasty(self, **values: Any) -> Placed:
        """Ask for one and do not wait for the venue at all."""
        return await self._hasty.open_trade(self.trader, open_terms(**values), None)

    async def answered(self, placed: Placed) -> Placed:
        """How an order stands once the venue has answered every call."""
        await until(lambda: self.execution.is_idle)
        return await self.trading.placed(self.user_id, placed.order.id)

    async def write(self, **values: Any) -> tuple[Trade, Order, Intent]:
        """Write an opening order as a process does that dies before it sends it."""
        service, terms = self.trading, open_terms(**values)
        pair, exits = await service._check(self.trader, terms)
        async with self.uow() as work:
            account = await work.venue_accounts.ensure_locked(self.user_id, pair.venue)
            order, intent = await service._write_open(work, account, terms, pair, exits)
        return await self.trade_of(order), order, intent

    async def close(self, trade: Trade, fraction: str = "1", key: str | None = None) -> Placed:
        """Ask for a close by hand."""
        asked = None if key is None else request_key(key)
        return await self.trading.close_trade(self.trader, trade.pair_id, trade.trade_index, Decimal(fraction), asked)

    async def close_unsettled(self, trade: Trade, fraction: str = "1") -> Placed:
        """Ask for a close that the venue will not settle at once; how it stands when the venue has answered."""
        placed = await self._hasty.close_trade(self.trader, trade.pair_id, trade.trade_index, Decimal(fraction), None)
        return await self.answered(placed)

    async def write_close(self, trade: Trade, fraction: str = "1") -> tuple[Order, Intent]:
        """Write a close as a process does that dies before it sends it."""
        async with self.uow() as work:
            row = (await work.trades.locked([trade.id]))[trade.id]
            order, *_ = await self.trading._write_close(work, row, Decimal(fraction))
        return order, (await self.intents(trade))[-1]

    async def attach(self, trade: Trade, terms: ExitTerms, client_order_id: str | None = None) -> Order:
        """Attach an exit."""
        return await self.exits.attach(self.user_id, trade.pair_id, trade.trade_index, terms, client_order_id)

    def crossed(self, order: Order, price: str = "950", leg: TriggeredLeg = TriggeredLeg.STOP) -> Crossed:
        """What the order engine says of an exit that fires now."""
        watermark = Decimal(1001) if leg is TriggeredLeg.TRAILING else None
        stop = None if leg is TriggeredLeg.TAKE_PROFIT else Decimal(price)
        crossing = Crossing(order.id, order.version, self.sequence + 1, Decimal(price), leg, stop, watermark)
        return Crossed(crossing, datetime.now(UTC), "test")

    async def claim(self, *crossed: Crossed) -> list[Claim]:
        """Claim, without sending."""
        return await self.claims.claim(crossed)

    async def claim_and_send(self, crossed: Crossed) -> Claim:
        """Claim one exit and send its close."""
        (claim,) = await self.claim(crossed)
        assert claim.outcome is ClaimOutcome.WON
        assert claim.intent_id is not None
        await self.execution.send([claim.intent_id])
        return claim

    async def fire(self, order: Order, price: str = "950") -> Claim:
        """An exit fires now: claim it and send its close."""
        return await self.claim_and_send(self.crossed(order, price))

    async def settle(self) -> None:
        """Let the time of everything in flight come, and settle once."""
        await self.set_due()
        await self.settlement.settle()

    async def set_due(self) -> None:
        """Let the time of everything in flight come."""
        await self._set_intents(*LIVE_INTENT, next_run_at=func.clock_timestamp())

    async def lapse(self) -> None:
        """Let the deadline pass of everything that was sent."""
        past = func.clock_timestamp() - text("interval '1 ms'")
        await self._set_intents(IntentStatus.SENT, IntentStatus.RESTING, not_after=past)

    async def park(self) -> None:
        """Leave everything in flight alone from now on."""
        await self._set_intents(*LIVE_INTENT, next_run_at=None)

    async def _set_intents(self, *statuses: IntentStatus, **values: Any) -> None:
        async with self.uow() as work:
            account = await work.venue_accounts.ensure(self.user_id, self.venue.name)
            mine = update(Intent).where(Intent.venue_account_id == account.id, Intent.status.in_(statuses))
            await work.session.execute(mine.values(**values))

    async def order(self, order: Order) -> Order:
        """An order as it is now."""
        async with self.uow() as work:
            found = await work.orders.owned(self.user_id, order.id)
        assert found is not None
        return found

    async def trade(self, trade: Trade) -> Trade:
        """A trade as it is now."""
        async with self.uow() as work:
            found = await work.trades.owned(self.user_id, trade.id)
        assert found is not None
        return found

    async def trade_of(self, order: Order) -> Trade:
        """The trade of an order."""
        async with self.uow() as work:
            found = await work.trades.owned(self.user_id, order.trade_id or 0)
        assert found is not None
        return found

    async def orders(self, trade: Trade, role: OrderRole | None = None) -> list[Order]:
        """The orders of a trade, oldest first."""
        async with self.uow() as work:
            return [order for order in await work.orders.of_trade(trade.id) if role in {None, order.role}]

    async def statuses(self, trade: Trade) -> tuple[TradeStatus, list[OrderStatus]]:
        """The status of a trade, and those of its orders, oldest first."""
        return (await self.trade(trade)).status, [order.status for order in await self.orders(trade)]

    async def position(self, trade: Trade) -> Position | None:
        """The position of a trade."""
        async with self.uow() as work:
            return await work.positions.of_trade(trade.id)

    async def intents(self, trade: Trade) -> list[Intent]:
        """The intents of a trade, oldest first."""
        async with self.uow() as work:
            query = select(Intent).where(Intent.trade_id == trade.id).order_by(Intent.id)
            return list(await work.intents.all_of(query))

    async def events(self, after: int = 0) -> list[str]:
        """The user's log: "type" or "type reason"."""
        async with self.uow() as work:
            rows = await work.events.after(self.user_id, after, limit=1000)
        return [f"{row.type} {json.loads(row.data)['reason'] or ''}".strip() for row in rows]

    async def told(self) -> int:
        """The sequence of the user's last event."""
        async with self.uow() as work:
            return await work.events.last_sequence(self.user_id)

    async def check(self, *, has_heard: bool = True) -> None:
        """Nothing is lost, doubled or unprotected: the books agree with what the venue executed.

        `has_heard`: the venue has told, or was asked, of everything that is no longer in flight.
        """
        async with self.uow() as work:
            trades = await work.trades.of_user(self.user_id, statuses=None, before=None, limit=1000)
            in_flight = False
            booked: set[str] = set()
            held_here: dict[str | None, Decimal] = defaultdict(Decimal)
            for trade in trades:
                in_flight |= any(intent.status in LIVE_INTENT for intent in await self.intents(trade))
                fills = await work.fills.of_trade(trade.id)
                booked |= {fill.venue_fill_id.partition("#")[0] for fill in fills}
                if trade.size:
                    held_here[trade.venue_trade_index] += trade.size
                _check_trade(trade, fills, await work.positions.of_trade(trade.id))
                _check_orders(trade, await work.orders.of_trade(trade.id))
        executed = {fill.fill_id for fill in self.venue.fills}
        assert booked <= executed
        if has_heard and not in_flight:
            assert booked == executed
            held = {index: position.size for index, position in self.venue.positions.items()}
            assert held_here == held


def _check_trade(trade: Trade, fills: Sequence[Any], position: Position | None) -> None:
    opened = sum((fill.quantity for fill in fills if not fill.is_close), Decimal(0))
    closed = sum((fill.quantity for fill in fills if fill.is_close), Decimal(0))
    assert trade.size == opened - closed, f"trade {trade.id}: {trade.size} of {opened} - {closed}"
    assert (trade.pnl or 0) == sum(fill.pnl for fill in fills), f"trade {trade.id}: pnl"
    assert trade.fees == sum(fill.fee for fill in fills), f"trade {trade.id}: fees"
    if trade.status is not TradeStatus.CLOSING or trade.size:
        assert (trade.size > 0) is (trade.status in OPEN_TRADE), f"trade {trade.id}: {trade.status} with {trade.size}"
    assert (position is not None) is bool(fills)
    if position is not None:
        assert (position.size, position.is_open) == (trade.size, trade.size > 0)


def _check_orders(trade: Trade, orders: Sequence[Order]) -> None:
    ended = trade.status not in OPEN_TRADE | {TradeStatus.PENDING, TradeStatus.SUBMITTED}
    entry = next(order for order in orders if order.role is OrderRole.ENTRY)
    if trade.status is TradeStatus.CLOSING and not trade.size:
        assert entry.status in LIVE_ORDER, f"trade {trade.id} is closing and nothing is open or to come"
    if ended:
        assert entry.status not in LIVE_ORDER, f"trade {trade.id} is {trade.status}, its entry {entry.status}"
    for order in orders:
        if order.role is not OrderRole.EXIT:
            continue
        assert order.status not in (OrderStatus.REJECTED, OrderStatus.FAILED), f"exit {order.id} is {order.status}"
        if ended and order.status in LIVE_ORDER:
            assert order.status in IN_FLIGHT, f"exit {order.id} outlives its trade"
        if trade.status in OPEN_TRADE and order.status is OrderStatus.PENDING:
            assert order.armed_sequence is not None, f"exit {order.id} waits unarmed"
            if trade.size:
                assert order.quantity - order.filled_quantity == trade.size, f"exit {order.id}: {order.quantity}"


async def make_directory(container: Container) -> PairDirectory:
    """The pairs with those of scripted venues."""
    directory = PairDirectory(container.uow)
    for netting in (False, True):
        await directory.refresh(ScriptedVenue(CATALOGUE[0].listing, _indexes, netting=netting))
    return directory


async def make_desk(
    container: Container,
    uow: UnitOfWorkFactory,
    directory: PairDirectory,
    *,
    wait_seconds: float = 60,
    netting: bool = False,
) -> Desk:
    """A new user on a new venue."""
    venue = ScriptedVenue(CATALOGUE[0].listing, _indexes, netting=netting)
    board = HandBoard()
    board.clock.set(datetime.now(UTC))
    pair = directory.resolve_pair("BTCUSDT", venue.name)
    person = await create_person(container)
    desk = Desk(container, uow, venue, directory, board, pair, person.id, wait_seconds)
    desk.tick("999.50", "1000.50")
    return desk


@asynccontextmanager
async def held_elsewhere(desk: Desk, lock: Callable[[UnitOfWork], Awaitable[object]]) -> AsyncIterator[None]:
    """What `lock` locks is held by a transaction of another task, so that venues may be asked here."""
    is_held, is_over = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with desk.uow() as work:
            await lock(work)
            is_held.set()
            await is_over.wait()

    task = asyncio.create_task(hold())
    await until(lambda: is_held.is_set() or task.done())
    try:
        yield
    finally:
        is_over.set()
        await task


def again(order: Order) -> Crossed:
    """The crossing that an exit's row keeps, to be claimed again."""
    crossed = latched_crossing(order)
    assert crossed is not None, f"exit {order.id} is not latched"
    return crossed
