"""A process dies between any two steps, another takes over: each effect is sent once, and its outcome is found out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.bootstrap import Container
from app.core.metrics import INTENTS_UNKNOWN, SETTLEMENT_PROBLEMS
from app.domain.enums import IntentStatus, OrderRole, OrderStatus, OrderType, TradeStatus
from app.domain.errors import ProviderTimeout
from app.domain.trading import VenueOutcome, VenueRef
from app.models.trading import Intent, Trade
from app.services.booking_service import settled_topic
from app.services.claim_service import ClaimOutcome
from app.services.execution_service import CHECK_AFTER, NOT_AFTER, ExecutionService
from app.services.settlement_service import REVIEW_AFTER, UNKNOWN_AFTER, SettlementService
from tests.desks import Desk
from tests.fakes import Act
from tests.waiting import until

STOP: dict[str, Any] = {"stop_price": Decimal(950)}
OPEN = (TradeStatus.OPEN, [OrderStatus.FILLED, OrderStatus.PENDING])
HOUR = timedelta(hours=1)


async def take(desk: Desk, intent: Intent) -> None:
    """Take an intent for sending as a process does that dies before it calls the venue."""
    async with desk.uow() as work:
        assert (await desk.execution._take(work, intent.id)).intent is not None


async def test_what_was_written_and_not_sent_is_sent(desk: Desk) -> None:
    trade, _, _ = await desk.write(**STOP)
    written = await desk.statuses(trade)

    await desk.settle()

    assert written == (TradeStatus.PENDING, [OrderStatus.PENDING, OrderStatus.WAITING])
    assert await desk.statuses(trade) == OPEN


async def test_what_was_just_written_is_left_to_its_request(desk: Desk) -> None:
    trade, _, intent = await desk.write(**STOP)

    async with desk.uow() as work:
        due = await work.intents.due([IntentStatus.NEW], 1000)

    assert intent.id not in {row.id for row in due}
    assert (await desk.trade(trade)).status is TradeStatus.PENDING


async def test_what_was_taken_and_never_reached_the_venue_fails_once_it_cannot_arrive_any_more(desk: Desk) -> None:
    trade, order, intent = await desk.write(**STOP)
    await take(desk, intent)

    await desk.settle()
    before = await desk.statuses(trade)
    await desk.lapse()
    await desk.settle()

    assert before == (TradeStatus.SUBMITTED, [OrderStatus.SUBMITTED, OrderStatus.WAITING])
    assert await desk.statuses(trade) == (TradeStatus.FAILED, [OrderStatus.REJECTED, OrderStatus.CANCELLED])
    assert ((await desk.order(order)).reason, desk.venue.calls) == ("NOT_RECEIVED", [])


async def test_what_was_executed_and_not_booked_is_booked(desk: Desk) -> None:
    desk.venue.will("open", Act.UNHEARD)
    placed = await desk.open(**STOP)

    await desk.settle()

    assert (placed.order.status, await desk.statuses(placed.trade)) == (OrderStatus.UNKNOWN, OPEN)
    order = await desk.order(placed.order)
    assert (order.unknown_since, order.transaction_hash is not None) == (None, True)
    assert len(desk.venue.calls) == 1


async def test_an_order_that_arrives_late_is_booked_whenever_it_arrives(desk: Desk) -> None:
    desk.venue.will("open", Act.LATE)
    placed = await desk.open(**STOP)
    await desk.settle()
    unknown = (await desk.order(placed.order)).status

    desk.venue.arrive((await desk.intents(placed.trade))[0].id)
    await desk.settle()

    assert (unknown, await desk.statuses(placed.trade)) == (OrderStatus.UNKNOWN, OPEN)


async def test_not_found_proves_nothing_when_the_deadline_passed_only_after_the_question(desk: Desk) -> None:
    """The venue knew nothing, then the order arrived in time, then the deadline passed: it must not be refused."""
    desk.venue.will("open", Act.LATE)
    placed = await desk.open(**STOP)
    client_id = (await desk.intents(placed.trade))[0].id

    async def arrive_at_the_last_moment() -> None:
        desk.venue.after_query = None
        desk.venue.arrive(client_id)
        await desk.lapse()

    desk.venue.after_query = arrive_at_the_last_moment
    await desk.settle()
    await desk.settle()

    assert await desk.statuses(placed.trade) == OPEN


async def test_a_refusal_that_was_not_heard_is_found_out(desk: Desk) -> None:
    desk.venue.will("open", Act.ACCEPT)
    placed = await desk.open_unsettled(**STOP)
    desk.venue.end((await desk.intents(placed.trade))[0].id, VenueOutcome.REJECTED, "INSUFFICIENT_BALANCE")

    await desk.settle()

    assert await desk.statuses(placed.trade) == (TradeStatus.FAILED, [OrderStatus.REJECTED, OrderStatus.CANCELLED])


async def test_a_close_that_was_written_and_not_sent_is_sent(desk: Desk) -> None:
    trade = (await desk.open(**STOP)).trade
    order, _ = await desk.write_close(trade)
    written = (await desk.trade(trade)).status

    await desk.settle()

    assert (written, (await desk.trade(trade)).status) == (TradeStatus.CLOSING, TradeStatus.CLOSED)
    assert (await desk.order(order)).status is OrderStatus.FILLED


async def test_a_claim_that_was_committed_and_not_sent_is_sent(desk: Desk) -> None:
    trade = (await desk.open(**STOP)).trade
    (stop,) = await desk.orders(trade, OrderRole.EXIT)
    (claim,) = await desk.claim(desk.crossed(stop))

    await desk.settle()

    assert claim.outcome is ClaimOutcome.WON
    assert (await desk.trade(trade)).status is TradeStatus.CLOSED
    assert (await desk.order(stop)).status is OrderStatus.FILLED


async def test_a_protective_close_that_never_arrived_is_claimed_again(desk: Desk) -> None:
    trade = (await desk.open(**STOP)).trade
    (stop,) = await desk.orders(trade, OrderRole.EXIT)
    desk.venue.will("close", Act.LATE)
    await desk.fire(stop)
    await desk.lapse()

    await desk.settle()

    row = await desk.order(stop)
    assert (row.status, row.attempt, row.unknown_since) == (OrderStatus.PENDING, 1, None)
    assert row.latched_sequence == row.trigger_sequence
    assert (await desk.trade(trade)).status is TradeStatus.OPEN


async def test_many_processes_settle_at_once_and_each_effect_happens_once(desk: Desk) -> None:
    written = [await desk.write(**STOP) for _ in range(8)]
    await desk.set_due()

    await asyncio.gather(
        *(desk.settlement.settle() for _ in range(5)), *(desk.execution.send([i.id]) for _, _, i in written)
    )

    # The venue itself fails the test on a second execution.
    assert len(desk.venue.orders) == 8
    assert {(await desk.trade(trade)).status for trade, _, _ in written} == {TradeStatus.OPEN}


async def test_a_resting_order_is_looked_after_and_its_fill_found(desk: Desk) -> None:
    desk.venue.will("open", Act.REST)
    placed = await desk.open(**STOP, order_type=OrderType.LIMIT, price=Decimal(990))
    desk.venue.execute((await desk.intents(placed.trade))[0].id)

    await desk.settle()

    assert await desk.statuses(placed.trade) == OPEN


async def test_a_resting_order_is_known_after_its_deadline(desk: Desk) -> None:
    desk.venue.will("open", Act.REST)
    placed = await desk.open(order_type=OrderType.LIMIT, price=Decimal(990))
    await desk.lapse()

    await desk.settle()

    assert (await desk.order(placed.order)).status is OrderStatus.PENDING


async def test_a_venue_that_does_not_tell_is_asked_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.venue.will("open", Act.UNHEARD)
    placed = await desk.open(**STOP)
    other = await desk.write(**STOP)

    async def silent(ref: VenueRef, client_id: int) -> None:
        raise ProviderTimeout

    monkeypatch.setattr(desk.venue, "query", silent)
    await desk.lapse()
    await desk.settle()
    unknown = (await desk.order(placed.order)).status
    monkeypatch.undo()
    await desk.settle()

    assert unknown is OrderStatus.UNKNOWN
    assert await desk.statuses(placed.trade) == OPEN
    assert await desk.statuses(other[0]) == OPEN


async def test_what_cannot_be_booked_is_flagged_and_holds_nothing_else_up(desk: Desk) -> None:
    """The venue contradicts itself: it refused the order, and now it says that it was filled."""
    desk.venue.will("open", (Act.REJECT, "BUSY"))
    contradicted = await desk.open()
    client_id = (await desk.intents(contradicted.trade))[0].id
    async with desk.uow() as work:
        again = update(Intent).where(Intent.id == client_id).values(status=IntentStatus.SENT, not_after=func.now())
        await work.session.execute(again)
    desk.venue.execute(client_id)
    other, _, _ = await desk.write(**STOP)
    desk.venue.will("open", Act.UNHEARD)
    unheard = await desk.open(**STOP)

    await desk.settle()

    assert (await desk.order(contradicted.order)).needs_review
    assert await desk.statuses(other) == OPEN
    assert await desk.statuses(unheard.trade) == OPEN
    # What it executed is not in our books, which is what the flag says.
    desk.venue.fills = [fill for fill in desk.venue.fills if fill.client_id != client_id]
    desk.venue.positions = {i: p for i, p in desk.venue.positions.items() if i != desk.venue.orders[client_id].index}


async def test_what_stays_unknown_for_long_is_flagged_and_stays_unknown(desk: Desk) -> None:
    desk.venue.will("open", Act.ACCEPT)
    placed = await desk.open_unsettled()
    async with desk.uow() as work:
        long_ago = func.clock_timestamp() - (REVIEW_AFTER + timedelta(seconds=1))
        await work.session.execute(update(Intent).where(Intent.order_id == placed.order.id).values(sent_at=long_ago))

    await desk.settle()

    order = await desk.order(placed.order)
    assert (order.needs_review, order.status) == (True, OrderStatus.SUBMITTED)


async def test_an_order_is_not_sent_after_its_valid_until(desk: Desk) -> None:
    trade, order, _ = await desk.write(**STOP, valid_until=datetime.now(UTC) + HOUR)
    async with desk.uow() as work:
        past = datetime.now(UTC) - HOUR
        await work.session.execute(update(Intent).where(Intent.order_id == order.id).values(not_after=past))

    await desk.settle()
    await desk.settle()

    assert await desk.statuses(trade) == (TradeStatus.FAILED, [OrderStatus.REJECTED, OrderStatus.CANCELLED])
    assert (await desk.order(order)).reason == "EXPIRED_REQUEST"


async def test_a_venue_is_told_the_earlier_of_both_deadlines(desk: Desk) -> None:
    soon = datetime.now(UTC) + NOT_AFTER / 2
    placed = [await desk.open(valid_until=soon), await desk.open(valid_until=soon + HOUR), await desk.open()]

    sent = [(await desk.intents(each.trade))[0] for each in placed]

    assert sent[0].not_after == soon
    for intent in sent[1:]:
        assert intent.not_after is not None
        assert intent.sent_at is not None
        # Both by the clock of the database, read twice.
        assert NOT_AFTER <= intent.not_after - intent.sent_at < NOT_AFTER + timedelta(seconds=1)
    assert CHECK_AFTER < NOT_AFTER


async def test_reconciling_finds_a_liquidation_that_nobody_told(desk: Desk) -> None:
    trade = (await desk.open(**STOP)).trade
    desk.venue.liquidate(trade.venue_trade_index or "")

    differed = await desk.settlement.reconcile(desk.venue.name)

    assert differed >= 1
    assert await desk.statuses(trade) == (TradeStatus.LIQUIDATED, [OrderStatus.FILLED, OrderStatus.CANCELLED])


async def test_reconciling_finds_a_close_that_nobody_booked(desk: Desk) -> None:
    trade = (await desk.open(**STOP)).trade
    desk.venue.will("close", Act.UNHEARD)
    await desk.close(trade)

    await desk.settlement.reconcile(desk.venue.name)

    assert (await desk.trade(trade)).status is TradeStatus.CLOSED


async def test_reconciling_while_all_agrees_changes_nothing(desk: Desk) -> None:
    trade = (await desk.open(**STOP)).trade
    told = await desk.told()

    await desk.settlement.reconcile(desk.venue.name)

    assert (await desk.events(told), (await desk.trade(trade)).status) == ([], TradeStatus.OPEN)


async def test_reconciling_twice_at_once_books_once(desk: Desk) -> None:
    trade = (await desk.open(**STOP)).trade
    desk.venue.liquidate(trade.venue_trade_index or "")
    told = await desk.told()

    await asyncio.gather(*(desk.settlement.reconcile(desk.venue.name) for _ in range(5)))

    assert (await desk.events(told)).count("trade.liquidated liquidated") == 1


async def test_a_row_that_another_holds_is_left_to_the_next_pass_and_holds_up_nobody(
    desk: Desk, container: Container
) -> None:
    held, other = await desk.write(**STOP), await desk.write(**STOP)
    desk.venue.will("open", Act.UNHEARD)
    unheard = await desk.open(**STOP)
    impatient = SettlementService(
        container.uow, desk.execution, desk.booking, desk.trading, desk.venues, desk.directory, container.clock
    )
    await desk.set_due()
    before = SETTLEMENT_PROBLEMS.labels("locked")._value.get()

    is_held, may_go = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with desk.uow() as work:
            await work.session.execute(select(Intent).where(Intent.order_id == unheard.order.id).with_for_update())
            is_held.set()
            await may_go.wait()

    holding = asyncio.create_task(hold())
    await is_held.wait()
    await impatient.settle()
    may_go.set()
    await holding

    assert SETTLEMENT_PROBLEMS.labels("locked")._value.get() == before + 1
    assert [await desk.statuses(each[0]) for each in (held, other)] == [OPEN, OPEN]
    await desk.settle()
    assert await desk.statuses(unheard.trade) == OPEN


async def test_what_the_database_refuses_is_flagged_and_holds_nothing_else_up(desk: Desk) -> None:
    """The venue says that it closed more than there was."""
    trade = (await desk.open(**STOP)).trade
    desk.venue.will("close", Act.ACCEPT)
    placed = await desk.close_unsettled(trade)
    client_id = (await desk.intents(trade))[-1].id
    fill = desk.venue.execute(client_id)
    desk.venue.orders[client_id].fills = [replace(fill, quantity=fill.quantity * 2)]
    other, _, _ = await desk.write(**STOP)

    await desk.set_due()
    await desk.settlement.run(desk.venue.name, reconciles=True)

    assert (await desk.order(placed.order)).needs_review
    assert await desk.statuses(other) == OPEN
    desk.venue.orders[client_id].fills = [fill]
    await desk.settle()
    assert (await desk.trade(trade)).status is TradeStatus.CLOSED


async def test_a_slow_answer_holds_up_no_other_question(desk: Desk) -> None:
    desk.venue.will("open", Act.UNHEARD, Act.UNHEARD)
    slow, quick = await desk.open(**STOP), await desk.open(**STOP)
    gate = asyncio.Event()
    first = iter([True])

    async def hold_up_the_first() -> None:
        if next(first, False):
            await gate.wait()

    desk.venue.after_query = hold_up_the_first
    is_booked = asyncio.Event()
    for each in (slow, quick):
        desk.container.broadcast.subscribe(settled_topic(each.order.id), lambda _: is_booked.set())
    settling = asyncio.create_task(desk.settle())
    await is_booked.wait()
    is_waiting = not settling.done()
    gate.set()
    await settling

    assert is_waiting
    assert [await desk.statuses(each.trade) for each in (slow, quick)] == [OPEN, OPEN]


async def test_what_is_unknown_for_over_a_minute_is_counted(desk: Desk) -> None:
    desk.venue.will("open", Act.ACCEPT)
    placed = await desk.open_unsettled()
    async with desk.uow() as work:
        before = await work.intents.unknown_for(UNKNOWN_AFTER)
        ago = func.clock_timestamp() - (UNKNOWN_AFTER + timedelta(seconds=1))
        await work.session.execute(update(Intent).where(Intent.order_id == placed.order.id).values(sent_at=ago))

    await desk.settle()

    assert INTENTS_UNKNOWN._value.get() == len(before) + 1
    desk.venue.end((await desk.intents(placed.trade))[0].id, VenueOutcome.REJECTED, "BUSY")
    await desk.settle()
    await desk.settle()
    assert INTENTS_UNKNOWN._value.get() == len(before)


async def test_passes_run_whatever_the_others_met(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    trade = (await desk.open(**STOP)).trade
    desk.venue.liquidate(trade.venue_trade_index or "")

    async def broken() -> int:
        raise RuntimeError("broken")

    monkeypatch.setattr(desk.settlement, "settle", broken)
    with pytest.raises(RuntimeError, match="broken"):
        await desk.settlement.run(desk.venue.name, reconciles=True)

    assert (await desk.trade(trade)).status is TradeStatus.LIQUIDATED


async def test_a_part_that_nobody_told_of_is_asked_for_when_the_last_one_is_told(desk: Desk) -> None:
    desk.venue.will("open", Act.REST)
    placed = await desk.open(**STOP, order_type=OrderType.LIMIT, price=Decimal(1000))
    client_id = (await desk.intents(placed.trade))[0].id
    desk.venue.execute(client_id, "0.4")

    await desk.booking.book_fill(desk.venue.execute(client_id))
    part = await desk.order(placed.order)
    await desk.settlement.settle()

    assert (part.status, part.filled_quantity) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.6"))
    assert (await desk.trade(placed.trade)).size == Decimal(1)
    assert (await desk.order(placed.order)).status is OrderStatus.FILLED


async def test_of_several_one_whose_rows_are_held_for_a_moment_is_sent_when_they_are_free(desk: Desk) -> None:
    (held, _, first), (other, _, second) = await desk.write(**STOP), await desk.write(**STOP)

    async with held_rows(desk, held):
        sending = asyncio.create_task(desk.execution.send([first.id, second.id]))
        await until(lambda: stands(desk, other, OPEN))
        before = await desk.statuses(held)
    await sending

    assert before == (TradeStatus.PENDING, [OrderStatus.PENDING, OrderStatus.WAITING])
    assert await desk.statuses(held) == OPEN


async def test_of_several_one_whose_rows_stay_held_is_left_to_settlement(desk: Desk, container: Container) -> None:
    (held, _, first), (other, _, second) = await desk.write(**STOP), await desk.write(**STOP)
    impatient = ExecutionService(container.uow, desk.venues, desk.directory, desk.booking, container.clock)

    async with held_rows(desk, held):
        await impatient.send([first.id, second.id])
        before = await desk.statuses(held)
    await desk.settle()

    assert before == (TradeStatus.PENDING, [OrderStatus.PENDING, OrderStatus.WAITING])
    assert [await desk.statuses(trade) for trade in (held, other)] == [OPEN, OPEN]


@asynccontextmanager
async def held_rows(desk: Desk, trade: Trade) -> AsyncIterator[None]:
    """Another transaction holds a trade."""
    is_held, may_go = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with desk.uow() as work:
            await work.trades.locked([trade.id])
            is_held.set()
            await may_go.wait()

    holding = asyncio.create_task(hold())
    await is_held.wait()
    yield
    may_go.set()
    await holding


async def stands(desk: Desk, trade: Trade, expected: object) -> bool:
    return await desk.statuses(trade) == expected
