"""Dead man's switches: armed, pushed back, disarmed, fired once, and carried through after a crash."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, text, update

from app.domain.enums import OrderStatus, OrderType, StateScope, SwitchScope, TradeStatus, TradingState
from app.models.control import DeadManSwitch
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.dead_man_switch_service import DeadManSwitchService
from app.services.resting_cancels import Cancelling, Pages, RestingCancels
from tests.desks import Desk, held_elsewhere
from tests.factories import create_person, open_terms
from tests.fakes import Act
from tests.logs import heard
from tests.waiting import until

LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal(990), "stop_price": Decimal(950)}
ENTRIES, ALL = SwitchScope


@pytest.fixture
def switches(desk: Desk) -> DeadManSwitchService:
    return DeadManSwitchService(desk.uow, RestingCancels(desk.uow, desk.trading, desk.exits, desk.execution))


async def resting(desk: Desk, **values: Any) -> Any:
    desk.venue.will("open", Act.REST)
    return await desk.open(**(LIMIT | values))


def last_for(uow: UnitOfWorkFactory, times: int) -> UnitOfWorkFactory:
    """Units of work of a process that dies after so many."""
    left = iter(range(times))

    def make() -> UnitOfWork:
        if next(left, None) is None:
            raise ConnectionError("killed")
        return uow()

    return make


async def come_due(desk: Desk) -> None:
    """Let the time of the desk's switch come, armed or interrupted."""
    async with desk.uow() as work:
        mine = update(DeadManSwitch).where(DeadManSwitch.user_id == desk.user_id)
        now = func.clock_timestamp()
        await work.session.execute(mine.where(DeadManSwitch.fires_at.is_not(None)).values(fires_at=now))
        await work.session.execute(mine.values(next_run_at=now - text("interval '1 ms'")))


async def test_it_fires_when_nobody_reports(desk: Desk, switches: DeadManSwitchService) -> None:
    entries = [await resting(desk) for _ in range(3)]
    held = await desk.open(stop_price=Decimal(950))
    await switches.arm(desk.user_id, 60, ENTRIES)
    assert await switches.fire_due() == 0
    told = await desk.told()

    await come_due(desk)
    assert await switches.fire_due() == 1
    assert await switches.fire_due() == 0

    for entry in entries:
        order = await desk.order(entry.order)
        assert (order.status, order.reason) == (OrderStatus.CANCELLED, "cancel_all_after")
    assert await desk.statuses(held.trade) == (TradeStatus.OPEN, [OrderStatus.FILLED, OrderStatus.PENDING])
    assert (await desk.events(told)).count("order.cancelled cancel_all_after") == 3
    assert await switches.of_user(desk.user_id) is None


async def test_with_scope_all_exits_go_too(desk: Desk, switches: DeadManSwitchService) -> None:
    held = await desk.open(stop_price=Decimal(950), take_profit_price=Decimal(1100))
    entry = await resting(desk)
    await switches.arm(desk.user_id, 60, ALL)
    told = await desk.told()

    await come_due(desk)
    await switches.fire_due()

    exits = [OrderStatus.CANCELLED] * 2
    assert await desk.statuses(held.trade) == (TradeStatus.OPEN, [OrderStatus.FILLED, *exits])
    assert (await desk.trade(entry.trade)).status is TradeStatus.CANCELLED
    # The entry's own exit is taken like the others, or ends with the entry where the venue was faster.
    cancelled = [event for event in await desk.events(told) if event.startswith("order.cancelled ")]
    assert len(cancelled) == 4
    assert cancelled.count("order.cancelled cancel_all_after") + cancelled.count("order.cancelled entry_cancelled") == 4
    assert cancelled.count("order.cancelled cancel_all_after") >= 3
    assert await switches.of_user(desk.user_id) is None


async def test_a_report_pushes_it_back_and_zero_disarms(desk: Desk, switches: DeadManSwitchService) -> None:
    entry = await resting(desk)
    first = await switches.arm(desk.user_id, 1, ENTRIES)
    second = await switches.arm(desk.user_id, 3600, ALL)
    assert first is not None
    assert second is not None
    assert second.scope is ALL
    assert first.fires_at is not None
    assert second.fires_at is not None
    assert second.fires_at - first.fires_at > timedelta(seconds=3500)

    assert await switches.arm(desk.user_id, 0, ENTRIES) is None
    assert await switches.of_user(desk.user_id) is None
    assert await switches.fire_due() == 0
    assert (await desk.order(entry.order)).status is OrderStatus.PENDING


async def test_a_crash_on_the_way_is_carried_through(desk: Desk, switches: DeadManSwitchService) -> None:
    entries = [await resting(desk) for _ in range(3)]
    await switches.arm(desk.user_id, 60, ENTRIES)
    await come_due(desk)

    # It reads a page, writes two cancels, and sends neither.
    dying = RestingCancels(last_for(desk.uow, 3), desk.trading, desk.exits, desk.execution)
    with pytest.raises(ConnectionError):
        await DeadManSwitchService(desk.uow, dying).fire_due()
    firing = await switches.of_user(desk.user_id)
    assert firing is not None
    assert (firing.fires_at, firing.fired_scope) == (None, ENTRIES)

    # Another process: the cancels that were written are sent by settlement, the switch is taken up again.
    await desk.settle()
    await come_due(desk)
    assert await switches.fire_due() == 1

    assert [(await desk.order(entry.order)).status for entry in entries] == [OrderStatus.CANCELLED] * 3
    assert len([call for call in desk.venue.calls if call.startswith("cancel")]) == 3
    assert await switches.of_user(desk.user_id) is None


async def test_what_was_placed_after_it_fired_is_left_alone(desk: Desk, switches: DeadManSwitchService) -> None:
    before = await resting(desk)
    await switches.arm(desk.user_id, 60, ENTRIES)
    await come_due(desk)
    after = await resting(desk)

    await switches.fire_due()

    assert (await desk.order(before.order)).status is OrderStatus.CANCELLED
    assert (await desk.order(after.order)).status is OrderStatus.PENDING
    assert await switches.of_user(desk.user_id) is None


async def test_it_stays_until_the_venue_has_answered_every_cancel(desk: Desk, switches: DeadManSwitchService) -> None:
    entry = await resting(desk)
    desk.venue.will("cancel", (Act.REJECT, "VENUE_BUSY"))
    await switches.arm(desk.user_id, 60, ENTRIES)
    await come_due(desk)

    await switches.fire_due()
    assert (await desk.order(entry.order)).status is OrderStatus.PENDING
    firing = await switches.of_user(desk.user_id)
    assert firing is not None
    assert firing.fired_at is not None

    # Who reports again is armed anew, and the firing goes on.
    await switches.arm(desk.user_id, 3600, ENTRIES)
    async with desk.uow() as work:
        await work.session.execute(
            update(DeadManSwitch)
            .where(DeadManSwitch.user_id == desk.user_id)
            .values(next_run_at=func.clock_timestamp() - text("interval '1 ms'"))
        )
    await switches.fire_due()

    assert (await desk.order(entry.order)).status is OrderStatus.CANCELLED
    armed = await switches.of_user(desk.user_id)
    assert armed is not None
    assert (armed.fired_at, armed.fires_at is not None) == (None, True)
    await switches.arm(desk.user_id, 0, ENTRIES)


async def test_an_entry_that_is_being_written_when_it_fires_is_cancelled_too(
    desk: Desk, switches: DeadManSwitchService
) -> None:
    await switches.arm(desk.user_id, 60, ENTRIES)
    terms = open_terms(order_type=OrderType.LIMIT, price=Decimal(990))
    pair, exits = await desk.trading._check(desk.trader, terms)
    desk.venue.will("open", Act.REST)

    async with desk.uow() as work:
        # Of a user who had no account there before.
        account = await work.venue_accounts.ensure_locked(desk.user_id, pair.venue)
        order, intent = await desk.trading._write_open(work, account, terms, pair, exits)
        await come_due(desk)
        firing = asyncio.create_task(switches.fire_due())
        await until(lambda: waits_for_a_lock(desk))
    await firing
    assert await switches.of_user(desk.user_id) is not None

    await desk.execution.send([intent.id])
    await come_due(desk)
    await switches.fire_due()
    assert (await desk.order(order)).status is OrderStatus.CANCELLED
    assert await switches.of_user(desk.user_id) is None


async def test_a_lock_that_is_not_let_go_leaves_the_switch_to_the_next_pass(
    desk: Desk, switches: DeadManSwitchService
) -> None:
    entry = await resting(desk)
    await switches.arm(desk.user_id, 60, ENTRIES)
    await come_due(desk)
    process = desk.beside(desk.container.uow)
    cancels = RestingCancels(process.uow, process.trading, process.exits, process.execution)

    async with held_elsewhere(desk, lambda work: work.venue_accounts.get_for_update(entry.trade.venue_account_id)):
        assert await DeadManSwitchService(process.uow, cancels).fire_due() == 1
    assert await switches.of_user(desk.user_id) is not None

    await come_due(desk)
    await switches.fire_due()
    assert await switches.of_user(desk.user_id) is None


async def test_a_firing_that_takes_too_long_goes_on_later(desk: Desk, switches: DeadManSwitchService) -> None:
    entry = await resting(desk)
    desk.venue.will("cancel", Act.HANG)
    await switches.arm(desk.user_id, 60, ENTRIES)
    await come_due(desk)
    cancels = RestingCancels(desk.uow, desk.trading, desk.exits, desk.execution)

    assert await DeadManSwitchService(desk.uow, cancels, firing_seconds=1).fire_due() == 1
    assert await switches.of_user(desk.user_id) is not None

    desk.venue.gate.set()
    await until(lambda: desk.execution.is_idle)
    await come_due(desk)
    await switches.fire_due()
    assert (await desk.order(entry.order)).status is OrderStatus.CANCELLED
    assert await switches.of_user(desk.user_id) is None


@asynccontextmanager
async def watching(switches: DeadManSwitchService) -> AsyncIterator[asyncio.Task[None]]:
    """The loop of a process fires what comes due."""
    task = asyncio.create_task(switches.watch())
    yield task
    task.cancel()
    await asyncio.wait({task})


async def has_none(switches: DeadManSwitchService, desk: Desk) -> bool:
    """Whether a user's switch has done its work."""
    return await switches.of_user(desk.user_id) is None


async def test_a_firing_that_is_stuck_delays_nobody_elses(desk: Desk) -> None:
    """One user's cancel is never answered; another's switch comes due meanwhile."""
    cancels = RestingCancels(desk.uow, desk.trading, desk.exits, desk.execution)
    switches = DeadManSwitchService(desk.uow, cancels, firing_seconds=600)
    other = replace(desk, user_id=(await create_person(desk.container)).id)
    stuck, free = await resting(desk), await resting(other)
    for each in (desk, other):
        await switches.arm(each.user_id, 60, ENTRIES)
    desk.venue.will("cancel", Act.HANG)

    async with watching(switches):
        await come_due(desk)
        await until(lambda: any(call.startswith("cancel") for call in desk.venue.calls))
        await come_due(other)
        await until(lambda: is_cancelled(other, free))
        assert not await is_cancelled(desk, stuck)
        desk.venue.gate.set()
        await until(lambda: is_cancelled(desk, stuck))
        for each in (desk, other):
            await until(partial(has_none, switches, each))


async def test_firings_that_do_not_end_take_turns(desk: Desk, switches: DeadManSwitchService) -> None:
    desks = [replace(desk, user_id=(await create_person(desk.container)).id) for _ in range(3)]
    for each in desks:
        await switches.arm(each.user_id, 60, ENTRIES)
        await come_due(each)
    others = {desk.user_id}

    served: list[int] = []
    for _ in range(len(desks) * 3):
        async with desk.uow() as work:
            taken = await work.switches.take_due(1, timedelta(0), besides=others)
        served += [switch.user_id for switch in taken]

    assert served == [each.user_id for each in desks] * 3
    assert await switches.fire_due() == len(desks)


async def test_a_firing_that_fails_is_tried_again_and_stops_nobody_elses(desk: Desk) -> None:
    class FailingOnce(RestingCancels):
        has_failed = False

        async def cancel(self, pages: Pages, reason: str) -> Cancelling:
            if not self.has_failed:
                self.has_failed = True
                raise ValueError("a row that contradicts itself")
            return await super().cancel(pages, reason)

    switches = DeadManSwitchService(desk.uow, FailingOnce(desk.uow, desk.trading, desk.exits, desk.execution))
    other = replace(desk, user_id=(await create_person(desk.container)).id)
    entries = [(desk, await resting(desk)), (other, await resting(other))]
    for each, _ in entries:
        await switches.arm(each.user_id, 60, ENTRIES)
        await come_due(each)

    with heard("ERROR") as told:
        async with watching(switches) as task:
            for each, entry in entries:
                await until(partial(is_cancelled, each, entry))
            assert not task.done()
    assert len([line for line in told if "could not be fired; it is tried again" in line]) == 1


async def is_cancelled(desk: Desk, placed: Any) -> bool:
    return (await desk.order(placed.order)).status is OrderStatus.CANCELLED


async def test_a_second_firing_waits_for_the_first_and_widens_nothing(
    desk: Desk, switches: DeadManSwitchService
) -> None:
    desk.venue.will("cancel", (Act.REJECT, "VENUE_BUSY"))
    first = await resting(desk)
    await switches.arm(desk.user_id, 60, ALL)
    await come_due(desk)
    await switches.fire_due()
    held = await desk.open(stop_price=Decimal(950))
    second = await resting(desk)
    await switches.arm(desk.user_id, 60, ENTRIES)

    await come_due(desk)
    await switches.fire_due()
    assert (await desk.order(first.order)).status is OrderStatus.CANCELLED
    assert (await desk.order(second.order)).status is OrderStatus.PENDING

    await switches.fire_due()
    assert (await desk.order(second.order)).status is OrderStatus.CANCELLED
    assert (await desk.order(held.exits[0])).status is OrderStatus.PENDING
    assert await switches.of_user(desk.user_id) is None


async def waits_for_a_lock(desk: Desk) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with desk.uow() as work:
        return bool(await work.session.scalar(text(query)))


async def test_a_halted_market_keeps_it_until_the_release(desk: Desk, switches: DeadManSwitchService) -> None:
    entry = await resting(desk)
    await switches.arm(desk.user_id, 60, ENTRIES)
    await come_due(desk)
    await halt(desk, TradingState.HALTED)

    await switches.fire_due()
    assert (await desk.order(entry.order)).status is OrderStatus.PENDING

    await halt(desk, TradingState.ACTIVE)
    await come_due(desk)
    await switches.fire_due()
    assert (await desk.order(entry.order)).status is OrderStatus.CANCELLED
    assert await switches.of_user(desk.user_id) is None


async def test_of_many_processes_each_order_is_cancelled_once(desk: Desk, switches: DeadManSwitchService) -> None:
    entries = [await resting(desk) for _ in range(4)]
    await switches.arm(desk.user_id, 60, ENTRIES)
    await come_due(desk)
    told = await desk.told()

    await asyncio.gather(*(switches.fire_due() for _ in range(4)))
    await desk.settle()

    assert [(await desk.order(entry.order)).status for entry in entries] == [OrderStatus.CANCELLED] * 4
    assert (await desk.events(told)).count("order.cancelled cancel_all_after") == 4


async def halt(desk: Desk, state: TradingState) -> None:
    async with desk.uow() as work:
        await work.trading_states.set_state(StateScope.USER, str(desk.user_id), state, "a drill", "test")
