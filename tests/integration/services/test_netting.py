"""Venues that keep one position per market, and reductions that nobody here asked for."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from app.domain.enums import IntentStatus, OrderRole, OrderStatus, OrderType, TradeStatus
from app.domain.order_terms import ExitTerms
from app.models.trading import Position, Trade
from tests.desks import Desk
from tests.fakes import Act
from tests.waiting import until

OPEN, CLOSED = TradeStatus.OPEN, TradeStatus.CLOSED
STOP: dict[str, Any] = {"stop_price": Decimal(950)}


async def three(desk: Desk) -> list[Trade]:
    """Three trades of one side, 0.9995 each."""
    return [(await desk.open(**STOP)).trade for _ in range(3)]


async def positions(desk: Desk, trades: list[Trade]) -> list[Position]:
    found = [await desk.position(trade) for trade in trades]
    return [position for position in found if position is not None]


async def test_trades_share_the_position_and_its_margin(netted: Desk) -> None:
    trades = await three(netted)
    ((index, held),) = netted.venue.positions.items()
    await netted.close(trades[1], "0.5")

    shown = await positions(netted, trades)
    assert {trade.venue_trade_index for trade in trades} == {index}
    assert sum((position.size for position in shown), Decimal(0)) == held.size == Decimal("2.49875")
    assert sum((position.margin for position in shown), Decimal(0)) == held.margin
    assert [position.margin for position in shown[:2]] == [Decimal("100"), Decimal("50")]
    assert len({position.liquidation_price for position in shown}) == 1


async def test_a_close_takes_its_own_trade_alone(netted: Desk) -> None:
    first, second, third = await three(netted)

    await netted.close(second)

    statuses = [(await netted.trade(trade)).status for trade in (first, second, third)]
    assert statuses == [OPEN, CLOSED, OPEN]
    await netted.fire((await netted.orders(first, OrderRole.EXIT))[0])
    assert (await netted.trade(first)).close_reason == "stop"


async def test_a_liquidation_ends_every_trade_of_the_position(netted: Desk) -> None:
    trades = await three(netted)
    netted.tick("900", "901")
    fill = netted.venue.liquidate(trades[0].venue_trade_index or "")

    await netted.booking.book_fill(fill)
    await netted.booking.book_fill(fill)

    ended = [await netted.trade(trade) for trade in trades]
    assert {trade.status for trade in ended} == {TradeStatus.LIQUIDATED}
    # Each paid for its entry; the rest is what the liquidation cost, shared to the last base unit.
    shares = []
    async with netted.uow() as work:
        for trade in trades:
            shares += [row for row in await work.fills.of_trade(trade.id) if row.is_liquidation]
    assert [row.venue_fill_id for row in shares] == [f"{fill.fill_id}#{trade.id}" for trade in trades]
    assert sum((row.pnl for row in shares), Decimal(0)) == fill.pnl
    assert sum((row.fee for row in shares), Decimal(0)) == fill.fee
    exits = [order for trade in trades for order in await netted.orders(trade, OrderRole.EXIT)]
    assert {order.status for order in exits} == {OrderStatus.CANCELLED}


async def test_a_reduction_from_outside_is_taken_from_the_oldest_first(netted: Desk) -> None:
    first, second, third = await three(netted)
    told = await netted.told()

    fill = netted.venue.reduce_outside(first.venue_trade_index or "", "1.5")
    await asyncio.gather(*(netted.booking.book_fill(fill) for _ in range(4)))

    gone, cut, whole = [await netted.trade(trade) for trade in (first, second, third)]
    assert (gone.status, gone.close_reason, gone.size) == (CLOSED, "reduced_outside", Decimal(0))
    assert (cut.status, cut.size, whole.size) == (OPEN, Decimal("0.499"), Decimal("0.9995"))
    (exit_order,) = await netted.orders(second, OrderRole.EXIT)
    assert exit_order.quantity == cut.size
    log = await netted.events(told)
    assert log.count("trade.closed reduced_outside") == log.count("trade.updated reduced_outside") == 1
    shown = await positions(netted, [second, third])
    held = netted.venue.positions[first.venue_trade_index or ""]
    assert sum((position.margin for position in shown), Decimal(0)) == held.margin


async def test_reconciling_adds_up_the_trades_of_a_position(netted: Desk) -> None:
    trades = await three(netted)
    index = trades[0].venue_trade_index or ""
    agreed = await netted.settlement.reconcile(netted.venue.name)
    netted.venue.reduce_outside(index, "0.5")
    netted.venue.reduce_outside(index, "0.7")

    await netted.settlement.reconcile(netted.venue.name)

    sizes = [(await netted.trade(trade)).size for trade in trades]
    assert sizes == [Decimal(0), Decimal("0.799"), Decimal("0.9995")]
    assert agreed == await netted.settlement.reconcile(netted.venue.name)


async def test_what_a_close_took_beyond_its_trade_came_from_the_others(netted: Desk) -> None:
    """The owner cuts the position while a close is under way: that close takes more than its trade has left."""
    first, second, _ = await three(netted)
    netted.venue.will("close", Act.ACCEPT)
    await netted.close_unsettled(first)
    intent = (await netted.intents(first))[-1]
    await netted.booking.book_fill(netted.venue.reduce_outside(first.venue_trade_index or "", "0.4"))

    netted.venue.execute(intent.id)
    await netted.settle()
    await netted.booking.book(intent.id, netted.venue.orders[intent.id].result())

    assert ((await netted.trade(first)).status, (await netted.trade(first)).size) == (CLOSED, Decimal(0))
    cut = await netted.trade(second)
    assert (cut.status, cut.size) == (OPEN, Decimal("0.5995"))


@pytest.mark.parametrize("by", ["user", "stop"])
async def test_a_close_whose_trade_was_closed_past_it_took_from_the_others(netted: Desk, by: str) -> None:
    """The owner takes all of its trade while a close is under way: that close fills, and none of it is its own."""
    first, second, third = await three(netted)
    (stop,) = await netted.orders(first, OrderRole.EXIT)
    netted.venue.will("close", Act.ACCEPT)
    order = (await netted.close_unsettled(first)).order if by == "user" else stop
    if by == "stop":
        await netted.fire(stop)
    intent = (await netted.intents(first))[-1]
    await netted.booking.book_fill(netted.venue.reduce_outside(first.venue_trade_index or "", "0.9995"))

    netted.venue.execute(intent.id)
    for _ in range(2):
        await netted.booking.book(intent.id, netted.venue.orders[intent.id].result())

    ended = await netted.order(order)
    assert (ended.status, ended.filled_quantity, ended.reason) == (OrderStatus.CANCELLED, Decimal(0), "reduced_outside")
    assert (await netted.intents(first))[-1].status is IntentStatus.DONE
    assert [(await netted.trade(trade)).status for trade in (first, second, third)] == [CLOSED, CLOSED, OPEN]
    (held,) = netted.venue.positions.values()
    left = await netted.position(third)
    assert left is not None
    assert (left.size, left.margin) == (held.size, held.margin)


async def test_orders_of_a_shared_position_are_locked_in_ascending_order(netted: Desk) -> None:
    """Trades whose orders alternate: whoever locks orders upwards beside a booking never meets it head-on."""
    first, second = (await netted.open()).trade, (await netted.open(**STOP)).trade
    highest = await netted.attach(first, ExitTerms(order_type=OrderType.STOP_LOSS, stop_price=Decimal(950)))
    (between,) = await netted.orders(second, OrderRole.EXIT)
    assert between.id < highest.id
    fill = netted.venue.reduce_outside(first.venue_trade_index or "", "0.4")

    async with netted.uow() as work:
        await work.orders.locked([between.id])
        booking = asyncio.create_task(netted.booking.book_fill(fill))
        await until(lambda: waits_for_a_lock(netted))
        assert highest.id in await work.orders.locked([highest.id])
    await booking

    assert (await netted.trade(first)).size == Decimal("0.5995")


async def waits_for_a_lock(desk: Desk) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with desk.uow() as work:
        return bool(await work.session.scalar(text(query)))


async def test_bookings_of_one_position_at_once_lose_nothing(netted: Desk) -> None:
    written = [await netted.write(**STOP) for _ in range(4)]

    await asyncio.gather(*(netted.execution.send([intent.id]) for _, _, intent in written))

    trades = [await netted.trade(trade) for trade, _, _ in written]
    (held,) = netted.venue.positions.values()
    assert {trade.status for trade in trades} == {OPEN}
    # Booked in another order than the venue's, margins may be late; the next look at the venue makes them exact.
    await netted.settlement.reconcile(netted.venue.name)
    shown = await positions(netted, trades)
    assert sum((position.margin for position in shown), Decimal(0)) == held.margin


async def test_margins_that_were_told_late_are_set_right(netted: Desk) -> None:
    trades = await three(netted)
    (held,) = netted.venue.positions.values()
    held.margin -= Decimal("0.000001")

    await netted.settlement.reconcile(netted.venue.name)

    margins = [position.margin for position in await positions(netted, trades)]
    assert margins == [Decimal("99.999999"), Decimal("99.999999"), Decimal("100.000001")]


@pytest.mark.parametrize("quantity", ["0.4", "0.9995"])
async def test_a_reduction_from_outside_closes_a_trade_of_its_own_position(desk: Desk, quantity: str) -> None:
    trade = (await desk.open(**STOP)).trade

    await desk.booking.book_fill(desk.venue.reduce_outside(trade.venue_trade_index or "", quantity))

    now = await desk.trade(trade)
    (exit_order,) = await desk.orders(trade, OrderRole.EXIT)
    if quantity == "0.4":
        assert (now.status, now.size, now.close_reason) == (OPEN, Decimal("0.5995"), None)
        assert (exit_order.status, exit_order.quantity) == (OrderStatus.PENDING, now.size)
    else:
        assert (now.status, now.size, now.close_reason) == (CLOSED, Decimal(0), "reduced_outside")
        assert exit_order.status is OrderStatus.CANCELLED


async def test_a_close_in_flight_that_finds_nothing_left_ends_with_the_trade(desk: Desk) -> None:
    trade = (await desk.open(**STOP)).trade
    order, _ = await desk.write_close(trade)

    await desk.booking.book_fill(desk.venue.reduce_outside(trade.venue_trade_index or "", "0.9995"))
    await desk.settle()

    assert (await desk.trade(trade)).close_reason == "reduced_outside"
    assert (await desk.order(order)).status is OrderStatus.REJECTED
    assert (await desk.intents(trade))[-1].status is IntentStatus.REJECTED
