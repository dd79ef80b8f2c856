"""Trading states: what is refused, cancelled, held and released, and that nothing is sent while trading is halted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, update

from app.domain.enums import OrderStatus, OrderType, StateScope, TradeStatus, TradingState
from app.domain.errors import InvalidRequest, NotFound, Unavailable
from app.domain.order_terms import ExitChanges, ExitTerms
from app.domain.trading import VenueOutcome
from app.domain.trading_state import Subject
from app.models.trading import Order, Trade
from app.services.claim_service import ClaimOutcome
from app.services.resting_cancels import RestingCancels
from app.services.trading_state_service import STATES_TOPIC, TradingStateService
from tests.desks import Desk, held_elsewhere
from tests.factories import open_terms
from tests.fakes import Act
from tests.waiting import until

LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal(990), "stop_price": Decimal(950)}
ACTIVE, REDUCING, HALTED = TradingState
USER = StateScope.USER


def service(desk: Desk) -> TradingStateService:
    cancels = RestingCancels(desk.uow, desk.trading, desk.exits, desk.execution)
    return TradingStateService(desk.uow, cancels, desk.board, desk.container.broadcast, {desk.venue.name})


@pytest_asyncio.fixture
async def states(desk: Desk) -> AsyncIterator[TradingStateService]:
    """The service; whatever a test set is active again after it."""
    states = service(desk)
    yield states
    async with desk.uow() as work:
        for row in await work.trading_states.restricted():
            await work.trading_states.set_state(row.scope, row.key, ACTIVE, "the test is over", "test")


async def put(states: TradingStateService, desk: Desk, state: TradingState) -> None:
    await states.set_state(USER, str(desk.user_id), state, "a drill", "user 1")


async def resting(desk: Desk, **values: Any) -> Any:
    desk.venue.will("open", Act.REST)
    return await desk.open(**(LIMIT | values))


def scoped(desk: Desk) -> dict[StateScope, str]:
    return {
        StateScope.GLOBAL: "all",
        StateScope.VENUE: desk.venue.name,
        StateScope.PAIR: str(desk.pair.id),
        USER: str(desk.user_id),
    }


@pytest.mark.parametrize("scope", StateScope)
@pytest.mark.parametrize("state", [REDUCING, HALTED])
async def test_new_entries_are_refused_in_every_scope(
    desk: Desk, states: TradingStateService, scope: StateScope, state: TradingState
) -> None:
    await states.set_state(scope, scoped(desk)[scope], state, "a drill", "user 1")

    with pytest.raises(Unavailable) as refused:
        await desk.open()
    seen = await desk.trading.preview(desk.trader, open_terms())

    assert refused.value.code == "TRADING_HALTED"
    assert refused.value.details == {"state": state, "scope": scope, "key": scoped(desk)[scope], "reason": "a drill"}
    assert [refusal.code for refusal in seen.refusals] == ["TRADING_HALTED"]
    assert desk.venue.calls == []
    await states.set_state(scope, scoped(desk)[scope], ACTIVE, "it is over", "user 1")
    assert (await desk.open()).trade.status is TradeStatus.OPEN


async def test_reducing_lets_exits_closes_and_cancels_through(desk: Desk, states: TradingStateService) -> None:
    first, second = await desk.open(stop_price=Decimal(950)), await desk.open()
    entry = await resting(desk)
    await put(states, desk, REDUCING)

    assert (await desk.fire(first.exits[0])).outcome is ClaimOutcome.WON
    assert (await desk.close(second.trade)).trade.status is TradeStatus.CLOSED
    assert (await desk.exits.cancel(desk.user_id, entry.order.id)).status is OrderStatus.CANCELLED
    assert (await desk.trade(first.trade)).status is TradeStatus.CLOSED


async def test_reducing_cancels_what_rests_at_the_venue(desk: Desk, states: TradingStateService) -> None:
    held, entries = await desk.open(stop_price=Decimal(950)), [await resting(desk) for _ in range(3)]
    unsent, _, _ = await desk.write(**LIMIT)
    await put(states, desk, REDUCING)
    told = await desk.told()

    assert await states.enforce() == 4
    assert await states.enforce() == 0
    await until(lambda: desk.execution.is_idle)

    for entry in entries:
        order = await desk.order(entry.order)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, "reducing")
    assert await desk.statuses(unsent) == (TradeStatus.CANCELLED, [OrderStatus.CANCELLED] * 2)
    assert await desk.statuses(held.trade) == (TradeStatus.OPEN, [OrderStatus.FILLED, OrderStatus.PENDING])
    assert (await desk.events(told)).count("order.cancelled reducing") == 4


async def test_an_entry_that_is_on_its_way_is_cancelled_once_it_rests(desk: Desk, states: TradingStateService) -> None:
    desk.venue.will("open", Act.ACCEPT)
    placed = await desk.open_unsettled(**LIMIT)
    assert placed.order.status is OrderStatus.SUBMITTED
    await put(states, desk, REDUCING)
    assert await states.enforce() == 0

    (order,) = desk.venue.orders.values()
    order.outcome = VenueOutcome.RESTING
    await desk.settle()
    assert await states.enforce() == 1
    await until(lambda: desk.execution.is_idle)

    assert (await desk.order(placed.order)).status is OrderStatus.CANCELLED


async def test_halted_refuses_everything_that_would_be_sent(desk: Desk, states: TradingStateService) -> None:
    held, entry = await desk.open(stop_price=Decimal(950)), await resting(desk)
    await put(states, desk, HALTED)
    calls, told = list(desk.venue.calls), await desk.told()

    for request in (
        desk.open(),
        desk.close(held.trade),
        desk.close(entry.trade),
        desk.exits.cancel(desk.user_id, entry.order.id),
        desk.exits.cancel(desk.user_id, held.exits[0].id),
    ):
        with pytest.raises(Unavailable) as refused:
            await request
        assert refused.value.code == "TRADING_HALTED"
    assert await states.enforce() == 0

    assert (desk.venue.calls, await desk.told()) == (calls, told)


async def test_an_entry_that_expires_while_halted_is_cancelled_after_it(
    desk: Desk, states: TradingStateService
) -> None:
    placed = await resting(desk, expires_at=datetime.now(UTC) + timedelta(hours=1))
    async with desk.uow() as work:
        expired = update(Order).where(Order.id == placed.order.id).values(expires_at=func.clock_timestamp())
        await work.session.execute(expired)
    await put(states, desk, HALTED)
    told = await desk.told()

    for _ in range(2):
        await desk.settlement.expire()

    assert (await desk.events(told), len(await desk.intents(placed.trade))) == ([], 1)
    await put(states, desk, ACTIVE)
    await desk.settlement.expire()
    assert (await desk.order(placed.order)).status is OrderStatus.EXPIRED


async def test_exits_are_attached_and_amended_while_halted(desk: Desk, states: TradingStateService) -> None:
    opened = await desk.open(stop_price=Decimal(950))
    await put(states, desk, HALTED)

    attached = await desk.attach(
        opened.trade, ExitTerms(order_type=OrderType.TAKE_PROFIT, take_profit_price=Decimal(1100))
    )
    amended = await desk.exits.amend(desk.user_id, opened.exits[0].id, ExitChanges(stop_price=Decimal(960)))

    assert (attached.status, amended.stop_price) == (OrderStatus.PENDING, Decimal(960))


async def test_a_crossing_is_held_while_halted_and_decided_anew_after_it(
    desk: Desk, states: TradingStateService
) -> None:
    opened = await desk.open(stop_price=Decimal(950))
    crossed = desk.crossed(opened.exits[0])
    await put(states, desk, HALTED)
    told = await desk.told()

    (claim,) = await desk.claim(crossed)

    held = await desk.order(opened.exits[0])
    assert (claim.outcome, claim.intent_id) == (ClaimOutcome.HELD, None)
    assert (held.status, held.latched_sequence, held.triggered_leg) == (OrderStatus.PENDING, None, None)
    assert held.held_since is not None
    assert (held.released_sequence, held.version) == (crossed.crossing.sequence, crossed.crossing.version + 1)
    assert (await desk.trade(opened.trade)).status is TradeStatus.OPEN
    assert await desk.events(told) == ["order.updated held"]
    assert await states.release_held() == 0

    await put(states, desk, ACTIVE)
    tick = desk.tick("999.50", "1000.50")
    assert await states.release_held() == 1
    assert await states.release_held() == 0

    free = await desk.order(opened.exits[0])
    assert (free.held_since, free.version, free.status) == (None, held.version, OrderStatus.PENDING)
    assert free.released_sequence == max(tick.sequence, held.released_sequence or 0)
    assert await desk.events(told) == ["order.updated held", "order.updated released"]
    assert (await desk.fire(free)).outcome is ClaimOutcome.WON


async def test_a_held_exit_that_is_locked_keeps_no_other_from_its_release(
    desk: Desk, states: TradingStateService
) -> None:
    trades = [await desk.open(stop_price=Decimal(950)) for _ in range(2)]
    locked, free = (trade.exits[0] for trade in trades)
    await put(states, desk, HALTED)
    for order in (locked, free):
        await desk.claim(desk.crossed(order))
    await put(states, desk, ACTIVE)

    async with desk.uow() as work:
        await work.orders.locked([locked.id])
        assert await states.release_held() == 1
        assert (await desk.order(free)).held_since is None
    assert await states.release_held() == 1

    assert (await desk.order(locked)).held_since is None


async def test_neither_a_locked_entry_nor_a_silent_venue_holds_up_the_other_cancels(
    desk: Desk, states: TradingStateService
) -> None:
    # As a process has them: a lock is waited for no longer than its limit.
    process = desk.beside(desk.container.uow)
    locked, *others = [await resting(desk) for _ in range(3)]
    desk.venue.will("cancel", Act.HANG)
    await put(states, desk, REDUCING)

    async with held_elsewhere(desk, lambda work: work.trades.locked([locked.trade.id])):
        assert await service(process).enforce() == 2
    await until(lambda: cancelled(desk) == 1)
    assert await service(process).enforce() == 1
    await until(lambda: cancelled(desk) == 2)

    desk.venue.gate.set()
    await until(lambda: process.execution.is_idle)
    assert [(await desk.order(entry.order)).status for entry in (locked, *others)] == [OrderStatus.CANCELLED] * 3


def cancelled(desk: Desk) -> int:
    """How many orders the venue has cancelled."""
    return sum(order.outcome is VenueOutcome.CANCELLED for order in desk.venue.orders.values())


async def test_a_latched_exit_is_let_go_by_its_next_claim(desk: Desk, states: TradingStateService) -> None:
    opened = await desk.open(stop_price=Decimal(950))
    desk.venue.will("close", (Act.REJECT, "VENUE_BUSY"))
    await desk.fire(opened.exits[0])
    latched = await desk.order(opened.exits[0])
    assert latched.latched_sequence is not None
    await put(states, desk, HALTED)

    (claim,) = await desk.claim(desk.crossed(latched))

    held = await desk.order(latched)
    assert (claim.outcome, held.latched_sequence) == (ClaimOutcome.HELD, None)
    assert held.held_since is not None


async def test_an_amended_exit_is_no_longer_held(desk: Desk, states: TradingStateService) -> None:
    opened = await desk.open(stop_price=Decimal(950))
    await put(states, desk, HALTED)
    await desk.claim(desk.crossed(opened.exits[0]))

    amended = await desk.exits.amend(desk.user_id, opened.exits[0].id, ExitChanges(stop_price=Decimal(940)))

    assert (amended.held_since, amended.released_sequence) == (None, None)


async def test_what_was_written_before_a_halt_is_refused_unsent(desk: Desk, states: TradingStateService) -> None:
    """A request that committed its intent a moment before the halt, and an exit that had been claimed."""
    first, second = await desk.open(stop_price=Decimal(950)), await desk.open()
    asked, _, opening = await desk.write()
    (claim,) = await desk.claim(desk.crossed(first.exits[0]))
    close, closing = await desk.write_close(second.trade)
    calls = list(desk.venue.calls)
    await put(states, desk, HALTED)

    assert claim.intent_id is not None
    await desk.execution.send([opening.id, claim.intent_id, closing.id])

    assert desk.venue.calls == calls
    assert await desk.statuses(asked) == (TradeStatus.FAILED, [OrderStatus.REJECTED])
    exit_order = await desk.order(first.exits[0])
    assert (exit_order.status, exit_order.latched_sequence) == (OrderStatus.PENDING, None)
    assert exit_order.held_since is not None
    refused = await desk.order(close)
    assert (refused.status, refused.reason) == (OrderStatus.REJECTED, "TRADING_HALTED")
    for opened in (first, second):
        assert (await desk.trade(opened.trade)).status is TradeStatus.OPEN


async def test_an_opening_written_before_reducing_is_refused_unsent_and_a_close_is_sent(
    desk: Desk, states: TradingStateService
) -> None:
    opened = await desk.open()
    asked, _, opening = await desk.write()
    _, closing = await desk.write_close(opened.trade)
    await put(states, desk, REDUCING)

    await desk.execution.send([opening.id, closing.id])

    assert (await desk.trade(asked)).status is TradeStatus.FAILED
    assert (await desk.trade(opened.trade)).status is TradeStatus.CLOSED


async def test_of_openings_and_a_halt_at_once_none_is_sent_after_it(desk: Desk, states: TradingStateService) -> None:
    opens = [asyncio.create_task(desk.open()) for _ in range(6)]
    await put(states, desk, HALTED)
    # Whoever is taking one for sending, and may have looked before the halt was committed, holds its trade.
    async with desk.uow() as work:
        trades = await work.trades.of_user(desk.user_id, statuses=None, before=None, limit=100)
        await work.trades.locked(sorted(trade.id for trade in trades))
        before = await sent_of(desk, trades)
    await asyncio.gather(*opens, return_exceptions=True)
    await until(lambda: desk.execution.is_idle)

    async with desk.uow() as work:
        trades = await work.trades.of_user(desk.user_id, statuses=None, before=None, limit=100)
    assert await sent_of(desk, trades) == before


async def sent_of(desk: Desk, trades: Sequence[Trade]) -> set[int]:
    """The intents of trades that were taken for sending."""
    return {intent.id for trade in trades for intent in await desk.intents(trade) if intent.sent_at is not None}


async def test_every_change_is_audited(desk: Desk, states: TradingStateService) -> None:
    key = str(desk.user_id)
    await states.set_state(USER, key, REDUCING, "first", "user 1")
    await states.set_state(USER, key, HALTED, "then", "console")

    async with desk.uow() as work:
        changes = [change for change in await work.trading_states.changes(before=None, limit=100) if change.key == key]
        (row,) = [row for row in await work.trading_states.all() if row.key == key]
    told = [(c.scope, c.old_state, c.new_state, c.reason, c.changed_by) for c in changes]
    assert told == [(USER, REDUCING, HALTED, "then", "console"), (USER, ACTIVE, REDUCING, "first", "user 1")]
    assert (row.state, row.reason, row.changed_by) == (HALTED, "then", "console")


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        (StateScope.GLOBAL, "everything"),
        (StateScope.VENUE, "nowhere"),
        (StateScope.PAIR, "999999999"),
        (USER, "999999999"),
    ],
)
async def test_a_state_of_nothing_is_refused(states: TradingStateService, scope: StateScope, key: str) -> None:
    with pytest.raises(NotFound):
        await states.set_state(scope, key, HALTED, "a drill", "user 1")


@pytest.mark.parametrize("key", ["BTCUSDT", "01", "-1", "0", "1" * 19])
async def test_the_key_of_a_pair_is_its_id_in_its_one_spelling(states: TradingStateService, key: str) -> None:
    with pytest.raises(InvalidRequest):
        await states.set_state(StateScope.PAIR, key, HALTED, "a drill", "user 1")


async def test_memory_follows_what_others_set(desk: Desk, states: TradingStateService) -> None:
    other, subject = service(desk), Subject(desk.user_id, desk.pair.id, desk.venue.name)
    release = asyncio.create_task(states.release())

    await put(other, desk, HALTED)
    await until(lambda: states.ruling(subject).state is HALTED)
    await put(other, desk, ACTIVE)
    await until(lambda: states.ruling(subject).state is ACTIVE)

    release.cancel()
    await asyncio.gather(release, return_exceptions=True)


async def test_a_change_wakes_whoever_waits_for_one(desk: Desk, states: TradingStateService) -> None:
    change = states.next_change
    desk.container.broadcast.publish(STATES_TOPIC, b"")
    await until(change.is_set)
    assert not states.next_change.is_set()
