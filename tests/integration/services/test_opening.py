"""Opening trades: what each answer of a venue makes of order, trade, exits, position and log."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.bootstrap import Container
from app.domain.enums import IntentKind, IntentStatus, OrderRole, OrderSide, OrderStatus, OrderType, TradeStatus
from app.domain.errors import Conflict, Forbidden, InvalidRequest, Unavailable
from app.domain.trading import TradeParams, VenueOutcome
from app.services.trading_service import Trader, refusal_of
from tests.desks import Desk
from tests.factories import create_person, open_terms
from tests.fakes import Act
from tests.waiting import until

STOP: dict[str, Any] = {"order_type": OrderType.STOP_LOSS, "stop_price": Decimal(950)}
LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal(990)}
HOUR = timedelta(hours=1)


async def test_a_filled_market_order_opens_the_trade_and_arms_its_exits(desk: Desk) -> None:
    placed = await desk.open(stop_price=Decimal(950), take_profit_price=Decimal(1100))

    trade, order = placed.trade, placed.order
    assert (order.status, order.role, order.order_type) == (OrderStatus.FILLED, OrderRole.ENTRY, OrderType.MARKET)
    assert (order.average_price, order.filled_quantity, order.quantity) == (
        Decimal("1000.50"),
        Decimal("0.999500"),
        Decimal("0.999500"),
    )
    assert (trade.status, trade.size, trade.entry_price, trade.trade_index) == (
        TradeStatus.OPEN,
        Decimal("0.999500"),
        Decimal("1000.50"),
        0,
    )
    assert order.transaction_hash is not None
    assert trade.opened_at is not None
    assert [(e.order_type, e.status, e.side, e.reduce_only) for e in placed.exits] == [
        (OrderType.STOP_LOSS, OrderStatus.PENDING, OrderSide.SELL, True),
        (OrderType.TAKE_PROFIT, OrderStatus.PENDING, OrderSide.SELL, True),
    ]
    # The tick of the fill arms them: its mark starts a watermark and cannot fire.
    assert {(e.quantity, e.armed_sequence, e.armed_price) for e in placed.exits} == {(trade.size, 1, Decimal(1000))}
    position = await desk.position(trade)
    assert position is not None
    assert (position.size, position.margin, position.entry_price) == (trade.size, Decimal(100), Decimal("1000.50"))
    assert position.liquidation_price == desk.venue.fills[0].liquidation_price


async def test_the_log_tells_an_opening_in_the_order_it_happened(desk: Desk) -> None:
    await desk.open(stop_price=Decimal(950))

    assert await desk.events() == [
        "order.created",
        "order.created",
        "order.updated submitted",
        "order.filled",
        "trade.executed",
        "order.updated armed",
        "position.updated opened",
    ]


async def test_an_opening_is_sent_as_it_was_asked_for(desk: Desk) -> None:
    placed = await desk.open(
        is_long=False, leverage=7, collateral=Decimal("33.33"), price=Decimal(1000), max_slippage=Decimal("0.01")
    )

    (intent,) = await desk.intents(placed.trade)
    sent = desk.venue.orders[intent.id].params
    assert isinstance(sent, TradeParams)
    assert (sent.client_id, sent.order_type, sent.leverage) == (intent.id, OrderType.MARKET, 7)
    assert (sent.collateral, sent.price, sent.reference_price) == (Decimal("33.33"), None, Decimal(1000))
    assert (sent.max_slippage, sent.side) == (Decimal("0.01"), placed.trade.side)
    assert (sent.ref.user_id, sent.ref.pair_id) == (desk.user_id, desk.pair.id)
    assert sent.not_after == intent.not_after
    assert (intent.kind, intent.status) == (IntentKind.OPEN, IntentStatus.DONE)
    # A short's exits buy, and its fill was at the bid.
    assert (placed.order.side, placed.order.average_price) == (OrderSide.SELL, Decimal("999.50"))


async def test_a_limit_rests_and_its_exits_wait_for_the_fill(desk: Desk) -> None:
    desk.venue.will("open", Act.REST)

    placed = await desk.open(**LIMIT, stop_price=Decimal(950))

    assert (placed.order.status, placed.order.reason) == (OrderStatus.PENDING, "resting")
    assert (placed.trade.status, placed.trade.size) == (TradeStatus.SUBMITTED, Decimal(0))
    assert [e.status for e in placed.exits] == [OrderStatus.WAITING]
    assert await desk.position(placed.trade) is None
    (intent,) = await desk.intents(placed.trade)
    assert intent.status is IntentStatus.RESTING


async def test_a_fill_that_the_venue_tells_by_itself_opens_a_resting_trade(desk: Desk) -> None:
    desk.venue.will("open", Act.REST)
    placed = await desk.open(**LIMIT, stop_price=Decimal(950))
    (intent,) = await desk.intents(placed.trade)
    told = await desk.told()
    tick = desk.tick("988", "990")

    await desk.booking.book_fill(desk.venue.execute(intent.id))

    assert await desk.statuses(placed.trade) == (TradeStatus.OPEN, [OrderStatus.FILLED, OrderStatus.PENDING])
    assert await desk.events(told) == [
        "order.filled",
        "trade.executed",
        "order.updated armed",
        "position.updated opened",
    ]
    (exit_order,) = await desk.orders(placed.trade, OrderRole.EXIT)
    assert (exit_order.armed_sequence, exit_order.armed_price) == (tick.sequence, tick.mark)
    assert (await desk.trade(placed.trade)).entry_price == Decimal(990)


async def test_a_refusal_fails_the_trade_and_ends_its_exits(desk: Desk) -> None:
    desk.venue.will("open", (Act.REJECT, "INSUFFICIENT_BALANCE"))

    placed = await desk.open(**STOP)

    assert (placed.order.status, placed.order.reason) == (OrderStatus.REJECTED, "INSUFFICIENT_BALANCE")
    assert await desk.statuses(placed.trade) == (TradeStatus.FAILED, [OrderStatus.REJECTED, OrderStatus.CANCELLED])
    assert (await desk.events())[-3:] == [
        "order.rejected INSUFFICIENT_BALANCE",
        "trade.failed INSUFFICIENT_BALANCE",
        "order.cancelled INSUFFICIENT_BALANCE",
    ]


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("INSUFFICIENT_BALANCE", 400, "INSUFFICIENT_BALANCE"),
        ("SLIPPAGE_EXCEEDED", 400, "SLIPPAGE_EXCEEDED"),
        ("SIZE_BELOW_MINIMUM", 400, "SIZE_BELOW_MINIMUM"),
        ("EXPIRED_REQUEST", 400, "EXPIRED_REQUEST"),
        ("MARKET_CLOSED", 409, "MARKET_CLOSED"),
        # What passes is final for this order: 503 would invite to repeat a request that has its answer.
        ("PRICE_STALE", 502, "TRADE_EXECUTION_FAILED"),
        ("the venue's own word", 502, "TRADE_EXECUTION_FAILED"),
    ],
)
async def test_a_refusal_is_answered_with_its_code(desk: Desk, reason: str, status: int, code: str) -> None:
    desk.venue.will("open", (Act.REJECT, reason))

    refusal = refusal_of((await desk.open()).order, "scripted")

    assert (refusal.status, refusal.code) == (status, code)


async def test_a_venue_that_cannot_be_reached_has_refused(desk: Desk) -> None:
    desk.venue.will("open", Act.UNSENT)

    placed = await desk.open(**STOP)

    assert (placed.order.status, placed.order.reason) == (OrderStatus.REJECTED, "PROVIDER_UNAVAILABLE")
    assert placed.trade.status is TradeStatus.FAILED
    refusal = refusal_of(placed.order, "scripted")
    assert (refusal.status, refusal.details["reason"]) == (502, "PROVIDER_UNAVAILABLE")


async def test_an_unknown_outcome_is_never_called_failed(desk: Desk) -> None:
    desk.venue.will("open", Act.LATE)

    placed = await desk.open(**STOP)

    assert (placed.order.status, placed.order.reason) == (OrderStatus.UNKNOWN, "PROVIDER_TIMEOUT")
    assert placed.order.unknown_since is not None
    assert (placed.trade.status, [e.status for e in placed.exits]) == (TradeStatus.SUBMITTED, [OrderStatus.WAITING])
    assert (await desk.events())[-1] == "order.updated unknown"


async def test_an_accepted_order_is_answered_once_it_settles_within_the_wait(desk: Desk) -> None:
    desk.venue.will("open", Act.ACCEPT)
    opening = asyncio.create_task(desk.open(**STOP))
    await until(lambda: desk.venue.orders and desk.execution.is_idle)

    assert not opening.done()
    await desk.booking.book_fill(desk.venue.execute(next(iter(desk.venue.orders))))

    placed = await opening
    assert (placed.order.status, placed.trade.status) == (OrderStatus.FILLED, TradeStatus.OPEN)


async def test_an_accepted_order_is_pending_when_the_wait_is_over(desk: Desk) -> None:
    desk.venue.will("open", Act.ACCEPT)

    placed = await desk.open_unsettled(**STOP)

    assert (placed.order.status, placed.trade.status) == (OrderStatus.SUBMITTED, TradeStatus.SUBMITTED)
    (intent,) = await desk.intents(placed.trade)
    desk.venue.execute(intent.id)
    await desk.settle()
    assert await desk.statuses(placed.trade) == (TradeStatus.OPEN, [OrderStatus.FILLED, OrderStatus.PENDING])


async def test_a_slow_venue_does_not_hold_the_answer_up(desk: Desk) -> None:
    desk.venue.will("open", Act.HANG)

    async with asyncio.timeout(20):
        placed = await desk.open_hasty(**STOP)

    assert placed.order.status in (OrderStatus.PENDING, OrderStatus.SUBMITTED)
    desk.venue.gate.set()
    settled = await desk.answered(placed)
    assert (settled.order.status, settled.trade.status) == (OrderStatus.FILLED, TradeStatus.OPEN)
    assert len(desk.venue.calls) == 1


async def test_part_fills_open_the_trade_and_grow_it_and_its_exits(desk: Desk) -> None:
    desk.venue.will("open", (Act.PART, "0.2"))
    placed = await desk.open_unsettled(**STOP)
    (intent,) = await desk.intents(placed.trade)
    seen = [(placed.order.status, placed.trade.size, placed.exits[0].quantity)]

    for part in ("0.3", "0.1", None):
        desk.venue.execute(intent.id, part)
        await desk.settle()
        (exit_order,) = await desk.orders(placed.trade, OrderRole.EXIT)
        seen.append(
            ((await desk.order(placed.order)).status, (await desk.trade(placed.trade)).size, exit_order.quantity)
        )

    part_filled = OrderStatus.PARTIALLY_FILLED
    assert seen == [
        (part_filled, Decimal("0.2"), Decimal("0.2")),
        (part_filled, Decimal("0.5"), Decimal("0.5")),
        (part_filled, Decimal("0.6"), Decimal("0.6")),
        (OrderStatus.FILLED, Decimal("0.9995"), Decimal("0.9995")),
    ]
    log = await desk.events()
    assert [log.count(line) for line in ("trade.executed", "trade.updated part_filled", "order.filled")] == [1, 3, 1]
    assert log.count("order.updated armed") == 1


async def test_the_entry_price_of_part_fills_is_their_average(desk: Desk) -> None:
    desk.venue.will("open", (Act.PART, "0.5"))
    placed = await desk.open_unsettled()
    (intent,) = await desk.intents(placed.trade)
    desk.tick("1099.50", "1100.50")
    desk.venue.execute(intent.id)
    await desk.settle()

    average = (Decimal("0.5") * Decimal("1000.5") + Decimal("0.4995") * Decimal("1100.5")) / Decimal("0.9995")
    trade, order = await desk.trade(placed.trade), await desk.order(placed.order)
    assert trade.entry_price == order.average_price
    assert abs((trade.entry_price or 0) - average) < Decimal("1e-17")


async def test_an_order_whose_fills_were_all_told_before_its_end_is_filled(desk: Desk) -> None:
    desk.venue.will("open", (Act.PART, "0.5"))
    placed = await desk.open_unsettled()
    (intent,) = await desk.intents(placed.trade)
    desk.venue.execute(intent.id)
    result = desk.venue.orders[intent.id].result()
    # The venue tells of the last execution before it says that the order is done.
    early = type(result)(intent.id, VenueOutcome.PARTIALLY_FILLED, None, result.venue_trade_index, fills=result.fills)
    await desk.booking.book(intent.id, early)

    await desk.booking.book(intent.id, result)

    assert (await desk.order(placed.order)).status is OrderStatus.FILLED


async def test_an_entry_that_fills_in_part_and_gives_up_the_rest_is_an_open_trade(desk: Desk) -> None:
    desk.venue.will("open", (Act.PART_ONLY, "0.4"))

    placed = await desk.open(**STOP)

    assert (placed.order.status, placed.trade.status) == (OrderStatus.CANCELLED, TradeStatus.OPEN)
    assert (placed.trade.size, placed.order.filled_quantity) == (Decimal("0.4"), Decimal("0.4"))
    assert [e.status for e in placed.exits] == [OrderStatus.PENDING]


async def test_a_result_booked_twice_changes_nothing(desk: Desk) -> None:
    placed = await desk.open(**STOP)
    (intent,) = await desk.intents(placed.trade)
    told, before = await desk.told(), await desk.statuses(placed.trade)

    for _ in range(2):
        await desk.booking.book(intent.id, desk.venue.orders[intent.id].result())
        await desk.booking.book_fill(desk.venue.fills[0])

    assert (await desk.statuses(placed.trade), await desk.events(told)) == (before, [])


async def test_a_result_booked_by_many_at_once_is_booked_once(desk: Desk) -> None:
    desk.venue.will("open", Act.UNHEARD)
    placed = await desk.open(**STOP)
    (intent,) = await desk.intents(placed.trade)
    result = desk.venue.orders[intent.id].result()

    await asyncio.gather(
        *(desk.booking.book(intent.id, result) for _ in range(6)),
        *(desk.booking.book_fill(result.fills[0]) for _ in range(6)),
        desk.settle(),
    )

    log = await desk.events()
    assert [log.count(line) for line in ("order.filled", "trade.executed", "order.updated armed")] == [1, 1, 1]


async def test_20_parallel_openings_are_20_trades(desk: Desk) -> None:
    placed = await asyncio.gather(*(desk.open(**STOP) for _ in range(20)))

    assert sorted(each.trade.trade_index for each in placed) == list(range(20))
    assert {each.trade.status for each in placed} == {TradeStatus.OPEN}
    assert len(desk.venue.positions) == 20


async def test_the_same_client_order_id_and_body_is_the_same_order(desk: Desk) -> None:
    first = await desk.open(**STOP, client_order_id="mine")

    again = await desk.open(**STOP, client_order_id="mine")

    assert (again.order.id, again.trade.id) == (first.order.id, first.trade.id)
    assert len(desk.venue.orders) == 1


async def test_the_same_client_order_id_with_another_body_is_refused(desk: Desk) -> None:
    first = await desk.open(client_order_id="mine")

    with pytest.raises(Conflict) as caught:
        await desk.open(client_order_id="mine", leverage=11)

    assert (caught.value.code, caught.value.details["order_id"]) == ("ALREADY_EXISTS", first.order.id)
    assert len(desk.venue.orders) == 1


async def test_of_20_openings_with_one_client_order_id_one_is_made(desk: Desk) -> None:
    placed = await asyncio.gather(*(desk.open(client_order_id="mine") for _ in range(20)))

    assert len({each.order.id for each in placed}) == 1
    assert len(desk.venue.orders) == 1


async def test_a_repeated_opening_is_told_its_order_whatever_the_market_does_now(desk: Desk) -> None:
    """A client that lost the answer must not be told "refused" of an order that was executed."""
    soon = datetime.now(UTC) + HOUR
    first = await desk.open(**STOP, client_order_id="mine", valid_until=soon)
    desk.tick("940", "941")
    desk.board.set_open(is_open=False)

    again = await desk.open(**STOP, client_order_id="mine", valid_until=soon)

    assert again.order.id == first.order.id


async def test_client_order_ids_are_each_users_own(desk: Desk, container: Container) -> None:
    other = await create_person(container)
    terms = open_terms(client_order_id="mine")
    mine = await desk.open(client_order_id="mine")

    theirs = await desk.trading.open_trade(Trader(other.id, may_trade=True, is_sandbox=False), terms, None)

    assert theirs.order.id != mine.order.id
    desk.venue.fills.pop()
    desk.venue.positions.popitem()


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"asset": "NOPE"}, "UNSUPPORTED_ASSET"),
        ({"asset_type": 1}, "CONFLICTING_FIELDS"),
        ({"valid_until": datetime(2020, 1, 1, tzinfo=UTC)}, "EXPIRED_REQUEST"),
        ({**LIMIT, "expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "EXPIRED_REQUEST"),
        ({"stop_price": Decimal(1001)}, "STOP_WRONG_SIDE"),
        ({"leverage": 51}, "LEVERAGE_OUT_OF_RANGE"),
        ({"collateral": Decimal("0.5")}, "SIZE_BELOW_MINIMUM"),
        ({"order_type": OrderType.OCO}, "MISSING_FIELD"),
    ],
)
async def test_a_refusal_of_ours_writes_and_sends_nothing(desk: Desk, values: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await desk.open(**values)

    assert caught.value.code == code
    async with desk.uow() as work:
        assert await work.trades.of_user(desk.user_id, statuses=None, before=None, limit=9) == []
    assert (await desk.events(), desk.venue.calls) == ([], [])


async def test_who_may_not_trade_is_refused(desk: Desk) -> None:
    with pytest.raises(Forbidden) as caught:
        await desk.trading.open_trade(Trader(desk.user_id, may_trade=False, is_sandbox=False), open_terms(), None)
    assert caught.value.code == "FEATURE_NOT_ENABLED"


async def test_market_orders_need_an_open_market_and_limits_wait_for_one(desk: Desk) -> None:
    desk.board.set_open(is_open=False)
    desk.venue.will("open", Act.REST)

    with pytest.raises(Conflict) as caught:
        await desk.open()
    placed = await desk.open(**LIMIT)

    assert (caught.value.code, placed.order.status) == ("MARKET_CLOSED", OrderStatus.PENDING)


async def test_nothing_is_traded_on_a_stale_price(desk: Desk) -> None:
    desk.board.clock.set(datetime.now(UTC) - HOUR)
    desk.tick("999", "1000")

    with pytest.raises(Unavailable) as caught:
        await desk.open()

    assert (caught.value.code, desk.venue.calls) == ("PRICE_STALE", [])


async def test_a_preview_has_no_effect_and_tells_every_refusal(desk: Desk) -> None:
    seen = await desk.trading.preview(desk.trader, open_terms(collateral=Decimal(9_999), leverage=60))

    assert [refusal.code for refusal in seen.refusals] == ["LEVERAGE_OUT_OF_RANGE", "INSUFFICIENT_BALANCE"]
    assert (await desk.events(), desk.venue.calls) == ([], [])


async def test_a_preview_says_what_opening_then_does(desk: Desk) -> None:
    seen = await desk.trading.preview(desk.trader, open_terms())
    placed = await desk.open()

    position = await desk.position(placed.trade)
    assert position is not None
    assert seen.refusals == []
    assert (seen.size, seen.entry_price, seen.fee) == (placed.trade.size, placed.trade.entry_price, placed.trade.fees)
    assert (seen.margin, seen.liquidation_price) == (position.margin, position.liquidation_price)


async def test_nonsense_from_a_venue_is_an_unknown_outcome(desk: Desk) -> None:
    desk.venue.will("open", Act.NONSENSE)

    placed = await desk.open(**STOP)

    assert placed.order.status is OrderStatus.UNKNOWN
    await desk.settle()
    assert await desk.statuses(placed.trade) == (TradeStatus.OPEN, [OrderStatus.FILLED, OrderStatus.PENDING])


async def test_an_order_whose_booking_failed_is_pending_and_settled_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order stands and is looked after: whoever were told "unavailable" might ask for it again."""

    async def lost(intent_id: int, result: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(desk.booking, "book", lost)
    placed = await desk.open(**STOP)
    monkeypatch.undo()

    assert (placed.order.status, placed.trade.status) == (OrderStatus.SUBMITTED, TradeStatus.SUBMITTED)
    await desk.settle()
    assert await desk.statuses(placed.trade) == (TradeStatus.OPEN, [OrderStatus.FILLED, OrderStatus.PENDING])
