"""Closing a trade whose entry can still fill: all of it goes, whatever fills meanwhile, and only then it is closed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from app.domain.enums import IntentKind, IntentStatus, OrderRole, OrderStatus, OrderType, TradeStatus
from app.domain.errors import Conflict
from app.domain.trading import VenueOutcome
from app.models.trading import Order, Trade
from tests.desks import Desk, again
from tests.fakes import Act

OPEN, CLOSING, CLOSED = TradeStatus.OPEN, TradeStatus.CLOSING, TradeStatus.CLOSED
STOP: dict[str, Any] = {"stop_price": Decimal(950)}
HOUR = timedelta(hours=1)


async def part_filled(desk: Desk, quantity: str = "0.4", **values: Any) -> tuple[Trade, int]:
    """A trade of which a part is open and the rest rests at the venue, and the client id of its entry."""
    desk.venue.will("open", Act.REST)
    placed = await desk.open(**(STOP | {"order_type": OrderType.LIMIT, "price": Decimal(1000)} | values))
    client_id = (await desk.intents(placed.trade))[0].id
    await desk.booking.book_fill(desk.venue.execute(client_id, quantity))
    return await desk.trade(placed.trade), client_id


async def entry_of(desk: Desk, trade: Trade) -> Order:
    (entry,) = await desk.orders(trade, OrderRole.ENTRY)
    return entry


async def exit_of(desk: Desk, trade: Trade) -> Order:
    (exit_order,) = await desk.orders(trade, OrderRole.EXIT)
    return exit_order


async def test_a_whole_close_cancels_the_rest_of_the_entry_too(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)

    await desk.answered(await desk.close(trade))

    entry = await entry_of(desk, trade)
    assert (entry.status, entry.reason, entry.filled_quantity) == (
        OrderStatus.CANCELLED,
        "trade_closing",
        Decimal("0.4"),
    )
    closed = await desk.trade(trade)
    assert (closed.status, closed.close_reason, closed.size) == (CLOSED, "user", Decimal(0))
    assert (await exit_of(desk, trade)).status is OrderStatus.CANCELLED
    assert {call.split()[0] for call in desk.venue.calls[1:]} == {"close", "cancel"}
    assert f"cancel {client_id}" in desk.venue.calls


async def test_a_part_close_leaves_the_rest_of_the_entry_resting(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)

    await desk.close(trade, "0.5")
    await desk.booking.book_fill(desk.venue.execute(client_id))

    now = await desk.trade(trade)
    assert (now.status, (await entry_of(desk, trade)).status) == (OPEN, OrderStatus.FILLED)
    assert now.size == desk.venue.positions[now.venue_trade_index or ""].size
    assert (await exit_of(desk, trade)).quantity == now.size


async def test_a_trade_is_closing_until_its_entry_can_fill_no_more(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)
    desk.venue.will("cancel", Act.ACCEPT)
    await desk.answered(await desk.close(trade))
    before = await desk.trade(trade)
    position = await desk.position(trade)
    told = await desk.told()

    desk.venue.end(client_id, VenueOutcome.CANCELLED)
    await desk.settle()

    assert (before.status, before.size, before.close_reason) == (CLOSING, Decimal(0), "user")
    assert position is not None
    assert not position.is_open
    assert (await desk.trade(trade)).status is CLOSED
    assert await desk.events(told) == [
        "order.cancelled trade_closing",
        "trade.closed user",
        "order.cancelled trade_closed",
    ]


@pytest.mark.parametrize("acts", [[], [(Act.REJECT, "BUSY")] * 3, [Act.UNHEARD], [(Act.PART_ONLY, "0.05")]])
async def test_what_fills_after_a_close_by_hand_is_closed_by_the_engine(desk: Desk, acts: list[Any]) -> None:
    trade, client_id = await part_filled(desk)
    desk.venue.will("cancel", Act.ACCEPT)
    await desk.answered(await desk.close(trade))
    told = await desk.told()

    desk.venue.will("close", *acts)
    await desk.booking.book_fill(desk.venue.execute(client_id, "0.2"))
    regrown = await desk.trade(trade)
    desk.venue.end(client_id, VenueOutcome.CANCELLED)
    for _ in range(5):
        await desk.settle()

    assert (regrown.status, regrown.size) == (CLOSING, Decimal("0.2"))
    closed = await desk.trade(trade)
    assert (closed.status, closed.size, closed.close_reason) == (CLOSED, Decimal(0), "user")
    first, second = await desk.orders(trade, OrderRole.CLOSE)
    assert (first.filled_quantity, second.filled_quantity) == (Decimal("0.4"), Decimal("0.2"))
    assert (await desk.events(told))[:4] == [
        "order.updated part_filled",
        "trade.updated part_filled",
        "position.updated grown",
        "order.created rest_of_entry",
    ]
    assert (await exit_of(desk, trade)).status is OrderStatus.CANCELLED


async def test_what_fills_while_the_close_is_under_way_is_closed_too(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)
    desk.venue.will("close", Act.ACCEPT)
    desk.venue.will("cancel", (Act.REJECT, "TOO_LATE"))
    await desk.close_unsettled(trade)
    await desk.booking.book_fill(desk.venue.execute(client_id))
    close = next(i for i in await desk.intents(trade) if i.kind is IntentKind.CLOSE)

    desk.venue.execute(close.id)
    await desk.settle()
    await desk.settle()

    assert await desk.statuses(trade) == (
        CLOSED,
        [OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.FILLED, OrderStatus.FILLED],
    )


async def test_the_engine_gives_up_a_rest_that_the_venue_will_not_close_and_leaves_it_protected(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)
    desk.venue.will("cancel", Act.ACCEPT)
    await desk.answered(await desk.close(trade))
    desk.venue.expect("close", (Act.REJECT, "SIZE_BELOW_MINIMUM"))

    await desk.booking.book_fill(desk.venue.execute(client_id, "0.2"))
    for _ in range(7):
        await desk.settle()

    now = await desk.trade(trade)
    assert (now.status, now.size, now.close_reason) == (OPEN, Decimal("0.2"), None)
    order = await exit_of(desk, trade)
    assert (order.status, order.quantity) == (OrderStatus.PENDING, Decimal("0.2"))
    assert (await desk.orders(trade, OrderRole.CLOSE))[-1].status is OrderStatus.REJECTED
    desk.venue.expect_nothing()
    desk.venue.end(client_id, VenueOutcome.CANCELLED)
    await desk.settle()
    assert (await desk.close(trade)).trade.status is CLOSED


async def test_an_exit_goes_on_until_the_entry_can_fill_no_more(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)
    stop = await exit_of(desk, trade)
    desk.venue.will("cancel", Act.ACCEPT)

    await desk.fire(stop)
    await desk.settle()
    waiting, closing = await desk.order(stop), await desk.trade(trade)
    await desk.booking.book_fill(desk.venue.execute(client_id, "0.2"))
    regrown = await desk.trade(trade)
    row = await desk.order(stop)
    await desk.claim_and_send(again(row))
    desk.venue.end(client_id, VenueOutcome.CANCELLED)
    await desk.settle()

    assert (waiting.status, waiting.filled_quantity, closing.status) == (OrderStatus.PENDING, Decimal("0.4"), CLOSING)
    assert (regrown.status, regrown.size, row.quantity) == (OPEN, Decimal("0.2"), Decimal("0.6"))
    fired, closed = await desk.order(stop), await desk.trade(trade)
    assert (fired.status, fired.filled_quantity, fired.quantity) == (
        OrderStatus.FILLED,
        Decimal("0.6"),
        Decimal("0.6"),
    )
    assert (closed.status, closed.close_reason) == (CLOSED, "stop")


async def test_an_exit_is_claimed_again_for_what_filled_while_its_close_was_under_way(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)
    stop = await exit_of(desk, trade)
    desk.venue.will("close", Act.ACCEPT)
    await desk.fire(stop)
    await desk.booking.book_fill(desk.venue.execute(client_id))
    close = next(i for i in await desk.intents(trade) if i.kind is IntentKind.CLOSE)

    desk.venue.execute(close.id)
    await desk.settle()
    row, now = await desk.order(stop), await desk.trade(trade)
    await desk.claim_and_send(again(row))

    assert (row.status, now.status, row.quantity - row.filled_quantity) == (OrderStatus.PENDING, OPEN, now.size)
    assert await desk.statuses(trade) == (CLOSED, [OrderStatus.FILLED, OrderStatus.FILLED])


async def test_a_claim_asks_for_the_cancel_of_the_rest_beside_its_close(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)
    (claim,) = await desk.claim(desk.crossed(await exit_of(desk, trade)))
    entry = await entry_of(desk, trade)

    await desk.settle()

    assert claim.intent_id is not None
    assert (entry.status, entry.reason) == (OrderStatus.PENDING_CANCEL, "trade_closing")
    assert f"cancel {client_id}" in desk.venue.calls
    assert ((await desk.trade(trade)).status, (await desk.trade(trade)).close_reason) == (CLOSED, "stop")


async def test_a_word_on_an_earlier_attempt_changes_nothing_now(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)
    stop = await exit_of(desk, trade)
    desk.venue.will("cancel", Act.ACCEPT)
    claim = await desk.fire(stop)
    before = await desk.order(stop)
    told = await desk.told()

    await desk.booking.book(claim.intent_id or 0, desk.venue.orders[claim.intent_id or 0].result())

    after = await desk.order(stop)
    assert (after.status, after.attempt, after.version) == (before.status, before.attempt, before.version)
    assert await desk.events(told) == []
    desk.venue.end(client_id, VenueOutcome.CANCELLED)


async def test_a_cancel_that_is_refused_is_asked_for_again_while_the_trade_is_closing(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)
    desk.venue.will("cancel", (Act.REJECT, "BUSY"), (Act.REJECT, "BUSY"))
    await desk.answered(await desk.close(trade))

    for _ in range(3):
        await desk.settle()

    assert (await desk.trade(trade)).status is CLOSED
    assert len([call for call in desk.venue.calls if call == f"cancel {client_id}"]) == 3


async def test_a_refused_whole_close_leaves_what_filled_open_and_protected(desk: Desk) -> None:
    trade, _ = await part_filled(desk)
    desk.venue.will("close", (Act.REJECT, "SLIPPAGE_EXCEEDED"))

    await desk.answered(await desk.close(trade))

    now = await desk.trade(trade)
    assert (now.status, (await entry_of(desk, trade)).status) == (OPEN, OrderStatus.CANCELLED)
    assert (await exit_of(desk, trade)).quantity == now.size


async def test_a_process_that_dies_before_it_sends_leaves_both_to_settlement(desk: Desk) -> None:
    trade, _ = await part_filled(desk)
    await desk.write_close(trade)

    await desk.settle()

    assert (await desk.trade(trade)).status is CLOSED
    assert (await entry_of(desk, trade)).status is OrderStatus.CANCELLED


async def test_what_is_left_of_a_part_filled_entry_can_be_cancelled(desk: Desk) -> None:
    trade, _ = await part_filled(desk)
    entry = await entry_of(desk, trade)

    cancelled = await desk.exits.cancel(desk.user_id, entry.id)

    assert (cancelled.status, cancelled.filled_quantity) == (OrderStatus.CANCELLED, Decimal("0.4"))
    now = await desk.trade(trade)
    assert (now.status, now.size) == (OPEN, Decimal("0.4"))
    with pytest.raises(Conflict):
        await desk.exits.cancel(desk.user_id, entry.id)


async def test_what_is_left_of_a_part_filled_entry_expires(desk: Desk) -> None:
    trade, _ = await part_filled(desk, expires_at=datetime.now(UTC) + HOUR)
    entry = await entry_of(desk, trade)
    async with desk.uow() as work:
        past = datetime.now(UTC) - HOUR
        await work.session.execute(update(Order).where(Order.id == entry.id).values(expires_at=past))

    await desk.settlement.expire()

    assert (await entry_of(desk, trade)).status is OrderStatus.EXPIRED
    assert ((await desk.trade(trade)).status, (await desk.trade(trade)).size) == (OPEN, Decimal("0.4"))


async def test_a_part_filled_entry_is_looked_after_like_one_that_rests(desk: Desk) -> None:
    desk.venue.will("open", (Act.PART, "0.4"))
    placed = await desk.open_unsettled(**STOP)
    (intent,) = await desk.intents(placed.trade)
    desk.venue.execute(intent.id)

    await desk.settle()

    assert intent.status is IntentStatus.RESTING
    assert await desk.statuses(placed.trade) == (OPEN, [OrderStatus.FILLED, OrderStatus.PENDING])


async def test_a_liquidation_with_the_entry_still_resting_ends_once_that_is_cancelled(desk: Desk) -> None:
    trade, client_id = await part_filled(desk)
    desk.venue.will("cancel", Act.ACCEPT)
    await desk.booking.book_fill(desk.venue.liquidate(trade.venue_trade_index or ""))
    await desk.settle()
    before = await desk.trade(trade)

    await desk.booking.book_fill(desk.venue.execute(client_id, "0.1"))
    desk.venue.end(client_id, VenueOutcome.CANCELLED)
    await desk.settle()
    await desk.settle()

    assert (before.status, before.size, before.close_reason) == (CLOSING, Decimal(0), "liquidated")
    gone = await desk.trade(trade)
    assert (gone.status, gone.size) == (TradeStatus.LIQUIDATED, Decimal(0))
    assert gone.pnl == sum(fill.pnl for fill in desk.venue.fills)
