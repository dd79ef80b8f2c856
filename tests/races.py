"""Commands that run at once, each in a process of its own, and how the trade that they are about ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, text, update

from app.domain.enums import IntentKind, OrderRole, OrderStatus, OrderType, SwitchScope, TradeStatus, TriggeredLeg
from app.domain.errors import MarqetError
from app.domain.lifecycle import OPEN_TRADE
from app.domain.order_terms import ExitChanges, ExitTerms
from app.models.control import DeadManSwitch
from app.models.trading import Order, Trade
from app.services.claim_service import Claim, ClaimOutcome, Crossed, latched_crossing
from app.services.dead_man_switch_service import DeadManSwitchService
from app.services.idempotency_service import Fresh
from app.services.resting_cancels import RestingCancels
from tests.desks import Desk, request_key
from tests.fakes import Act
from tests.waiting import until

LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal(990), "stop_price": Decimal(950)}


@dataclass(frozen=True)
class Ground:
    """What a race is about, as both racers saw it before: the trade, its orders, the crossings of its exits."""

    number: int
    trade: Trade
    orders: tuple[Order, ...]
    fired: dict[int, Crossed]
    client_id: int
    number_of_trades: int
    put_off: set[str] = field(default_factory=set)

    @property
    def exit(self) -> Order:
        """The trade's first exit."""
        return next(order for order in self.orders if order.role is OrderRole.EXIT)

    @property
    def entry(self) -> Order:
        """The order that opens the trade."""
        return next(order for order in self.orders if order.role is OrderRole.ENTRY)


type Command = Callable[[Desk, Ground], Awaitable[str]]


async def ground(desk: Desk, number: int, trade: Trade) -> Ground:
    """Everything about a trade as it is now, its exits' crossings among it."""
    orders = tuple(await desk.orders(trade))
    fired = {order.id: _crossed(desk, order) for order in orders if order.role is OrderRole.EXIT}
    client_id = next(intent.id for intent in await desk.intents(trade) if intent.kind is IntentKind.OPEN)
    return Ground(number, await desk.trade(trade), orders, fired, client_id, await _number_of_trades(desk))


async def _number_of_trades(desk: Desk) -> int:
    async with desk.uow() as work:
        return len(await work.trades.of_user(desk.user_id, statuses=None, before=None, limit=1000))


def _crossed(desk: Desk, order: Order) -> Crossed:
    leg = TriggeredLeg.TAKE_PROFIT if order.order_type is OrderType.TAKE_PROFIT else TriggeredLeg.STOP
    crossed = desk.crossed(order, "1101" if leg is TriggeredLeg.TAKE_PROFIT else "949.5", leg)
    return replace(crossed, crossing=replace(crossed.crossing, stop_price=order.stop_price or order.oco_stop_price))


async def protected(desk: Desk, number: int) -> Ground:
    """An open trade with a stop-loss and a take-profit."""
    placed = await desk.open(stop_price=Decimal(950), take_profit_price=Decimal(1100))
    return await ground(desk, number, placed.trade)


async def oco(desk: Desk, number: int) -> Ground:
    """An open trade with one exit of two levels."""
    levels: dict[str, Any] = {"oco_stop_price": Decimal(950), "oco_take_profit_price": Decimal(1100)}
    return await ground(desk, number, (await desk.open(order_type=OrderType.OCO, **levels)).trade)


async def resting(desk: Desk, number: int) -> Ground:
    """A trade whose entry rests at the venue, with a stop-loss; its time is over."""
    desk.venue.will("open", Act.REST)
    placed = await desk.open(**LIMIT)
    async with desk.uow() as work:
        entry = update(Order).where(Order.id == placed.order.id)
        await work.session.execute(entry.values(expires_at=func.clock_timestamp() - timedelta(seconds=1)))
    return await ground(desk, number, placed.trade)


async def unheard(desk: Desk, number: int) -> Ground:
    """A trade whose close was carried out, of which nobody has heard."""
    before = await protected(desk, number)
    desk.venue.will("close", Act.UNHEARD)
    await desk.close_unsettled(before.trade)
    await desk.set_due()
    return before


async def opens_by_name(desk: Desk, on: Ground) -> str:
    await desk.open(client_order_id=f"race-{on.number}")
    return "opened"


async def opens_by_key(desk: Desk, on: Ground) -> str:
    key = f"race-{on.number}"
    state = await desk.idempotency.begin(desk.user_id, request_key(key))
    if not isinstance(state, Fresh):
        return type(state).__name__.lower()
    await desk.open(key=key)
    await desk.idempotency.store(desk.user_id, request_key(key), 201, b"{}")
    return "opened"


async def amends(desk: Desk, on: Ground) -> str:
    await desk.exits.amend(desk.user_id, on.exit.id, ExitChanges(stop_price=Decimal(940)))
    return "amended"


async def cancels_exit(desk: Desk, on: Ground) -> str:
    await desk.exits.cancel(desk.user_id, on.exit.id)
    return "cancelled"


async def cancels_entry(desk: Desk, on: Ground) -> str:
    return f"{(await desk.exits.cancel(desk.user_id, on.entry.id)).status}"


async def closes(desk: Desk, on: Ground) -> str:
    return f"{(await desk.close(on.trade)).order.status}"


async def closes_part(desk: Desk, on: Ground) -> str:
    return f"{(await desk.close(on.trade, '0.5')).order.status}"


async def attaches(desk: Desk, on: Ground) -> str:
    await desk.attach(on.trade, ExitTerms(order_type=OrderType.STOP_LOSS, stop_price=Decimal(960)))
    return "attached"


async def stop_fires(desk: Desk, on: Ground) -> str:
    return await _fires(desk, on, on.fired[on.exit.id])


async def take_profit_fires(desk: Desk, on: Ground) -> str:
    order = next(order for order in on.orders if order.order_type is OrderType.TAKE_PROFIT)
    return await _fires(desk, on, on.fired[order.id])


async def _fires(desk: Desk, on: Ground, crossed: Crossed) -> str:
    """Claim a crossing as the engine does: while others hold the trade, again and again."""

    async def claimed() -> Claim | None:
        (claim,) = await desk.claim(crossed)
        if claim.outcome is not ClaimOutcome.BUSY:
            return claim
        on.put_off.add(f"{crossed.crossing.order_id} {id(desk)}")
        return None

    claim = await until(claimed)
    assert claim is not None
    if claim.outcome is ClaimOutcome.WON and claim.intent_id is not None:
        await desk.execution.send([claim.intent_id])
    return f"{claim.outcome}"


async def entry_fills(desk: Desk, on: Ground) -> str:
    if desk.venue.orders[on.client_id].outcome in ("cancelled", "filled"):
        return "too late"
    await desk.booking.book_fill(desk.venue.execute(on.client_id))
    return "filled"


async def liquidated(desk: Desk, on: Ground) -> str:
    index = on.trade.venue_trade_index or ""
    if index not in desk.venue.positions:
        return "too late"
    await desk.booking.book_fill(desk.venue.liquidate(index))
    return "liquidated"


async def expires(desk: Desk, on: Ground) -> str:
    await desk.settlement.expire()
    return "asked"


async def settles(desk: Desk, on: Ground) -> str:
    await desk.settlement.settle()
    return "asked"


async def switch_fires(desk: Desk, on: Ground) -> str:
    """A dead man's switch of everything comes due."""
    switch = DeadManSwitchService(desk.uow, RestingCancels(desk.uow, desk.trading, desk.exits, desk.execution))
    await switch.arm(desk.user_id, 3600, SwitchScope.ALL)
    async with desk.uow() as work:
        mine = update(DeadManSwitch).where(DeadManSwitch.user_id == desk.user_id)
        await work.session.execute(mine.values(fires_at=func.clock_timestamp()))
    await switch.fire_due()
    return "fired"


@dataclass(frozen=True)
class Race:
    """Two commands, and what they run on."""

    one: Command
    other: Command
    on: Callable[[Desk, int], Awaitable[Ground]]

    @property
    def row(self) -> tuple[str, str, str]:
        """What the two, and what they run on, are called in the table."""
        return _name(self.one), _name(self.other), _name(self.on)

    async def run(self, desk: Desk, second: Desk, number: int) -> str:
        """Run both at once, whoever of them comes first; how they and the trade ended.

        Two times of three both wait for the trade's rows, in the order in which they came, before either may go on.
        """
        desk.board.clock.set(datetime.now(UTC))
        desk.tick("999.50", "1000.50")
        on = await self.on(desk, number)
        racers = [(self.one, desk), (self.other, second)]
        in_order = racers if number % 2 else racers[::-1]
        # What the racers see of this task is what it was before it held any row.
        outside = copy_context()
        if number % 3:
            async with held(desk, on) as waiting:
                tasks = []
                for count, (command, at) in enumerate(in_order, start=1):
                    tasks.append(asyncio.create_task(_told(command, at, on), context=outside.copy()))
                    await waiting(count, tasks)
        else:
            tasks = [asyncio.create_task(_told(command, at, on)) for command, at in in_order]
        told = await asyncio.gather(*tasks)
        await come_to_rest(desk, on)
        by_racer = told if number % 2 else told[::-1]
        if self.one is self.other:
            by_racer = sorted(told)
        return f"{', '.join(by_racer)}: {await ending(desk, on)}"


async def _told(command: Command, desk: Desk, on: Ground) -> str:
    try:
        return await command(desk, on)
    except MarqetError as refusal:
        return refusal.code


@asynccontextmanager
async def held(desk: Desk, on: Ground) -> AsyncIterator[Callable[[int, list[asyncio.Task[str]]], Awaitable[None]]]:
    """Hold the rows that everybody needs; yields what waits until so many tasks wait for them, or have ended."""
    async with desk.uow() as work:
        await work.venue_accounts.get_for_update(on.trade.venue_account_id)
        await work.trades.locked([on.trade.id])

        async def waiting(count: int, tasks: list[asyncio.Task[str]]) -> None:
            async def are_there() -> bool:
                async with desk.uow() as other:
                    blocked = await other.session.scalar(_BLOCKED)
                return (blocked or 0) + len(on.put_off) + sum(task.done() for task in tasks) >= count

            await until(are_there)

        yield waiting


_BLOCKED = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


async def come_to_rest(desk: Desk, on: Ground) -> None:
    """What the engine and settlement do afterwards: latched exits are claimed again, effects are asked about."""
    await until(lambda: desk.execution.is_idle)
    for _ in range(2):
        await desk.settle()
        for order in await desk.orders(on.trade):
            crossed = latched_crossing(order)
            if order.status is OrderStatus.PENDING and crossed is not None:
                await _fires(desk, on, crossed)
    for fill in desk.venue.fills:
        if fill.client_id is None:
            await desk.booking.book_fill(fill)


async def ending(desk: Desk, on: Ground) -> str:
    """How the trade stands, and by what it was closed; how many live exits an open one has."""
    trade = await desk.trade(on.trade)
    reason = f" by {trade.close_reason}" if trade.status in (TradeStatus.CLOSED, TradeStatus.LIQUIDATED) else ""
    live = [order for order in await desk.orders(trade) if order.role is OrderRole.EXIT and order.status == "pending"]
    exits = f" with {len(live)} exits" if trade.status in OPEN_TRADE else ""
    half = ", half" if trade.status in OPEN_TRADE and trade.size < on.entry.quantity else ""
    more = await _number_of_trades(desk) - on.number_of_trades
    return f"{trade.status}{reason}{half}{exits}" + (f", {more} new" if more else "")


def _name(command: Callable[..., object]) -> str:
    return getattr(command, "__name__", "").replace("_", " ")
