"""Closing trades: by hand, in part, twice at once, refused, unknown, and what a liquidation does to all of it."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import (
    IntentKind,
    IntentStatus,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    TradeStatus,
    TriggeredLeg,
)
from app.domain.errors import Conflict, InvalidRequest, NotFound
from app.domain.trading import CloseParams, TradeResult, VenueOutcome
from app.models.trading import Trade
from app.services.claim_service import ClaimOutcome
from app.services.exit_order_service import terms_of
from app.services.trade_closing import retry_delay
from app.services.trading_service import Placed
from tests.desks import Desk, again
from tests.fakes import Act

STOP: dict[str, Any] = {"stop_price": Decimal(950)}
OPEN, CLOSING, CLOSED = TradeStatus.OPEN, TradeStatus.CLOSING, TradeStatus.CLOSED


async def opened(desk: Desk, **values: Any) -> Trade:
    return (await desk.open(**(STOP | values))).trade


async def test_a_close_ends_the_trade_and_its_exits(desk: Desk) -> None:
    trade = await opened(desk)
    told = await desk.told()
    desk.tick("1100", "1101")

    placed = await desk.close(trade)

    order, fill = placed.order, desk.venue.fills[-1]
    assert (order.role, order.order_type, order.side, order.reduce_only) == (
        OrderRole.CLOSE,
        OrderType.MARKET,
        OrderSide.SELL,
        True,
    )
    assert (order.status, order.average_price) == (OrderStatus.FILLED, Decimal(1100))
    closed = placed.trade
    assert (closed.status, closed.size, closed.exit_price, closed.close_reason) == (
        CLOSED,
        Decimal(0),
        Decimal(1100),
        "user",
    )
    assert closed.pnl == fill.pnl == Decimal("99.450250")
    assert closed.closed_at is not None
    assert [e.status for e in placed.exits] == [OrderStatus.CANCELLED]
    assert await desk.events(told) == [
        "order.created",
        "trade.updated closing",
        "order.updated submitted",
        "order.filled",
        "trade.closed user",
        "order.cancelled trade_closed",
        "position.updated closed",
    ]


async def test_a_part_close_scales_the_exits_and_leaves_the_trade_open(desk: Desk) -> None:
    trade = await opened(desk)
    told = await desk.told()

    placed = await desk.close(trade, "0.25")

    assert (placed.order.status, placed.order.quantity) == (OrderStatus.FILLED, Decimal("0.249875"))
    assert (placed.trade.status, placed.trade.size) == (OPEN, Decimal("0.749625"))
    assert [(e.status, e.quantity) for e in placed.exits] == [(OrderStatus.PENDING, Decimal("0.749625"))]
    position = await desk.position(trade)
    assert position is not None
    assert (position.size, position.is_open) == (Decimal("0.749625"), True)
    assert (await desk.events(told))[-3:] == ["order.filled", "trade.updated part_closed", "position.updated reduced"]


async def test_part_closes_add_up_to_the_whole(desk: Desk) -> None:
    trade = await opened(desk)
    prices = [("1100", "0.5"), ("1200", "0.3"), ("900", "1")]
    for bid, fraction in prices:
        desk.tick(bid, f"{bid}.5")
        await desk.close(trade, fraction)

    closed = await desk.trade(trade)
    closes = [fill for fill in desk.venue.fills if fill.is_close]
    assert closed.status is CLOSED
    assert sum((fill.quantity for fill in closes), Decimal(0)) == Decimal("0.999500")
    average = sum((fill.quantity * fill.price for fill in closes), Decimal(0)) / Decimal("0.999500")
    assert abs((closed.exit_price or 0) - average) < Decimal("1e-17")


@pytest.mark.parametrize(("fraction", "code"), [("0.0000001", "SIZE_BELOW_MINIMUM"), ("0", "VALIDATION_ERROR")])
async def test_a_close_of_nothing_changes_nothing(desk: Desk, fraction: str, code: str) -> None:
    trade = await opened(desk)
    told = await desk.told()

    with pytest.raises(InvalidRequest) as caught:
        await desk.close(trade, fraction)

    assert caught.value.code == code
    assert ((await desk.trade(trade)).status, await desk.events(told)) == (OPEN, [])


async def test_of_ten_closes_at_once_one_closes(desk: Desk) -> None:
    trade = await opened(desk)

    outcomes = await asyncio.gather(*(desk.close(trade) for _ in range(10)), return_exceptions=True)

    assert len([outcome for outcome in outcomes if isinstance(outcome, Placed)]) == 1
    refused = [outcome for outcome in outcomes if not isinstance(outcome, Placed)]
    assert all(isinstance(outcome, Conflict | NotFound) for outcome in refused)
    assert {getattr(outcome, "code", None) for outcome in refused} <= {"TRADE_CLOSING", "TRADE_NOT_FOUND"}
    assert len([call for call in desk.venue.calls if call.startswith("close")]) == 1


async def test_a_closed_trade_cannot_be_closed_and_says_when_it_was(desk: Desk) -> None:
    trade = await opened(desk)
    await desk.close(trade)

    with pytest.raises(NotFound) as caught:
        await desk.close(trade)

    assert caught.value.code == "TRADE_NOT_FOUND"
    assert caught.value.details["status"] is CLOSED
    assert caught.value.details["closed_at"] is not None


async def test_a_trade_that_is_closing_says_so(desk: Desk) -> None:
    trade = await opened(desk)
    desk.venue.will("close", Act.LATE)
    await desk.close(trade)

    with pytest.raises(Conflict) as caught:
        await desk.close(trade)

    assert caught.value.code == "TRADE_CLOSING"


async def test_another_users_trade_is_not_there(desk: Desk) -> None:
    trade = await opened(desk)

    with pytest.raises(NotFound):
        await desk.trading.close_trade(
            type(desk.trader)(desk.user_id + 1, may_trade=True, is_sandbox=False), trade.pair_id, 0, Decimal(1), None
        )


async def test_no_close_is_asked_for_while_the_market_is_closed(desk: Desk) -> None:
    trade = await opened(desk)
    desk.board.set_open(is_open=False)

    with pytest.raises(Conflict) as caught:
        await desk.close(trade)

    assert (caught.value.code, (await desk.trade(trade)).status) == ("MARKET_CLOSED", OPEN)


async def test_a_refused_close_leaves_the_trade_open_and_protected(desk: Desk) -> None:
    trade = await opened(desk)
    desk.venue.will("close", (Act.REJECT, "SLIPPAGE_EXCEEDED"))

    placed = await desk.close(trade)

    assert (placed.order.status, placed.order.reason) == (OrderStatus.REJECTED, "SLIPPAGE_EXCEEDED")
    assert (placed.trade.status, [e.status for e in placed.exits]) == (OPEN, [OrderStatus.PENDING])
    # It can be closed again.
    assert (await desk.close(trade)).trade.status is CLOSED


async def test_a_close_whose_outcome_is_unknown_is_found_out(desk: Desk) -> None:
    trade = await opened(desk)
    desk.venue.will("close", Act.UNHEARD)

    placed = await desk.close(trade)
    unknown = (placed.order.status, placed.trade.status)
    await desk.settle()

    assert unknown == (OrderStatus.UNKNOWN, CLOSING)
    assert (await desk.order(placed.order)).status is OrderStatus.FILLED
    assert (await desk.trade(trade)).status is CLOSED


async def test_a_close_that_never_arrived_leaves_the_trade_open_once_it_can_arrive_no_more(desk: Desk) -> None:
    trade = await opened(desk)
    desk.venue.will("close", Act.LATE)
    placed = await desk.close(trade)

    await desk.settle()
    before = (await desk.trade(trade)).status
    await desk.lapse()
    await desk.settle()

    assert (before, (await desk.trade(trade)).status) == (CLOSING, OPEN)
    order = await desk.order(placed.order)
    assert (order.status, order.reason, order.unknown_since) == (OrderStatus.REJECTED, "NOT_RECEIVED", None)


async def test_a_close_that_fills_in_parts_is_closing_until_the_last(desk: Desk) -> None:
    trade = await opened(desk)
    desk.venue.will("close", (Act.PART, "0.4"))
    placed = await desk.close_unsettled(trade)
    seen = [(placed.order.status, placed.trade.status, placed.trade.size, placed.exits[0].quantity)]
    intent = (await desk.intents(trade))[-1]

    desk.venue.execute(intent.id, "0.5")
    await desk.settle()
    (exit_order,) = await desk.orders(trade, OrderRole.EXIT)
    now = await desk.trade(trade)
    seen.append(((await desk.order(placed.order)).status, now.status, now.size, exit_order.quantity))
    desk.venue.execute(intent.id)
    await desk.settle()

    part_filled = OrderStatus.PARTIALLY_FILLED
    assert seen == [
        (part_filled, CLOSING, Decimal("0.5995"), Decimal("0.5995")),
        (part_filled, CLOSING, Decimal("0.0995"), Decimal("0.0995")),
    ]
    assert (await desk.trade(trade)).status is CLOSED


async def test_a_close_that_gives_up_after_a_part_leaves_the_rest_open_and_protected(desk: Desk) -> None:
    trade = await opened(desk)
    desk.venue.will("close", (Act.PART_ONLY, "0.4"))

    placed = await desk.close(trade)

    assert (placed.order.status, placed.order.filled_quantity) == (OrderStatus.CANCELLED, Decimal("0.4"))
    assert (placed.trade.status, placed.trade.size) == (OPEN, Decimal("0.5995"))
    assert [(e.status, e.quantity) for e in placed.exits] == [(OrderStatus.PENDING, Decimal("0.5995"))]
    assert (await desk.close(trade)).trade.status is CLOSED


async def test_a_close_that_is_refused_after_a_part_leaves_the_rest_open(desk: Desk) -> None:
    trade = await opened(desk)
    desk.venue.will("close", (Act.PART, "0.4"))
    placed = await desk.close_unsettled(trade)
    intent = (await desk.intents(trade))[-1]
    desk.venue.end(intent.id, VenueOutcome.REJECTED, "MARGIN")

    await desk.settle()

    assert (await desk.order(placed.order)).status is OrderStatus.CANCELLED
    assert ((await desk.trade(trade)).status, (await desk.trade(trade)).size) == (OPEN, Decimal("0.5995"))


async def test_a_triggered_exit_closes_and_tells_what_fired_it(desk: Desk) -> None:
    trade = await opened(desk, take_profit_price=Decimal(1100))
    stop, take_profit = await desk.orders(trade, OrderRole.EXIT)
    told = await desk.told()
    desk.tick("940", "941")

    claim = await desk.fire(stop, "940.5")

    fired = await desk.order(stop)
    assert (fired.status, fired.triggered_leg, fired.trigger_price) == (OrderStatus.FILLED, "stop", Decimal("940.5"))
    assert (fired.trigger_source, fired.trigger_sequence) == ("test", desk.sequence + 1)
    assert (fired.average_price, fired.triggered_at is not None) == (Decimal(940), True)
    closed = await desk.trade(trade)
    assert (closed.status, closed.close_reason) == (CLOSED, "stop")
    assert (await desk.order(take_profit)).status is OrderStatus.CANCELLED
    assert claim.outcome is ClaimOutcome.WON
    assert await desk.events(told) == [
        "order.triggered stop",
        "trade.updated closing",
        "order.updated submitted",
        "order.filled",
        "trade.closed stop",
        "order.cancelled trade_closed",
        "position.updated closed",
    ]


async def test_a_refused_protective_close_is_latched_and_claimed_again(desk: Desk) -> None:
    trade = await opened(desk)
    (stop,) = await desk.orders(trade, OrderRole.EXIT)
    desk.venue.will("close", (Act.REJECT, "BUSY"), Act.UNSENT)
    told = await desk.told()
    seen = []
    for attempt in range(3):
        async with desk.uow() as work:
            latched = (await work.orders.rows([stop.id]))[0]
        crossed = desk.crossed(stop) if attempt == 0 else again(latched)
        await desk.claim_and_send(crossed)
        row = await desk.order(stop)
        seen.append((row.status, row.attempt, row.latched_sequence, (await desk.trade(trade)).status))

    sequence = desk.sequence + 1
    assert seen == [
        (OrderStatus.PENDING, 1, sequence, OPEN),
        (OrderStatus.PENDING, 2, sequence, OPEN),
        (OrderStatus.FILLED, 2, None, CLOSED),
    ]
    intents = [intent for intent in await desk.intents(trade) if intent.kind is IntentKind.CLOSE]
    assert [(intent.attempt, intent.status) for intent in intents] == [
        (0, IntentStatus.REJECTED),
        (1, IntentStatus.REJECTED),
        (2, IntentStatus.DONE),
    ]
    log = await desk.events(told)
    assert log.count("order.updated re-armed") == 2
    assert log.count("order.triggered stop") == 3
    # What fired it stays what it was.
    assert (await desk.order(stop)).trigger_price == Decimal(950)


async def test_attempts_wait_longer_up_to_a_second() -> None:
    assert [retry_delay(attempt).total_seconds() for attempt in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    assert retry_delay(10_000).total_seconds() == 1.0


async def test_a_protective_close_that_fills_in_part_and_gives_up_is_claimed_for_the_rest(desk: Desk) -> None:
    trade = await opened(desk)
    (stop,) = await desk.orders(trade, OrderRole.EXIT)
    desk.venue.will("close", (Act.PART_ONLY, "0.4"))

    await desk.fire(stop)

    row = await desk.order(stop)
    assert (row.status, row.attempt, row.filled_quantity) == (OrderStatus.PENDING, 1, Decimal("0.4"))
    assert (await desk.trade(trade)).status is OPEN
    # By hand a part goes first; the exit is scaled to what is left for it.
    await desk.close(trade, "0.5")
    row = await desk.order(stop)
    left = (await desk.trade(trade)).size
    assert row.quantity - row.filled_quantity == left
    await desk.claim_and_send(again(row))
    assert (await desk.trade(trade)).status is CLOSED
    assert (await desk.order(stop)).filled_quantity == Decimal("0.4") + left


async def test_a_protective_close_refused_by_a_closed_market_lets_go_of_its_crossing(desk: Desk) -> None:
    """The first fresh tick decides anew: nothing is sent again and again to a closed market."""
    trade = await opened(desk)
    (stop,) = await desk.orders(trade, OrderRole.EXIT)
    desk.venue.will("close", (Act.REJECT, "MARKET_CLOSED"))

    await desk.fire(stop)

    row = await desk.order(stop)
    assert (row.status, row.latched_sequence, (await desk.trade(trade)).status) == (OrderStatus.PENDING, None, OPEN)
    assert row.version > stop.version
    async with desk.uow() as work:
        assert row.id not in {order.id for order in await work.orders.retryable([desk.pair.id])}


@pytest.mark.parametrize(("is_long", "watermark", "best"), [(True, "1001", "1010"), (False, "1001", "985")])
async def test_a_trailing_stop_that_was_let_go_is_never_looser_than_it_was(
    desk: Desk, is_long: bool, watermark: str, best: str
) -> None:
    placed = await desk.open(is_long=is_long, trailing_stop_distance=Decimal(20))
    (trailing,) = placed.exits
    crossed = desk.crossed(trailing, "981" if is_long else "1021", TriggeredLeg.TRAILING)
    assert crossed.crossing.watermark == Decimal(watermark)
    desk.venue.will("close", (Act.REJECT, "MARKET_CLOSED"))
    desk.tick("981", "981")
    for price in ("1010", "985", "990"):
        last = desk.tick(price, price)

    await desk.claim_and_send(crossed)

    row = await desk.order(trailing)
    assert (row.armed_price, row.released_sequence) == (Decimal(best), last.sequence)
    assert (row.armed_sequence, row.stop_price, row.triggered_leg) == (trailing.armed_sequence, None, None)


async def test_both_levels_of_an_oco_that_was_let_go_are_what_they_were(desk: Desk) -> None:
    placed = await desk.open(oco_stop_price=Decimal(950), oco_take_profit_price=Decimal(1100))
    (oco,) = placed.exits
    desk.venue.will("close", (Act.REJECT, "MARKET_CLOSED"))

    await desk.fire(oco)

    terms = terms_of(await desk.order(oco))
    assert terms == terms_of(oco)


async def test_a_venues_word_on_what_was_never_asked_is_refused(desk: Desk) -> None:
    placed = await desk.open()
    with pytest.raises(LookupError):
        await desk.booking.book(2**40, TradeResult(2**40, VenueOutcome.REJECTED))
    assert (await desk.trade(placed.trade)).status is OPEN


async def test_a_liquidation_ends_the_trade_with_its_whole_margin(desk: Desk) -> None:
    trade = await opened(desk)
    told = await desk.told()
    desk.tick("900", "901")

    await desk.booking.book_fill(desk.venue.liquidate(trade.venue_trade_index or ""))

    gone = await desk.trade(trade)
    assert (gone.status, gone.size, gone.close_reason) == (TradeStatus.LIQUIDATED, Decimal(0), "liquidated")
    opening_fee = desk.venue.fills[0].fee
    assert (gone.pnl or 0) - (gone.fees - opening_fee) == Decimal(-100)
    assert await desk.events(told) == [
        "trade.liquidated liquidated",
        "order.cancelled liquidated",
        "position.updated liquidated",
    ]


@pytest.mark.parametrize("is_by_hand", [True, False])
async def test_a_liquidation_that_beats_a_close_in_flight_ends_both(desk: Desk, is_by_hand: bool) -> None:
    trade = await opened(desk)
    (stop,) = await desk.orders(trade, OrderRole.EXIT)
    desk.venue.will("close", Act.LATE)
    closing = (await desk.close(trade)).order if is_by_hand else stop
    if not is_by_hand:
        await desk.fire(stop)
    await desk.booking.book_fill(desk.venue.liquidate(trade.venue_trade_index or ""))
    await desk.lapse()

    await desk.settle()

    ended = OrderStatus.REJECTED if is_by_hand else OrderStatus.CANCELLED
    assert (await desk.trade(trade)).status is TradeStatus.LIQUIDATED
    assert (await desk.order(closing)).status is ended
    assert (await desk.order(stop)).status is OrderStatus.CANCELLED


async def test_a_liquidation_withdraws_a_close_that_was_not_sent(desk: Desk) -> None:
    trade = await opened(desk)
    order, intent = await desk.write_close(trade)

    await desk.booking.book_fill(desk.venue.liquidate(trade.venue_trade_index or ""))
    await desk.settle()

    assert desk.venue.calls == ["open " + str((await desk.intents(trade))[0].id)]
    assert (await desk.order(order)).status is OrderStatus.REJECTED
    assert (await desk.intents(trade))[-1].status is IntentStatus.REJECTED
    assert intent.id == (await desk.intents(trade))[-1].id


async def test_a_liquidation_after_a_part_close_that_was_not_heard_of_loses_neither(desk: Desk) -> None:
    """The venue closed a part and then liquidated the rest; we hear of the liquidation first."""
    trade = await opened(desk)
    desk.venue.will("close", Act.UNHEARD)
    await desk.close(trade, "0.4")
    liquidation = desk.venue.liquidate(trade.venue_trade_index or "")

    await desk.booking.book_fill(liquidation)
    await desk.settle()
    await desk.settlement.reconcile(desk.venue.name)

    gone = await desk.trade(trade)
    assert (gone.status, gone.size) == (TradeStatus.LIQUIDATED, Decimal(0))
    assert gone.pnl == sum(fill.pnl for fill in desk.venue.fills)


async def test_a_liquidation_told_before_its_entry_is_booked_is_found_later(desk: Desk) -> None:
    desk.venue.will("open", Act.UNHEARD)
    placed = await desk.open(**STOP)
    liquidation = desk.venue.liquidate(next(iter(desk.venue.positions)))
    await desk.booking.book_fill(liquidation)

    await desk.settle()
    opened_late = (await desk.trade(placed.trade)).status
    await desk.settlement.reconcile(desk.venue.name)

    assert opened_late is OPEN
    assert await desk.statuses(placed.trade) == (
        TradeStatus.LIQUIDATED,
        [OrderStatus.FILLED, OrderStatus.CANCELLED],
    )


async def test_a_close_asks_for_what_is_open_and_nothing_else(desk: Desk) -> None:
    trade = await opened(desk, is_long=False, stop_price=Decimal(1050))
    await desk.close(trade)

    sent = desk.venue.orders[(await desk.intents(trade))[-1].id].params
    assert isinstance(sent, CloseParams)
    assert (sent.size, sent.side, sent.venue_trade_index) == (
        desk.venue.fills[0].quantity,
        trade.side,
        trade.venue_trade_index,
    )
