"""Cancelling entries: before they are sent, while they rest, when they fill meanwhile or after all, and expiry."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from app.domain.enums import IntentKind, IntentStatus, OrderRole, OrderStatus, OrderType, TradeStatus
from app.domain.errors import Conflict
from app.domain.trading import VenueOutcome
from app.models.trading import Order
from app.services.booking_service import settled_topic
from app.services.trading_service import Placed
from tests.desks import Desk
from tests.fakes import Act

LIMIT: dict[str, Any] = {
    "order_type": OrderType.LIMIT,
    "price": Decimal(990),
    "stop_price": Decimal(950),
    "take_profit_price": Decimal(1100),
}
HOUR = timedelta(hours=1)
CANCELLED = (TradeStatus.CANCELLED, [OrderStatus.CANCELLED] * 3)
OPEN = (TradeStatus.OPEN, [OrderStatus.FILLED, OrderStatus.PENDING, OrderStatus.PENDING])


async def resting(desk: Desk, **values: Any) -> Placed:
    desk.venue.will("open", Act.REST)
    return await desk.open(**(LIMIT | values))


async def entry_client_id(desk: Desk, placed: Placed) -> int:
    return next(i.id for i in await desk.intents(placed.trade) if i.kind is IntentKind.OPEN)


async def test_a_resting_entry_is_cancelled_with_its_exits(desk: Desk) -> None:
    placed = await resting(desk)
    told = await desk.told()

    order = await desk.exits.cancel(desk.user_id, placed.order.id)

    assert (order.status, order.reason) == (OrderStatus.CANCELLED, "user")
    assert await desk.statuses(placed.trade) == CANCELLED
    assert [intent.status for intent in await desk.intents(placed.trade)] == [IntentStatus.REJECTED, IntentStatus.DONE]
    assert await desk.events(told) == [
        "order.updated pending_cancel",
        "order.cancelled user",
        "trade.updated entry_cancelled",
        "order.cancelled entry_cancelled",
        "order.cancelled entry_cancelled",
    ]


async def test_closing_a_trade_without_a_fill_cancels_its_entry(desk: Desk) -> None:
    placed = await resting(desk)

    closed = await desk.close(placed.trade)

    assert (closed.order.id, closed.order.status) == (placed.order.id, OrderStatus.CANCELLED)
    assert await desk.statuses(placed.trade) == CANCELLED


async def test_an_entry_that_nobody_has_sent_is_cancelled_without_asking_the_venue(desk: Desk) -> None:
    trade, order, intent = await desk.write(**LIMIT)

    await desk.exits.cancel(desk.user_id, order.id)
    await desk.execution.send([intent.id])
    await desk.settle()

    assert await desk.statuses(trade) == CANCELLED
    assert desk.venue.calls == []


async def test_whoever_waits_for_an_entry_that_was_cancelled_before_it_was_sent_is_told(desk: Desk) -> None:
    _, order, intent = await desk.write(**LIMIT)
    told = asyncio.Event()
    unsubscribe = desk.container.broadcast.subscribe(settled_topic(order.id), lambda _: told.set())
    await desk.exits.cancel(desk.user_id, order.id)
    told.clear()

    await desk.execution.send([intent.id])
    unsubscribe()

    assert told.is_set()


async def test_sending_and_cancelling_at_once_have_one_outcome(desk: Desk) -> None:
    written = [await desk.write(**LIMIT) for _ in range(10)]
    desk.venue.will("open", *[Act.REST] * 10)

    async def cancel(order: Order) -> None:
        await desk.exits.cancel(desk.user_id, order.id)

    work = [action for _, order, intent in written for action in (desk.execution.send([intent.id]), cancel(order))]
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    await desk.settle()

    assert all(outcome is None or isinstance(outcome, Conflict) for outcome in outcomes)
    for (trade, order, _), outcome in zip(written, outcomes[1::2], strict=True):
        resting = (await desk.order(order)).status is OrderStatus.PENDING
        assert resting is isinstance(outcome, Conflict)
        assert (await desk.trade(trade)).status is (TradeStatus.SUBMITTED if resting else TradeStatus.CANCELLED)
    venue_rests = [o for o in desk.venue.orders.values() if o.outcome is VenueOutcome.RESTING]
    assert len(venue_rests) == len([outcome for outcome in outcomes if isinstance(outcome, Conflict)])


@pytest.mark.parametrize("act", [Act.LATE, Act.ACCEPT])
async def test_an_entry_in_flight_cannot_be_cancelled_yet(desk: Desk, act: Act) -> None:
    desk.venue.will("open", act)
    placed = await desk.open_unsettled()

    with pytest.raises(Conflict, match=r"on its way to the venue .*: it fills, or it can be cancelled once it rests"):
        await desk.exits.cancel(desk.user_id, placed.order.id)


async def test_an_entry_that_filled_meanwhile_opens_the_trade(desk: Desk) -> None:
    placed = await resting(desk)
    desk.venue.execute(await entry_client_id(desk, placed))

    order = await desk.exits.cancel(desk.user_id, placed.order.id)

    assert order.status is OrderStatus.FILLED
    assert await desk.statuses(placed.trade) == OPEN


async def test_an_entry_that_filled_in_part_before_its_cancel_keeps_that_part(desk: Desk) -> None:
    placed = await resting(desk)
    desk.venue.execute(await entry_client_id(desk, placed), "0.3")

    order = await desk.exits.cancel(desk.user_id, placed.order.id)

    assert (order.status, order.filled_quantity) == (OrderStatus.CANCELLED, Decimal("0.3"))
    status, orders = await desk.statuses(placed.trade)
    assert (status, orders[1:]) == (TradeStatus.OPEN, [OrderStatus.PENDING] * 2)
    assert (await desk.trade(placed.trade)).size == Decimal("0.3")


async def test_a_cancel_is_pending_until_the_venues_answer_is_known(desk: Desk) -> None:
    placed = await resting(desk)
    desk.venue.will("cancel", Act.ACCEPT)

    pending = (await desk.exits.cancel(desk.user_id, placed.order.id)).status
    await desk.settle()
    still = (await desk.order(placed.order)).status
    desk.venue.end(await entry_client_id(desk, placed), VenueOutcome.CANCELLED)
    await desk.settle()

    assert (pending, still) == (OrderStatus.PENDING_CANCEL, OrderStatus.PENDING_CANCEL)
    assert await desk.statuses(placed.trade) == CANCELLED


async def test_a_part_that_fills_while_the_cancel_is_pending_leaves_it_pending(desk: Desk) -> None:
    placed = await resting(desk)
    desk.venue.will("cancel", Act.ACCEPT)
    await desk.exits.cancel(desk.user_id, placed.order.id)

    client_id = await entry_client_id(desk, placed)
    await desk.booking.book_fill(desk.venue.execute(client_id, "0.3"))
    order = await desk.order(placed.order)
    desk.venue.end(client_id, VenueOutcome.CANCELLED)
    await desk.settle()

    assert (order.status, order.filled_quantity) == (OrderStatus.PENDING_CANCEL, Decimal("0.3"))
    assert (await desk.order(placed.order)).status is OrderStatus.CANCELLED
    assert (await desk.order(placed.order)).reason == "user"
    assert ((await desk.trade(placed.trade)).status, (await desk.trade(placed.trade)).size) == (
        TradeStatus.OPEN,
        Decimal("0.3"),
    )


@pytest.mark.parametrize("step", [Act.UNSENT, (Act.REJECT, "TOO_LATE")])
async def test_a_cancel_that_is_refused_leaves_the_entry_resting(desk: Desk, step: Any) -> None:
    placed = await resting(desk)
    desk.venue.will("cancel", step)

    order = await desk.exits.cancel(desk.user_id, placed.order.id)

    assert (order.status, order.reason) == (OrderStatus.PENDING, "cancel_failed")
    assert await desk.statuses(placed.trade) == (
        TradeStatus.SUBMITTED,
        [OrderStatus.PENDING, OrderStatus.WAITING, OrderStatus.WAITING],
    )
    # It is alive at the venue, and so it is here: it can fill, and it can be cancelled again.
    assert (await desk.exits.cancel(desk.user_id, placed.order.id)).status is OrderStatus.CANCELLED


async def test_an_entry_fills_after_its_cancel_was_refused(desk: Desk) -> None:
    placed = await resting(desk)
    desk.venue.will("cancel", (Act.REJECT, "BUSY"))
    await desk.exits.cancel(desk.user_id, placed.order.id)

    await desk.booking.book_fill(desk.venue.execute(await entry_client_id(desk, placed)))

    assert await desk.statuses(placed.trade) == OPEN


async def test_a_cancel_that_was_lost_leaves_the_entry_resting(desk: Desk) -> None:
    placed = await resting(desk)
    desk.venue.will("cancel", Act.LATE)
    await desk.exits.cancel(desk.user_id, placed.order.id)

    await desk.settle()
    before = (await desk.order(placed.order)).status
    await desk.lapse()
    await desk.settle()

    assert (before, (await desk.order(placed.order)).status) == (OrderStatus.PENDING_CANCEL, OrderStatus.PENDING)
    assert (await desk.exits.cancel(desk.user_id, placed.order.id)).status is OrderStatus.CANCELLED


async def test_a_cancel_whose_answer_was_lost_is_found_out(desk: Desk) -> None:
    placed = await resting(desk)
    desk.venue.will("cancel", Act.UNHEARD)
    await desk.exits.cancel(desk.user_id, placed.order.id)

    await desk.settle()

    assert await desk.statuses(placed.trade) == CANCELLED


async def test_a_fill_after_the_cancel_opens_the_trade_with_its_exits_back(desk: Desk) -> None:
    placed = await resting(desk)
    first, second = placed.exits
    await desk.exits.cancel(desk.user_id, placed.order.id)
    client_id, told = await entry_client_id(desk, placed), await desk.told()
    tick = desk.tick("989", "990")
    desk.venue.orders[client_id].outcome = VenueOutcome.RESTING

    await desk.booking.book_fill(desk.venue.execute(client_id))

    assert await desk.statuses(placed.trade) == OPEN
    trade = await desk.trade(placed.trade)
    assert (trade.close_reason, trade.opened_at is not None) == (None, True)
    exits = await desk.orders(placed.trade, OrderRole.EXIT)
    assert {(e.quantity, e.armed_sequence, e.armed_price) for e in exits} == {(trade.size, tick.sequence, tick.mark)}
    # The order engine must not take the cancelled version for the one that is back.
    assert [e.version for e in exits] == [first.version + 1, second.version + 1]
    assert await desk.events(told) == [
        "order.filled",
        "trade.executed",
        "order.updated armed",
        "order.updated armed",
        "position.updated opened",
    ]


async def test_a_part_fill_after_the_cancel_opens_what_filled(desk: Desk) -> None:
    placed = await resting(desk)
    client_id = await entry_client_id(desk, placed)
    await desk.exits.cancel(desk.user_id, placed.order.id)
    desk.venue.execute(client_id, "0.2")
    desk.venue.end(client_id, VenueOutcome.CANCELLED)

    await desk.booking.book(client_id, desk.venue.orders[client_id].result())

    assert (await desk.order(placed.order)).status is OrderStatus.CANCELLED
    status, orders = await desk.statuses(placed.trade)
    assert (status, orders[1:]) == (TradeStatus.OPEN, [OrderStatus.PENDING] * 2)


@pytest.mark.parametrize("is_late", [False, True])
async def test_an_exit_that_its_user_cancelled_stays_cancelled_when_the_entry_fills(desk: Desk, is_late: bool) -> None:
    placed = await resting(desk)
    unwanted, wanted = placed.exits
    await desk.exits.cancel(desk.user_id, unwanted.id)
    client_id = await entry_client_id(desk, placed)
    if is_late:
        await desk.exits.cancel(desk.user_id, placed.order.id)
        desk.venue.orders[client_id].outcome = VenueOutcome.RESTING

    await desk.booking.book_fill(desk.venue.execute(client_id))

    assert (await desk.order(unwanted)).status is OrderStatus.CANCELLED
    assert (await desk.order(wanted)).status is OrderStatus.PENDING


async def test_a_cancelled_entry_cannot_be_cancelled_again(desk: Desk) -> None:
    placed = await resting(desk)
    await desk.exits.cancel(desk.user_id, placed.order.id)

    with pytest.raises(Conflict, match="has ended: it is cancelled, and nothing of it is left to cancel"):
        await desk.exits.cancel(desk.user_id, placed.order.id)


async def test_of_many_cancels_at_once_one_is_sent(desk: Desk) -> None:
    placed = await resting(desk)

    outcomes = await asyncio.gather(
        *(desk.exits.cancel(desk.user_id, placed.order.id) for _ in range(8)), return_exceptions=True
    )

    assert len([outcome for outcome in outcomes if not isinstance(outcome, Conflict)]) == 1
    assert len([call for call in desk.venue.calls if call.startswith("cancel")]) == 1


async def expire_now(desk: Desk, order: Order) -> None:
    async with desk.uow() as work:
        past = datetime.now(UTC) - HOUR
        await work.session.execute(update(Order).where(Order.id == order.id).values(expires_at=past))
    await desk.settlement.expire()


async def test_a_resting_entry_expires(desk: Desk) -> None:
    placed = await resting(desk, expires_at=datetime.now(UTC) + HOUR)
    other = await resting(desk, expires_at=datetime.now(UTC) + HOUR)
    told = await desk.told()

    await expire_now(desk, placed.order)

    assert (await desk.order(placed.order)).status is OrderStatus.EXPIRED
    assert (await desk.trade(placed.trade)).status is TradeStatus.CANCELLED
    assert (await desk.order(other.order)).status is OrderStatus.PENDING
    assert (await desk.events(told))[:2] == ["order.updated pending_cancel", "order.expired expires_at"]


async def test_an_entry_that_expired_before_it_was_sent_is_never_sent(desk: Desk) -> None:
    trade, order, _ = await desk.write(**LIMIT, expires_at=datetime.now(UTC) + HOUR)

    await expire_now(desk, order)
    await desk.settle()

    assert (await desk.order(order)).status is OrderStatus.EXPIRED
    assert ((await desk.trade(trade)).status, desk.venue.calls) == (TradeStatus.CANCELLED, [])


async def test_a_fill_after_the_expiry_opens_the_trade_with_its_exits_back(desk: Desk) -> None:
    placed = await resting(desk, expires_at=datetime.now(UTC) + HOUR)
    await expire_now(desk, placed.order)
    client_id = await entry_client_id(desk, placed)
    desk.venue.orders[client_id].outcome = VenueOutcome.RESTING

    await desk.booking.book_fill(desk.venue.execute(client_id))

    assert await desk.statuses(placed.trade) == OPEN


async def test_an_expiry_that_meets_a_fill_lets_the_fill_stand(desk: Desk) -> None:
    placed = await resting(desk, expires_at=datetime.now(UTC) + HOUR)
    desk.venue.execute(await entry_client_id(desk, placed))

    await expire_now(desk, placed.order)

    assert await desk.statuses(placed.trade) == OPEN
