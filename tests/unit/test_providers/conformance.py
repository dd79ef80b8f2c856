"""What every trading venue must do behind the interface, whatever its wire format.

A venue joins with `class TestMyVenue(VenueConformance)` in a module that has a `venue` fixture, a VenueUnderTest at the
price 100 / 101 whose accounts hold a few thousand USDC. A venue may settle later than it accepts: `settled` follows.
"""

from datetime import timedelta
from decimal import Decimal

import pytest

from app.domain.enums import OrderSide, PositionSide
from app.domain.errors import NotFound
from app.domain.money import ZERO
from app.domain.trading import (
    CloseParams,
    TradeParams,
    TradeResult,
    VenueCapabilities,
    VenueFill,
    VenueOutcome,
    VenueRef,
)
from tests.venues import LONG_AGO, VenueUnderTest, closing, exit_params, next_client_id, opening

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


async def settled(venue: VenueUnderTest, ref: VenueRef, result: TradeResult) -> TradeResult:
    """The venue's last word on what it has accepted."""
    if result.outcome is VenueOutcome.ACCEPTED:
        await venue.settle()
        result = await venue.provider.query(ref, result.client_id) or result
    assert result.outcome is not VenueOutcome.ACCEPTED
    return result


async def open_trade(venue: VenueUnderTest, params: TradeParams) -> TradeResult:
    return await settled(venue, params.ref, await venue.provider.open_trade(params))


async def close_trade(venue: VenueUnderTest, params: CloseParams) -> TradeResult:
    result = await venue.provider.close_trade(params.ref.pair_id, params.venue_trade_index, params)
    return await settled(venue, params.ref, result)


async def open_position(venue: VenueUnderTest, ref: VenueRef, side: PositionSide = LONG) -> VenueFill:
    """Open a position of 100 USDC at 10x; its only fill."""
    result = await open_trade(venue, await opening(venue, ref, side=side))
    assert result.outcome is VenueOutcome.FILLED
    (fill,) = result.fills
    return fill


class VenueConformance:
    """The tests; a subclass names the venue by its module's `venue` fixture."""

    async def test_lists_pairs_that_can_be_traded(self, venue: VenueUnderTest) -> None:
        pairs = await venue.provider.get_pairs()

        assert len({pair.symbol for pair in pairs}) == len(pairs) > 0
        for pair in pairs:
            assert pair.price_step > 0
            assert pair.size_step > 0
            assert 0 < pair.min_leverage <= pair.max_leverage
            assert 0 < pair.min_collateral <= pair.max_collateral
            assert 0 <= pair.taker_fee_rate < 1
            assert 0 <= pair.maintenance_margin_rate * pair.max_leverage < 1

    async def test_states_its_name_and_what_it_can_do(self, venue: VenueUnderTest) -> None:
        assert venue.provider.name == venue.pair.venue
        assert isinstance(venue.provider.capabilities, VenueCapabilities)

    async def test_is_reachable(self, venue: VenueUnderTest) -> None:
        await venue.provider.ping()

    async def test_tells_the_price_of_a_pair(self, venue: VenueUnderTest) -> None:
        price = await venue.provider.get_price(venue.pair.base, venue.pair.quote)

        assert (price.bid, price.ask, price.price) == (Decimal(100), Decimal(101), Decimal("100.5"))
        assert price.pair_id == venue.pair.id
        with pytest.raises(NotFound):
            await venue.provider.get_price("NOSUCH", venue.pair.quote)

    @pytest.mark.parametrize(
        ("side", "order_side", "price"), [(LONG, OrderSide.BUY, 101), (SHORT, OrderSide.SELL, 100)]
    )
    async def test_opens_at_the_quote(
        self, venue: VenueUnderTest, side: PositionSide, order_side: OrderSide, price: int
    ) -> None:
        ref = await venue.new_account()
        before = await venue.provider.balance(ref)

        fill = await open_position(venue, ref, side)

        after = await venue.provider.balance(ref)
        assert (fill.side, fill.price, fill.is_close, fill.is_liquidation) == (order_side, Decimal(price), False, False)
        step = venue.pair.size_step
        assert fill.quantity == fill.size_left == Decimal(1000) / price // step * step
        assert (fill.pnl, fill.margin_left) == (Decimal(0), Decimal(100))
        assert after.locked - before.locked == 100
        assert before.free - after.free == 100 + fill.fee
        assert abs(fill.liquidation_price - price) < Decimal(price) / 10

    async def test_an_accepted_order_has_a_hash_and_a_trade_index(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()

        result = await open_trade(venue, await opening(venue, ref))

        assert result.transaction_hash is not None
        assert result.transaction_hash.startswith("0x")
        assert result.venue_trade_index == result.fills[0].venue_trade_index
        assert result.fills[0].venue_account_id == ref.venue_account_id

    async def test_lists_open_positions_of_the_accounts_asked_for(self, venue: VenueUnderTest) -> None:
        mine, other = await venue.new_account(), await venue.new_account()
        fill = await open_position(venue, mine, SHORT)
        await open_position(venue, other)

        (position,) = await venue.provider.open_positions([mine])

        assert (position.venue_account_id, position.venue_trade_index) == (
            mine.venue_account_id,
            fill.venue_trade_index,
        )
        assert (position.pair_id, position.side, position.size) == (venue.pair.id, SHORT, fill.quantity)
        assert (position.entry_price, position.margin) == (fill.price, Decimal(100))
        assert position.liquidation_price == fill.liquidation_price
        assert len(await venue.provider.open_positions([mine, other])) == 2

    async def test_closes_a_whole_position(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        before = await venue.provider.balance(ref)
        opened = await open_position(venue, ref)
        await venue.quote("105", "106")

        result = await close_trade(venue, await closing(venue, opened, ref))

        (fill,) = result.fills
        after = await venue.provider.balance(ref)
        assert (result.outcome, fill.is_close, fill.side) == (VenueOutcome.FILLED, True, OrderSide.SELL)
        assert (fill.price, fill.quantity, fill.size_left, fill.margin_left) == (
            Decimal(105),
            opened.quantity,
            ZERO,
            ZERO,
        )
        assert Decimal(0) <= opened.quantity * 4 - fill.pnl < Decimal("0.000001")
        assert after.free - before.free == fill.pnl - fill.fee - opened.fee
        assert after.locked == before.locked
        assert await venue.provider.open_positions([ref]) == []

    async def test_closes_a_part_and_leaves_the_rest(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref)
        part = opened.quantity * 2 // 5 // venue.pair.size_step * venue.pair.size_step

        result = await close_trade(venue, await closing(venue, opened, ref, size=part))

        (fill,) = result.fills
        (position,) = await venue.provider.open_positions([ref])
        assert (fill.quantity, fill.size_left) == (part, opened.quantity - part)
        assert (position.size, position.margin) == (fill.size_left, fill.margin_left)
        assert abs(fill.margin_left - 100 * fill.size_left / opened.quantity) <= Decimal("0.000001")

    async def test_never_closes_more_than_there_is(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref)

        result = await close_trade(venue, await closing(venue, opened, ref, size=opened.quantity * 3))
        again = await close_trade(venue, await closing(venue, opened, ref))

        assert [fill.quantity for fill in result.fills] == [opened.quantity]
        assert again.outcome is VenueOutcome.REJECTED
        assert await venue.provider.open_positions([ref]) == []

    async def test_a_limit_rests_until_it_is_cancelled(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        before = await venue.provider.balance(ref)
        params = await opening(venue, ref, price="95")

        result = await open_trade(venue, params)
        reserved = await venue.provider.balance(ref)
        cancelled = await settled(venue, ref, await venue.provider.cancel_order(ref, params.client_id))

        assert (result.outcome, result.fills) == (VenueOutcome.RESTING, ())
        assert reserved.free <= before.free - 100
        assert cancelled.outcome is VenueOutcome.CANCELLED
        assert await venue.provider.balance(ref) == before
        await venue.quote("90", "91")
        known = await venue.provider.query(ref, params.client_id)
        assert known is not None
        assert known.outcome is VenueOutcome.CANCELLED
        assert await venue.provider.open_positions([ref]) == []

    @pytest.mark.parametrize(
        ("side", "limit", "near", "through"),
        [(LONG, "95", ("95", "96"), ("94", "95")), (SHORT, "105", ("104", "105"), ("105", "106"))],
    )
    async def test_a_limit_fills_at_its_price_once_the_quote_reaches_it(
        self, venue: VenueUnderTest, side: PositionSide, limit: str, near: tuple[str, str], through: tuple[str, str]
    ) -> None:
        ref = await venue.new_account()
        params = await opening(venue, ref, side=side, price=limit)
        await open_trade(venue, params)

        await venue.quote(*near)
        waiting = await venue.provider.query(ref, params.client_id)
        await venue.quote(*through)
        filled = await venue.provider.query(ref, params.client_id)

        assert waiting is not None
        assert waiting.outcome is VenueOutcome.RESTING
        assert filled is not None
        assert (filled.outcome, filled.fills[0].price) == (VenueOutcome.FILLED, Decimal(limit))
        assert filled.fills[0].client_id == params.client_id
        assert len(await venue.provider.open_positions([ref])) == 1

    async def test_a_marketable_limit_fills_at_the_quote(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()

        result = await open_trade(venue, await opening(venue, ref, price="103"))

        assert [fill.price for fill in result.fills] == [101]

    async def test_cancelling_what_is_filled_tells_the_fill(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        params = await opening(venue, ref, price="95")
        await open_trade(venue, params)
        await venue.quote("94", "95")

        result = await settled(venue, ref, await venue.provider.cancel_order(ref, params.client_id))

        assert result.outcome is VenueOutcome.FILLED
        assert len(result.fills) == 1
        assert len(await venue.provider.open_positions([ref])) == 1

    async def test_tells_its_listener_of_fills_that_nobody_waited_for(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        told: list[VenueFill] = []

        async def listen(fill: VenueFill) -> None:
            told.append(fill)

        venue.provider.on_fill(listen)
        params = await opening(venue, ref, price="95")
        await open_trade(venue, params)
        await venue.quote("94", "95")

        filled = await venue.provider.query(ref, params.client_id)
        assert filled is not None
        assert [fill for fill in told if fill.client_id == params.client_id] == list(filled.fills)

    async def test_the_same_client_id_is_executed_once(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        params = await opening(venue, ref)
        first = await open_trade(venue, params)

        again = await open_trade(venue, params)
        known = await venue.provider.query(ref, params.client_id)

        assert first == again == known
        assert len(await venue.provider.open_positions([ref])) == 1
        assert len(await venue.provider.fills_since(ref, LONG_AGO)) == 1

    async def test_the_same_close_is_executed_once(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref)
        half = opened.quantity // 2 // venue.pair.size_step * venue.pair.size_step
        params = await closing(venue, opened, ref, size=half)

        first = await close_trade(venue, params)
        again = await close_trade(venue, params)

        (position,) = await venue.provider.open_positions([ref])
        assert first == again
        assert position.size == opened.quantity - half

    async def test_refuses_after_its_deadline(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref)
        before = await venue.provider.balance(ref)

        late_open = await open_trade(venue, await opening(venue, ref, seconds=-0.001))
        late_close = await close_trade(venue, await closing(venue, opened, ref, seconds=-0.001))

        for result in (late_open, late_close):
            assert (result.outcome, result.reason) == (VenueOutcome.REJECTED, "EXPIRED_REQUEST")
        assert await venue.provider.balance(ref) == before
        assert len(await venue.provider.open_positions([ref])) == 1

    async def test_refuses_what_the_balance_does_not_cover(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        before = await venue.provider.balance(ref)
        params = await opening(venue, ref, collateral="900000")

        result = await open_trade(venue, params)

        assert (result.outcome, result.reason) == (VenueOutcome.REJECTED, "INSUFFICIENT_BALANCE")
        assert (result.fills, result.venue_trade_index) == ((), None)
        assert await venue.provider.query(ref, params.client_id) == result
        assert await venue.provider.balance(ref) == before

    @pytest.mark.parametrize(("side", "reference"), [(LONG, "100"), (SHORT, "101")])
    async def test_refuses_a_price_worse_than_allowed(
        self, venue: VenueUnderTest, side: PositionSide, reference: str
    ) -> None:
        ref = await venue.new_account()
        strict = await opening(venue, ref, side=side, reference_price=reference, max_slippage="0.005")
        lenient = await opening(venue, ref, side=side, reference_price=reference, max_slippage="0.01")

        refused, taken = await open_trade(venue, strict), await open_trade(venue, lenient)

        assert (refused.outcome, refused.reason) == (VenueOutcome.REJECTED, "SLIPPAGE_EXCEEDED")
        assert taken.outcome is VenueOutcome.FILLED

    async def test_a_closed_market_trades_nothing_and_lets_limits_wait(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref)
        await venue.set_open(is_open=False)

        market = await open_trade(venue, await opening(venue, ref))
        close = await close_trade(venue, await closing(venue, opened, ref))
        limit = await opening(venue, ref, price="103")
        resting = await open_trade(venue, limit)
        await venue.set_open(is_open=True)
        await venue.quote("100", "101")
        filled = await venue.provider.query(ref, limit.client_id)

        assert (market.outcome, market.reason) == (VenueOutcome.REJECTED, "MARKET_CLOSED")
        assert (close.outcome, close.reason) == (VenueOutcome.REJECTED, "MARKET_CLOSED")
        assert resting.outcome is VenueOutcome.RESTING
        assert filled is not None
        assert filled.outcome is VenueOutcome.FILLED

    async def test_knows_nothing_of_a_client_id_it_never_saw(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()

        assert await venue.provider.query(ref, next_client_id()) is None

    async def test_does_not_tell_one_account_of_anothers_orders(self, venue: VenueUnderTest) -> None:
        mine, other = await venue.new_account(), await venue.new_account()
        params = await opening(venue, mine, price="95")
        await open_trade(venue, params)

        assert await venue.provider.query(other, params.client_id) is None
        cancelled = await venue.provider.cancel_order(other, params.client_id)
        assert cancelled.outcome is VenueOutcome.REJECTED
        known = await venue.provider.query(mine, params.client_id)
        assert known is not None
        assert known.outcome is VenueOutcome.RESTING

    async def test_does_not_close_anothers_position(self, venue: VenueUnderTest) -> None:
        mine, other = await venue.new_account(), await venue.new_account()
        opened = await open_position(venue, mine)

        result = await close_trade(venue, await closing(venue, opened, other))

        assert result.outcome is VenueOutcome.REJECTED
        assert len(await venue.provider.open_positions([mine])) == 1

    async def test_tells_executions_oldest_first_from_an_instant_on(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref)
        result = await close_trade(venue, await closing(venue, opened, ref))
        (closed,) = result.fills

        assert await venue.provider.fills_since(ref, LONG_AGO) == [opened, closed]
        assert await venue.provider.fills_since(ref, closed.at) == [closed]
        assert await venue.provider.fills_since(ref, closed.at + timedelta(seconds=1)) == []

    async def test_an_exit_closes_at_the_quote_once_the_mark_reaches_a_level(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref)
        params = await exit_params(venue, opened, ref, stop_price="95", take_profit_price="110")

        placed = await venue.provider.place_exit(params)
        if not venue.provider.capabilities.native_exits:
            assert (placed.outcome, placed.reason) == (VenueOutcome.REJECTED, "NOT_SUPPORTED")
            return
        await venue.quote("96", "97")
        waiting = await venue.provider.query(ref, params.client_id)
        await venue.quote("94.5", "95.5")
        filled = await venue.provider.query(ref, params.client_id)

        assert (placed.outcome, placed.fills) == (VenueOutcome.RESTING, ())
        assert waiting is not None
        assert waiting.outcome is VenueOutcome.RESTING
        assert filled is not None
        assert [(fill.price, fill.is_close) for fill in filled.fills] == [(Decimal("94.5"), True)]
        assert await venue.provider.open_positions([ref]) == []

    async def test_an_exit_takes_a_profit_of_the_size_it_is_for(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref, SHORT)
        half = opened.quantity // 2 // venue.pair.size_step * venue.pair.size_step
        params = await exit_params(venue, opened, ref, size=half, take_profit_price="90")
        placed = await venue.provider.place_exit(params)
        if placed.reason == "NOT_SUPPORTED":
            return

        await venue.quote("89", "91")
        filled = await venue.provider.query(ref, params.client_id)

        assert filled is not None
        assert [(fill.price, fill.quantity) for fill in filled.fills] == [(Decimal(91), half)]
        (position,) = await venue.provider.open_positions([ref])
        assert position.size == opened.quantity - half

    async def test_an_exit_is_cancelled_by_request_and_with_its_position(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref)
        first = await exit_params(venue, opened, ref, stop_price="95")
        second = await exit_params(venue, opened, ref, stop_price="94")
        placed = [await venue.provider.place_exit(params) for params in (first, second)]
        if placed[0].reason == "NOT_SUPPORTED":
            return

        cancelled = await settled(venue, ref, await venue.provider.cancel_order(ref, first.client_id))
        await close_trade(venue, await closing(venue, opened, ref))
        await venue.quote("90", "91")
        gone = await venue.provider.query(ref, second.client_id)

        assert cancelled.outcome is VenueOutcome.CANCELLED
        assert gone is not None
        assert (gone.outcome, gone.fills) == (VenueOutcome.CANCELLED, ())

    @pytest.mark.parametrize(
        ("levels", "reason"),
        [
            ({"stop_price": "105"}, "STOP_WRONG_SIDE"),
            ({"take_profit_price": "95"}, "TAKE_PROFIT_WRONG_SIDE"),
            ({}, "MISSING_FIELD"),
        ],
    )
    async def test_refuses_an_exit_that_would_fire_at_once_or_is_none(
        self, venue: VenueUnderTest, levels: dict[str, str], reason: str
    ) -> None:
        ref = await venue.new_account()
        opened = await open_position(venue, ref)

        result = await venue.provider.place_exit(await exit_params(venue, opened, ref, **levels))  # type: ignore[arg-type]

        is_held = venue.provider.capabilities.native_exits
        assert (result.outcome, result.reason) == (VenueOutcome.REJECTED, reason if is_held else "NOT_SUPPORTED")

    async def test_a_second_opening_adds_to_the_position_where_the_venue_nets(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        first = await open_position(venue, ref)
        second = await open_position(venue, ref)

        positions = await venue.provider.open_positions([ref])
        opposite = await open_trade(venue, await opening(venue, ref, side=SHORT))
        faster = await open_trade(venue, await opening(venue, ref, leverage=20))

        if not venue.provider.capabilities.netting:
            assert [position.size for position in positions] == [first.quantity, second.quantity]
            assert (opposite.outcome, faster.outcome) == (VenueOutcome.FILLED, VenueOutcome.FILLED)
            return
        assert [(position.size, position.margin) for position in positions] == [(second.size_left, Decimal(200))]
        assert second.size_left == first.quantity + second.quantity
        assert second.venue_trade_index == first.venue_trade_index
        assert (opposite.outcome, opposite.reason) == (VenueOutcome.REJECTED, "POSITION_CONFLICT")
        assert (faster.outcome, faster.reason) == (VenueOutcome.REJECTED, "LEVERAGE_CONFLICT")
        assert await venue.provider.open_positions([ref]) == positions

    async def test_tells_of_no_funding_where_none_was_due(self, venue: VenueUnderTest) -> None:
        ref = await venue.new_account()
        await open_position(venue, ref)

        assert await venue.provider.funding_since(ref, LONG_AGO) == []
