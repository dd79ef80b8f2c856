"""Claims: of all who want to close a trade at once, one does; who comes second waits with its crossing, then ends."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import IntentKind, IntentStatus, OrderStatus, TradeStatus, TriggeredLeg
from app.domain.errors import Conflict, NotFound
from app.models.trading import Order, Trade
from app.services.claim_service import Claim, ClaimOutcome, Crossed, latched_crossing
from app.services.trading_service import Placed
from tests.desks import Desk, again
from tests.fakes import Act

BOTH: dict[str, Any] = {"stop_price": Decimal(950), "take_profit_price": Decimal(1100)}
WON, LATCHED, GONE = ClaimOutcome.WON, ClaimOutcome.LATCHED, ClaimOutcome.GONE


async def protected(desk: Desk) -> tuple[Trade, Order, Order]:
    placed = await desk.open(**BOTH)
    stop, take_profit = placed.exits
    return placed.trade, stop, take_profit


async def test_a_claim_writes_what_fired_it_and_a_close_of_all_that_is_open(desk: Desk) -> None:
    trade, stop, _ = await protected(desk)
    crossed = desk.crossed(stop, "949.5")

    (claim,) = await desk.claim(crossed)

    order = await desk.order(stop)
    assert (claim.outcome, order.status) == (WON, OrderStatus.TRIGGERED)
    crossing = crossed.crossing
    assert (order.triggered_leg, order.trigger_price, order.trigger_sequence, order.triggered_at) == (
        TriggeredLeg.STOP,
        Decimal("949.5"),
        crossing.sequence,
        crossed.at,
    )
    intent = (await desk.intents(trade))[-1]
    assert (intent.id, intent.kind, intent.status, intent.order_id) == (
        claim.intent_id,
        IntentKind.CLOSE,
        IntentStatus.NEW,
        stop.id,
    )
    assert Decimal(intent.payload["size"]) == trade.size
    assert (await desk.trade(trade)).status is TradeStatus.CLOSING
    assert desk.venue.calls == [f"open {(await desk.intents(trade))[0].id}"]


async def test_a_trailing_exit_keeps_its_final_stop_and_watermark(desk: Desk) -> None:
    placed = await desk.open(trailing_stop_distance=Decimal(20))
    (trailing,) = placed.exits

    await desk.claim_and_send(desk.crossed(trailing, "980", TriggeredLeg.TRAILING))

    order = await desk.order(trailing)
    assert (order.stop_price, order.watermark) == (Decimal(980), Decimal(1001))
    assert (await desk.trade(placed.trade)).close_reason == "trailing"


async def test_a_take_profit_keeps_its_level(desk: Desk) -> None:
    trade, _, take_profit = await protected(desk)

    await desk.claim_and_send(desk.crossed(take_profit, "1101", TriggeredLeg.TAKE_PROFIT))

    order = await desk.order(take_profit)
    assert (order.take_profit_price, order.stop_price, order.triggered_leg) == (Decimal(1100), None, "take_profit")
    assert (await desk.trade(trade)).close_reason == "take_profit"


async def test_of_two_exits_that_cross_at_once_one_closes_and_the_other_is_latched_then_cancelled(desk: Desk) -> None:
    trade, stop, take_profit = await protected(desk)

    claims = await desk.claim(desk.crossed(stop), desk.crossed(take_profit, "1101", TriggeredLeg.TAKE_PROFIT))
    latched = await desk.order(take_profit)
    intent_id = claims[0].intent_id
    assert intent_id is not None
    await desk.execution.send([intent_id])

    assert [(claim.outcome, claim.intent_id is not None) for claim in claims] == [(WON, True), (LATCHED, False)]
    assert (latched.status, latched.latched_sequence) == (OrderStatus.PENDING, desk.sequence + 1)
    assert await desk.statuses(trade) == (
        TradeStatus.CLOSED,
        [OrderStatus.FILLED, OrderStatus.FILLED, OrderStatus.CANCELLED],
    )
    assert len([call for call in desk.venue.calls if call.startswith("close")]) == 1


async def test_the_exit_that_crossed_at_the_earlier_tick_closes(desk: Desk) -> None:
    trade, stop, take_profit = await protected(desk)
    later = desk.crossed(stop)
    earlier = desk.crossed(take_profit, "1101", TriggeredLeg.TAKE_PROFIT)
    later = replace(later, crossing=replace(later.crossing, sequence=later.crossing.sequence + 1))

    claims = {claim.order_id: claim.outcome for claim in await desk.claim(later, earlier)}

    assert claims == {take_profit.id: WON, stop.id: LATCHED}
    await desk.settle()
    assert (await desk.trade(trade)).close_reason == "take_profit"


async def test_a_latched_exit_closes_when_the_first_close_was_refused(desk: Desk) -> None:
    trade, stop, take_profit = await protected(desk)
    desk.venue.will("close", (Act.REJECT, "BUSY"))
    first, _ = await desk.claim(desk.crossed(stop), desk.crossed(take_profit, "1101", TriggeredLeg.TAKE_PROFIT))
    assert first.intent_id is not None
    await desk.execution.send([first.intent_id])
    refused, latched = await desk.order(stop), await desk.order(take_profit)
    assert refused.next_run_at is not None
    async with desk.uow() as work:
        # However slow this is, its delay is not over.
        (row,) = await work.orders.rows([stop.id])
        row.next_run_at = refused.next_run_at + timedelta(hours=1)
        await work.session.flush()
        retryable = [row.id for row in await work.orders.retryable([desk.pair.id]) if row.trade_id == trade.id]

    await desk.claim_and_send(again(await desk.order(take_profit)))

    # The refused one waits its delay; the latched one is due at once.
    assert refused.latched_sequence is not None
    assert latched.next_run_at is None
    assert retryable == [take_profit.id]
    order = await desk.order(take_profit)
    assert (order.status, order.triggered_leg, order.trigger_price) == (
        OrderStatus.FILLED,
        "take_profit",
        Decimal(1101),
    )
    assert (await desk.order(stop)).status is OrderStatus.CANCELLED


async def test_a_latched_exit_closes_the_rest_after_a_part_close_by_hand(desk: Desk) -> None:
    trade, stop, _ = await protected(desk)
    desk.venue.will("close", Act.ACCEPT)
    await desk.close_unsettled(trade, "0.5")
    (claim,) = await desk.claim(desk.crossed(stop))
    desk.venue.execute((await desk.intents(trade))[-1].id)
    await desk.settle()
    half = (await desk.trade(trade)).size

    await desk.claim_and_send(again(await desk.order(stop)))

    assert claim.outcome is LATCHED
    assert (await desk.order(stop)).filled_quantity == half
    assert (await desk.trade(trade)).status is TradeStatus.CLOSED


async def test_a_close_by_hand_and_a_claim_at_once_have_one_winner(desk: Desk) -> None:
    trades = [await protected(desk) for _ in range(8)]
    work = [action for trade, stop, _ in trades for action in (desk.close(trade), desk.claim(desk.crossed(stop)))]

    outcomes: list[Any] = await asyncio.gather(*work, return_exceptions=True)
    await desk.settle()

    for (trade, stop, _), closed, claims in zip(trades, outcomes[::2], outcomes[1::2], strict=True):
        (claim,) = claims
        assert isinstance(closed, Placed | Conflict | NotFound)
        assert isinstance(closed, Placed) is (claim.outcome is not WON)
        assert (await desk.trade(trade)).status is TradeStatus.CLOSED
        assert (await desk.order(stop)).status is (
            OrderStatus.FILLED if claim.outcome is WON else OrderStatus.CANCELLED
        )
    closes = [call for call in desk.venue.calls if call.startswith("close")]
    assert len(closes) == len(trades)


async def test_of_two_engines_that_see_the_same_crossing_one_claims(desk: Desk) -> None:
    exits = [(await protected(desk))[1] for _ in range(6)]
    crossed = [desk.crossed(stop) for stop in exits]

    outcomes = await asyncio.gather(*(desk.claim(*crossed) for _ in range(4)))

    for claims in zip(*outcomes, strict=True):
        assert [claim.outcome for claim in claims].count(WON) == 1
        assert {claim.outcome for claim in claims} <= {WON, GONE, ClaimOutcome.BUSY}
    assert {claim.outcome for claim in await desk.claim(*crossed)} == {GONE}
    await desk.settle()


@pytest.mark.parametrize("is_liquidated", [True, False])
async def test_a_crossing_of_a_trade_that_ended_is_gone(desk: Desk, is_liquidated: bool) -> None:
    trade, stop, _ = await protected(desk)
    crossed = desk.crossed(stop)
    if is_liquidated:
        await desk.booking.book_fill(desk.venue.liquidate(trade.venue_trade_index or ""))
    else:
        await desk.close(trade)

    (claim,) = await desk.claim(crossed)

    assert claim == Claim(stop.id, GONE)


async def test_a_crossing_of_an_order_that_is_not_there_is_gone(desk: Desk) -> None:
    _, stop, _ = await protected(desk)
    crossed = desk.crossed(stop)
    unknown = Crossed(replace(crossed.crossing, order_id=2**40), crossed.at, crossed.source)

    claims = {claim.order_id: claim.outcome for claim in await desk.claim(unknown, crossed)}

    assert claims == {2**40: GONE, stop.id: WON}
    await desk.settle()


async def test_a_claim_that_is_not_committed_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    trade, stop, _ = await protected(desk)
    told = await desk.told()

    async def lost(events: object) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError), monkeypatch.context() as patch:
        patch.setattr("app.repositories.event_repository.EventRepository.append", lambda _, events: lost(events))
        await desk.claim(desk.crossed(stop))

    assert (await desk.trade(trade)).status is TradeStatus.OPEN
    assert (await desk.order(stop)).status is OrderStatus.PENDING
    assert len(await desk.intents(trade)) == 1
    assert await desk.events(told) == []


async def test_an_order_that_was_never_latched_keeps_no_crossing(desk: Desk) -> None:
    _, stop, _ = await protected(desk)

    assert latched_crossing(stop) is None


async def test_a_latched_row_keeps_the_whole_crossing(desk: Desk) -> None:
    trade, stop, take_profit = await protected(desk)
    crossed = desk.crossed(take_profit, "1101", TriggeredLeg.TAKE_PROFIT)
    await desk.claim(desk.crossed(stop), crossed)

    assert again(await desk.order(take_profit)) == crossed
    await desk.settle()
    assert (await desk.trade(trade)).status is TradeStatus.CLOSED


async def test_a_burst_of_crossings_is_claimed_once_each_and_closed(desk: Desk) -> None:
    placed = await asyncio.gather(*(desk.open(stop_price=Decimal(950)) for _ in range(30)))
    crossed = [desk.crossed(each.exits[0]) for each in placed]

    claims = [claim for start in range(0, 30, 10) for claim in await desk.claim(*crossed[start : start + 10])]
    await desk.execution.send([claim.intent_id for claim in claims if claim.intent_id is not None])

    assert {claim.outcome for claim in claims} == {WON}
    assert {(await desk.trade(each.trade)).status for each in placed} == {TradeStatus.CLOSED}
    assert {(await desk.order(each.exits[0])).status for each in placed} == {OrderStatus.FILLED}
