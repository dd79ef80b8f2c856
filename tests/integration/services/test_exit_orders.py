"""Exits on existing trades: attached, amended, cancelled, each with its rules; what is shown of trailing stops."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.bootstrap import Container
from app.domain.enums import OrderRole, OrderStatus, OrderType, PositionSide, TradeStatus, TriggerBy, TriggeredLeg
from app.domain.errors import Conflict, InvalidRequest, NotFound
from app.domain.order_terms import ExitChanges, ExitTerms
from app.models.trading import Trade
from app.repositories.engine_state_repository import EngineState, WatermarkKey
from app.services.claim_service import ClaimOutcome
from app.services.live_stops import live_stops, watched_terms
from tests.desks import Desk
from tests.factories import create_person
from tests.fakes import Act

STOP = ExitTerms(order_type=OrderType.STOP_LOSS, stop_price=Decimal(950))
TRAILING = ExitTerms(order_type=OrderType.TRAILING_STOP, trailing_stop_distance=Decimal(20))


async def opened(desk: Desk, **values: Any) -> Trade:
    return (await desk.open(**values)).trade


async def resting(desk: Desk, **values: Any) -> Trade:
    desk.venue.will("open", Act.REST)
    limit: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal(900)}
    return (await desk.open(**(limit | values))).trade


async def test_an_exit_is_attached_to_an_open_trade_and_armed_at_this_tick(desk: Desk) -> None:
    trade = await opened(desk)
    tick = desk.tick("1009", "1011")
    told = await desk.told()

    order = await desk.attach(trade, STOP)

    assert (order.status, order.role, order.quantity) == (OrderStatus.PENDING, OrderRole.EXIT, trade.size)
    assert (order.armed_sequence, order.armed_price) == (tick.sequence, tick.mark)
    assert await desk.events(told) == ["order.created attached", "position.updated exits"]


async def test_an_exit_attached_to_a_resting_entry_waits_for_its_fill(desk: Desk) -> None:
    trade = await resting(desk)

    order = await desk.attach(trade, ExitTerms(order_type=OrderType.STOP_LOSS, stop_price=Decimal(880)))

    assert (order.status, order.armed_sequence) == (OrderStatus.WAITING, None)
    await desk.booking.book_fill(desk.venue.execute((await desk.intents(trade))[0].id))
    armed = await desk.order(order)
    assert (armed.status, armed.quantity) == (OrderStatus.PENDING, (await desk.trade(trade)).size)


@pytest.mark.parametrize(
    ("is_long", "level", "code"),
    [
        (True, {"stop_price": "1000"}, "STOP_WRONG_SIDE"),
        (True, {"stop_price": "999.99"}, None),
        (True, {"stop_price": "900"}, "STOP_BEYOND_LIQUIDATION"),
        (True, {"stop_price": "950.001"}, "TOO_MANY_DECIMALS"),
        (False, {"stop_price": "1000"}, "STOP_WRONG_SIDE"),
        (False, {"stop_price": "1000.01"}, None),
        (False, {"stop_price": "1200"}, "STOP_BEYOND_LIQUIDATION"),
    ],
)
async def test_an_attached_stop_lies_between_the_mark_and_liquidation(
    desk: Desk, is_long: bool, level: dict[str, str], code: str | None
) -> None:
    trade = await opened(desk, is_long=is_long)
    levels: dict[str, Any] = {name: Decimal(text) for name, text in level.items()}
    terms = ExitTerms(order_type=OrderType.STOP_LOSS, **levels)

    if code is None:
        assert (await desk.attach(trade, terms)).status is OrderStatus.PENDING
        return
    with pytest.raises(InvalidRequest) as caught:
        await desk.attach(trade, terms)
    assert caught.value.code == code
    assert await desk.orders(trade, OrderRole.EXIT) == []


@pytest.mark.parametrize("stop", ["900", "950"])
async def test_levels_of_an_unfilled_limit_are_judged_at_its_price(desk: Desk, stop: str) -> None:
    """The mark is 1000: a stop at 950 is below it, and would fire as soon as the entry fills at 900."""
    trade = await resting(desk, stop_price=Decimal(880))
    (waiting,) = await desk.orders(trade, OrderRole.EXIT)

    with pytest.raises(InvalidRequest) as attached:
        await desk.attach(trade, ExitTerms(order_type=OrderType.STOP_LOSS, stop_price=Decimal(stop)))
    with pytest.raises(InvalidRequest) as changed:
        await desk.exits.amend(desk.user_id, waiting.id, ExitChanges(stop_price=Decimal(stop)))

    assert (attached.value.code, changed.value.code) == ("STOP_WRONG_SIDE", "STOP_WRONG_SIDE")


async def test_nothing_is_attached_to_what_has_ended_or_is_another_users(desk: Desk, container: Container) -> None:
    trade = await opened(desk)
    other = await create_person(container)
    with pytest.raises(NotFound):
        await desk.exits.attach(other.id, trade.pair_id, trade.trade_index, STOP, None)
    await desk.close(trade)
    with pytest.raises(NotFound) as caught:
        await desk.attach(trade, STOP)
    assert caught.value.code == "TRADE_NOT_FOUND"


async def test_the_same_attachment_again_is_the_same_order(desk: Desk) -> None:
    trade = await opened(desk)
    first = await desk.attach(trade, STOP, "mine")
    desk.tick("940", "941")

    again = await desk.attach(trade, STOP, "mine")
    with pytest.raises(Conflict) as caught:
        await desk.attach(trade, ExitTerms(order_type=OrderType.STOP_LOSS, stop_price=Decimal(930)), "mine")

    assert again.id == first.id
    assert (caught.value.code, caught.value.details["order_id"]) == ("ALREADY_EXISTS", first.id)
    assert len(await desk.orders(trade, OrderRole.EXIT)) == 1


async def test_a_client_order_id_names_one_order_of_a_user_whatever_its_kind(desk: Desk) -> None:
    trade = await opened(desk, client_order_id="mine")

    with pytest.raises(Conflict) as caught:
        await desk.attach(trade, STOP, "mine")

    assert caught.value.code == "ALREADY_EXISTS"


async def test_of_many_equal_attachments_at_once_one_is_made(desk: Desk) -> None:
    trade = await opened(desk)

    made = await asyncio.gather(*(desk.attach(trade, STOP, "mine") for _ in range(8)))

    assert len({order.id for order in made}) == 1


async def test_an_amended_exit_is_armed_anew_under_a_new_version(desk: Desk) -> None:
    trade = await opened(desk, stop_price=Decimal(950))
    (order,) = await desk.orders(trade, OrderRole.EXIT)
    tick = desk.tick("1009", "1011")
    told = await desk.told()

    amended = await desk.exits.amend(desk.user_id, order.id, ExitChanges(stop_price=Decimal(990)))

    assert (amended.stop_price, amended.version) == (Decimal(990), order.version + 1)
    assert (amended.armed_sequence, amended.armed_price) == (tick.sequence, tick.mark)
    assert await desk.events(told) == ["order.updated amended", "position.updated exits"]


async def test_a_crossing_of_what_was_before_the_amendment_is_gone(desk: Desk) -> None:
    trade = await opened(desk, stop_price=Decimal(950))
    (order,) = await desk.orders(trade, OrderRole.EXIT)
    crossed = desk.crossed(order)
    await desk.exits.amend(desk.user_id, order.id, ExitChanges(stop_price=Decimal(960)))

    (claim,) = await desk.claim(crossed)

    assert (claim.outcome, claim.intent_id) == (ClaimOutcome.GONE, None)
    assert await desk.statuses(trade) == (TradeStatus.OPEN, [OrderStatus.FILLED, OrderStatus.PENDING])


async def test_amending_and_claiming_at_once_have_one_winner(desk: Desk) -> None:
    trades = [await opened(desk, stop_price=Decimal(950)) for _ in range(8)]
    stops = [(await desk.orders(trade, OrderRole.EXIT))[0] for trade in trades]
    work = [
        action
        for stop in stops
        for action in (
            desk.exits.amend(desk.user_id, stop.id, ExitChanges(stop_price=Decimal(960))),
            desk.claim(desk.crossed(stop)),
        )
    ]

    outcomes: list[Any] = await asyncio.gather(*work, return_exceptions=True)

    for amended, claims in zip(outcomes[::2], outcomes[1::2], strict=True):
        assert isinstance(amended, Conflict) is (claims[0].outcome is ClaimOutcome.WON)
    await desk.settle()


async def test_an_exit_that_fired_can_be_neither_amended_nor_cancelled(desk: Desk) -> None:
    trade = await opened(desk, stop_price=Decimal(950))
    (order,) = await desk.orders(trade, OrderRole.EXIT)
    await desk.claim(desk.crossed(order))

    with pytest.raises(Conflict):
        await desk.exits.amend(desk.user_id, order.id, ExitChanges(stop_price=Decimal(960)))
    with pytest.raises(Conflict):
        await desk.exits.cancel(desk.user_id, order.id)


async def test_a_latched_exit_cannot_be_amended(desk: Desk) -> None:
    trade = await opened(desk, stop_price=Decimal(950))
    (order,) = await desk.orders(trade, OrderRole.EXIT)
    desk.venue.will("close", (Act.REJECT, "BUSY"))
    await desk.fire(order)

    with pytest.raises(Conflict, match="The exit has fired and its close is being tried"):
        await desk.exits.amend(desk.user_id, order.id, ExitChanges(stop_price=Decimal(960)))


async def test_an_exit_that_was_let_go_and_amended_watches_from_the_amendment_on(desk: Desk) -> None:
    trade = await opened(desk, stop_price=Decimal(950))
    (order,) = await desk.orders(trade, OrderRole.EXIT)
    desk.tick("949", "951")
    desk.venue.will("close", (Act.REJECT, "MARKET_CLOSED"))
    await desk.fire(order)
    for price in ("980", "960", "1000"):
        tick = desk.tick(price, price)

    amended = await desk.exits.amend(desk.user_id, order.id, ExitChanges(stop_price=Decimal(970)))

    # The ticks since the market closed were not below 970 for this order: it asked for that only now.
    assert watched_terms(amended).watched_after == tick.sequence


async def test_only_exits_are_amended(desk: Desk) -> None:
    trade = await resting(desk)
    (entry,) = await desk.orders(trade)

    with pytest.raises(Conflict):
        await desk.exits.amend(desk.user_id, entry.id, ExitChanges(stop_price=Decimal(880)))


async def test_another_users_order_is_not_there(desk: Desk, container: Container) -> None:
    trade = await opened(desk, stop_price=Decimal(950))
    (order,) = await desk.orders(trade, OrderRole.EXIT)
    other = await create_person(container)

    for attempt in (
        desk.exits.cancel(other.id, order.id),
        desk.exits.amend(other.id, order.id, ExitChanges(stop_price=Decimal(960))),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_cancelled_exit_is_claimed_no_more(desk: Desk) -> None:
    trade = await opened(desk, stop_price=Decimal(950))
    (order,) = await desk.orders(trade, OrderRole.EXIT)
    crossed, told = desk.crossed(order), await desk.told()

    cancelled = await desk.exits.cancel(desk.user_id, order.id)
    (claim,) = await desk.claim(crossed)

    assert (cancelled.status, cancelled.reason, claim.outcome) == (OrderStatus.CANCELLED, "user", ClaimOutcome.GONE)
    assert await desk.events(told) == ["order.cancelled user", "position.updated exits"]
    with pytest.raises(Conflict):
        await desk.exits.cancel(desk.user_id, order.id)


async def test_a_filled_entry_cannot_be_cancelled(desk: Desk) -> None:
    placed = await desk.open()
    with pytest.raises(Conflict):
        await desk.exits.cancel(desk.user_id, placed.order.id)


@pytest.mark.parametrize(("is_long", "stop"), [(True, "980"), (False, "1020")])
async def test_a_trailing_stop_shows_where_it_durably_stands(desk: Desk, is_long: bool, stop: str) -> None:
    trade = await opened(desk, is_long=is_long)
    order = await desk.attach(trade, TRAILING)
    side = PositionSide.LONG if is_long else PositionSide.SHORT
    key = WatermarkKey(TriggerBy.MARK, False, side, order.armed_sequence or 0)
    other_side = PositionSide.SHORT if is_long else PositionSide.LONG
    strangers = {
        WatermarkKey(TriggerBy.MARK, False, other_side, 1): Decimal(1),
        WatermarkKey(TriggerBy.LAST, False, side, 1): Decimal(5000),
        WatermarkKey(TriggerBy.MARK, True, side, 1): Decimal(5000),
    }

    async def shown() -> tuple[Decimal, Decimal]:
        async with desk.uow() as work:
            stops = await live_stops(work, await work.orders.of_trade(trade.id))
        return stops[order.id].stop_price, stops[order.id].watermark

    tick = desk.tick("1000", "1000")
    armed = await shown()
    best = Decimal(1050) if is_long else Decimal(950)
    async with desk.uow() as work:
        await work.engine_state.save([EngineState(tick, {key: best, **strangers}, [])], 1)
    moved = await shown()
    async with desk.uow() as work:
        await work.engine_state.save([EngineState(tick, {}, [key, *strangers])], 1)

    assert armed == (Decimal(stop), Decimal(1000))
    assert moved == (best - 20 if is_long else best + 20, best)


@pytest.mark.parametrize(("is_long", "written", "known"), [(True, "1040", "1050"), (False, "960", "950")])
async def test_a_trailing_stop_that_was_let_go_is_shown_no_looser_by_an_older_checkpoint(
    desk: Desk, is_long: bool, written: str, known: str
) -> None:
    trade = await opened(desk, is_long=is_long)
    order = await desk.attach(trade, TRAILING)
    side = PositionSide.LONG if is_long else PositionSide.SHORT
    key = WatermarkKey(TriggerBy.MARK, False, side, order.armed_sequence or 0)
    tick = desk.tick("1000", "1000")
    async with desk.uow() as work:
        (row,) = await work.orders.rows([order.id])
        row.released_sequence, row.armed_price = tick.sequence + 5, Decimal(known)
    async with desk.uow() as work:
        await work.engine_state.save([EngineState(tick, {key: Decimal(written)}, [])], 1)

    async with desk.uow() as work:
        stops = await live_stops(work, await work.orders.of_trade(trade.id))
        await work.engine_state.save([EngineState(tick, {}, [key])], 1)

    assert stops[order.id].watermark == Decimal(known)


async def test_a_trailing_stop_whose_close_was_refused_is_shown_as_it_fired(desk: Desk) -> None:
    trade = await opened(desk)
    order = await desk.attach(trade, TRAILING)
    desk.venue.will("close", Act.REJECT)
    await desk.claim_and_send(desk.crossed(order, "981", TriggeredLeg.TRAILING))
    # Of another exit that was armed with it and went on.
    key = WatermarkKey(TriggerBy.MARK, False, PositionSide.LONG, order.armed_sequence or 0)

    async with desk.uow() as work:
        (row,) = await work.orders.rows([order.id])
        await work.engine_state.save([EngineState(desk.tick("1000", "1000"), {key: Decimal(1050)}, [])], 1)
        stops = await live_stops(work, [row])
        await work.engine_state.save([EngineState(desk.tick("1000", "1000"), {}, [key])], 1)

    assert (row.status, row.latched_sequence is not None) == (OrderStatus.PENDING, True)
    assert (stops[order.id].stop_price, stops[order.id].watermark) == (Decimal(981), Decimal(1001))


async def test_only_trailing_stops_that_wait_are_live(desk: Desk) -> None:
    trade = await opened(desk, stop_price=Decimal(950))
    trailing = await desk.attach(trade, TRAILING)
    await desk.exits.cancel(desk.user_id, trailing.id)

    async with desk.uow() as work:
        assert await live_stops(work, await work.orders.of_trade(trade.id)) == {}


async def test_an_exit_that_was_never_armed_cannot_be_watched(desk: Desk) -> None:
    trade = await resting(desk, stop_price=Decimal(880))
    (order,) = await desk.orders(trade, OrderRole.EXIT)

    with pytest.raises(LookupError):
        watched_terms(order)
