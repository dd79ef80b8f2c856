"""Orders that settle later and in parts: which tick fills them, what each part costs, and how they end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.domain.enums import PositionSide
from app.domain.positions import part_of
from app.domain.trading import TradeResult, VenueFill, VenueOutcome, VenueRef
from tests.venues import LONG_AGO, TERMS, PaperVenue, closing, next_client_id, opening, paper_venue

ACCEPTED, PART, FILLED = VenueOutcome.ACCEPTED, VenueOutcome.PARTIALLY_FILLED, VenueOutcome.FILLED
CANCELLED, REJECTED, RESTING = VenueOutcome.CANCELLED, VenueOutcome.REJECTED, VenueOutcome.RESTING
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT

type Make = Callable[..., Awaitable[PaperVenue]]


@pytest_asyncio.fixture
async def venue_with(container: Container) -> AsyncIterator[Make]:
    """Makes venues of other terms; their books must balance after the test."""
    async with AsyncExitStack() as stack:

        async def make(**terms: object) -> PaperVenue:
            venue = await stack.enter_async_context(paper_venue(container, replace(TERMS, **terms)))  # type: ignore[arg-type]
            venues.append(venue)
            return venue

        venues: list[PaperVenue] = []
        yield make
        for venue in venues:
            await venue.commit()
            await venue.assert_books_balance()


async def asked(venue: PaperVenue, ref: VenueRef, client_id: int) -> TradeResult:
    result = await venue.provider.query(ref, client_id)
    assert result is not None
    return result


async def opened(venue: PaperVenue, ref: VenueRef, leverage: int = 10) -> list[VenueFill]:
    """Open 100 USDC and let every part fill at 100 / 101."""
    params = await opening(venue, ref, leverage=leverage)
    await venue.provider.open_trade(params)
    for _ in range(10):
        await venue.quote("100", "101")
    result = await asked(venue, ref, params.client_id)
    assert result.outcome is FILLED
    return list(result.fills)


def whole(fills: list[VenueFill]) -> VenueFill:
    """One fill that stands for all of them."""
    return replace(fills[-1], quantity=sum((fill.quantity for fill in fills), Decimal(0)))


def told_to(venue: PaperVenue) -> list[VenueFill]:
    told: list[VenueFill] = []

    async def listen(fill: VenueFill) -> None:
        told.append(fill)

    venue.provider.on_fill(listen)
    return told


async def test_an_accepted_order_fills_at_the_quote_of_its_tick(venue_with: Make) -> None:
    venue = await venue_with(settle_ticks=3)
    ref = await venue.new_account()
    told = told_to(venue)
    params = await opening(venue, ref)

    accepted = await venue.provider.open_trade(params)
    reserved = await venue.provider.balance(ref)
    for price in ("102", "103"):
        await venue.quote(price, price)
        assert (await asked(venue, ref, params.client_id)).outcome is ACCEPTED
    tick = venue.tick("104", "105")
    await venue.commit()

    filled = await asked(venue, ref, params.client_id)
    (fill,) = filled.fills
    assert (accepted.outcome, accepted.fills, accepted.venue_trade_index) == (ACCEPTED, (), None)
    assert reserved.locked > 100
    assert (filled.outcome, fill.price, fill.sequence, fill.is_last) == (FILLED, Decimal(105), tick.sequence, True)
    assert fill.quantity == Decimal(1000) / 105 // Decimal("0.000001") * Decimal("0.000001")
    assert (await venue.provider.balance(ref)).locked == 100
    assert told == [fill]


async def test_a_close_settles_later_too(venue_with: Make) -> None:
    venue = await venue_with(settle_ticks=1)
    ref = await venue.new_account()
    (fill,) = await opened(venue, ref)

    params = await closing(venue, fill, ref)
    accepted = await venue.provider.close_trade(ref.pair_id, fill.venue_trade_index, params)
    await venue.quote("110", "111")

    closed = await asked(venue, ref, params.client_id)
    assert accepted.outcome is ACCEPTED
    assert (closed.outcome, closed.fills[0].price, closed.fills[0].is_close) == (FILLED, Decimal(110), True)
    assert await venue.provider.open_positions([ref]) == []


async def test_parts_fill_at_consecutive_ticks_and_grow_one_position(venue_with: Make) -> None:
    venue = await venue_with(fill_parts=3)
    ref = await venue.new_account()
    params = await opening(venue, ref)

    first = await venue.provider.open_trade(params)
    await venue.quote("101", "102")
    second = await asked(venue, ref, params.client_id)
    await venue.quote("102", "103")
    third = await asked(venue, ref, params.client_id)

    size = Decimal(1000) / 101 // Decimal("0.000001") * Decimal("0.000001")
    assert [result.outcome for result in (first, second, third)] == [PART, PART, FILLED]
    assert [fill.price for fill in third.fills] == [101, 102, 103]
    assert third.fills[:2] == second.fills
    assert [fill.is_last for fill in third.fills] == [False, False, True]
    assert len({fill.fill_id for fill in third.fills}) == 3
    assert sum(fill.quantity for fill in third.fills) == size
    assert max(fill.quantity for fill in third.fills) - min(fill.quantity for fill in third.fills) < Decimal("0.000003")
    assert [fill.size_left for fill in third.fills][-1] == size
    (position,) = await venue.provider.open_positions([ref])
    assert (position.size, position.margin) == (size, Decimal(100))
    average = sum(fill.quantity * fill.price for fill in third.fills) / size
    assert Decimal(0) <= position.entry_price - average < Decimal("1e-17")
    assert position.liquidation_price == third.fills[-1].liquidation_price
    balance = await venue.provider.balance(ref)
    assert balance.locked == 100
    assert balance.free == 10_000 - 100 - sum(fill.fee for fill in third.fills)
    assert await venue.provider.fills_since(ref, LONG_AGO) == list(third.fills)


async def test_a_limit_fills_in_parts_while_the_quote_is_there(venue_with: Make) -> None:
    venue = await venue_with(fill_parts=2)
    ref = await venue.new_account()
    params = await opening(venue, ref, price="95")
    resting = await venue.provider.open_trade(params)

    await venue.quote("94", "95")
    await venue.quote("95", "96")
    waiting = await asked(venue, ref, params.client_id)
    await venue.quote("90", "91")
    filled = await asked(venue, ref, params.client_id)

    assert (resting.outcome, waiting.outcome, len(waiting.fills)) == (RESTING, PART, 1)
    assert (filled.outcome, [fill.price for fill in filled.fills]) == (FILLED, [Decimal(95)] * 2)


async def test_the_rest_of_a_part_filled_order_is_cancelled(venue_with: Make) -> None:
    venue = await venue_with(fill_parts=4)
    ref = await venue.new_account()
    params = await opening(venue, ref)
    (fill,) = (await venue.provider.open_trade(params)).fills

    result = await venue.provider.cancel_order(ref, params.client_id)
    await venue.quote("100", "101")

    assert (result.outcome, result.fills) == (CANCELLED, (fill,))
    assert (await asked(venue, ref, params.client_id)).fills == (fill,)
    (position,) = await venue.provider.open_positions([ref])
    balance = await venue.provider.balance(ref)
    assert (position.margin, balance.locked) == (fill.margin_left, fill.margin_left)
    assert Decimal(0) <= 25 - fill.margin_left < Decimal("0.00001")
    assert balance.free == 10_000 - fill.margin_left - fill.fee


async def test_a_cancel_does_not_overtake_a_part_that_is_not_booked_yet(venue_with: Make) -> None:
    venue = await venue_with(fill_parts=3)
    ref = await venue.new_account()
    params = await opening(venue, ref)
    await venue.provider.open_trade(params)
    venue.tick("100", "101")

    result = await venue.provider.cancel_order(ref, params.client_id)

    assert (result.outcome, len(result.fills)) == (CANCELLED, 2)
    assert len((await asked(venue, ref, params.client_id)).fills) == 2


async def test_slippage_after_the_first_part_gives_up_the_rest(venue_with: Make) -> None:
    venue = await venue_with(fill_parts=2)
    ref = await venue.new_account()
    params = await opening(venue, ref, reference_price="101", max_slippage="0.01")
    await venue.provider.open_trade(params)

    await venue.quote("103", "104")
    result = await asked(venue, ref, params.client_id)

    assert (result.outcome, result.reason, len(result.fills)) == (CANCELLED, "SLIPPAGE_EXCEEDED", 1)
    assert (await venue.provider.balance(ref)).locked == 50


async def test_slippage_before_the_first_part_refuses_all_of_it(venue_with: Make) -> None:
    venue = await venue_with(settle_ticks=1)
    ref = await venue.new_account()
    before = await venue.provider.balance(ref)
    params = await opening(venue, ref, reference_price="101", max_slippage="0.01")
    await venue.provider.open_trade(params)

    await venue.quote("103", "104")
    result = await asked(venue, ref, params.client_id)

    assert (result.outcome, result.reason, result.fills) == (REJECTED, "SLIPPAGE_EXCEEDED", ())
    assert await venue.provider.balance(ref) == before


async def test_a_fee_that_the_balance_no_longer_covers_gives_up_the_rest(venue_with: Make) -> None:
    venue = await venue_with(fill_parts=2)
    ref = await venue.new_account()
    # Reserved is the fee at 101; all the rest is locked elsewhere, down to a few units.
    params = await opening(venue, ref, collateral="4000", leverage=50)
    await venue.provider.open_trade(params)
    free = (await venue.provider.balance(ref)).free
    other = await opening(venue, ref, collateral=str(int(free) - 3), leverage=1, price="50")
    assert (await venue.provider.open_trade(other)).outcome is RESTING

    await venue.quote("148", "149")
    result = await asked(venue, ref, params.client_id)

    assert (result.outcome, result.reason, len(result.fills)) == (CANCELLED, "INSUFFICIENT_BALANCE", 1)


async def test_a_liquidation_between_parts_ends_what_works_on_the_position(venue_with: Make) -> None:
    venue = await venue_with(settle_ticks=0, fill_parts=3)
    ref = await venue.new_account()
    entry = await opening(venue, ref)
    (fill,) = (await venue.provider.open_trade(entry)).fills
    close = await closing(venue, fill, ref, size=Decimal("0.3"))
    part = await venue.provider.close_trade(ref.pair_id, fill.venue_trade_index, close)

    await venue.quote("50", "51")

    ended, gone = await asked(venue, ref, close.client_id), await asked(venue, ref, entry.client_id)
    assert part.outcome is PART
    assert (ended.outcome, ended.reason, len(ended.fills)) == (CANCELLED, "POSITION_NOT_FOUND", 1)
    assert (gone.outcome, gone.reason, len(gone.fills)) == (CANCELLED, "POSITION_NOT_FOUND", 1)
    balance = await venue.provider.balance(ref)
    assert balance.locked == 0
    assert await venue.provider.open_positions([ref]) == []


async def test_a_close_that_waits_is_refused_when_its_position_is_gone(venue_with: Make) -> None:
    venue = await venue_with(settle_ticks=2)
    ref = await venue.new_account()
    (fill,) = await opened(venue, ref)
    close = await closing(venue, fill, ref)
    await venue.provider.close_trade(ref.pair_id, fill.venue_trade_index, close)

    await venue.quote("50", "51")
    result = await asked(venue, ref, close.client_id)

    assert (result.outcome, result.reason, result.fills) == (REJECTED, "POSITION_NOT_FOUND", ())


async def test_a_whole_close_ends_the_rest_of_its_entry(venue_with: Make) -> None:
    venue = await venue_with(fill_parts=2)
    ref = await venue.new_account()
    entry = await opening(venue, ref)
    (fill,) = (await venue.provider.open_trade(entry)).fills
    # One step at a time: so small a close has a single part.
    close = await closing(venue, fill, ref)
    await venue.provider.close_trade(ref.pair_id, fill.venue_trade_index, close)

    await venue.quote("100", "101")
    await venue.quote("100", "101")

    closed, ended = await asked(venue, ref, close.client_id), await asked(venue, ref, entry.client_id)
    sizes = [sum(fill.quantity for fill in result.fills) for result in (closed, ended)]
    positions = await venue.provider.open_positions([ref])
    assert closed.outcome is FILLED
    assert sum((position.size for position in positions), Decimal(0)) == sizes[1] - sizes[0]


async def test_two_closes_at_one_tick_never_close_more_than_there_is(venue_with: Make) -> None:
    venue = await venue_with(settle_ticks=1)
    ref = await venue.new_account()
    (fill,) = await opened(venue, ref)
    closes = [await closing(venue, fill, ref, size=fill.quantity * 3 / 5) for _ in range(2)]
    for close in closes:
        await venue.provider.close_trade(ref.pair_id, fill.venue_trade_index, close)

    await venue.quote("100", "101")

    results = [await asked(venue, ref, close.client_id) for close in closes]
    assert [result.outcome for result in results] == [FILLED, FILLED]
    assert sum(done.quantity for result in results for done in result.fills) == fill.quantity


async def test_a_grown_position_is_liquidated_at_its_new_price_by_the_first_tick_that_reaches_it(
    venue_with: Make,
) -> None:
    """Ticks come faster than they are booked: the old price was reached before the growth was known."""
    venue = await venue_with(fill_parts=2)
    ref = await venue.new_account()
    params = await opening(venue, ref, leverage=10)
    (first,) = (await venue.provider.open_trade(params)).fills
    told = told_to(venue)

    venue.tick("95", "96")
    quiet = first.liquidation_price - Decimal("0.01")
    venue.tick(quiet, quiet)
    fatal = venue.tick("80", "81")
    venue.tick("100", "101")
    await venue.commit()

    growth, liquidation = told[0], told[1]
    assert growth.liquidation_price < quiet
    assert (liquidation.is_liquidation, liquidation.sequence) == (True, fatal.sequence)
    assert liquidation.quantity == first.quantity + growth.quantity


async def test_a_restart_goes_on_with_the_parts_that_are_left(venue_with: Make) -> None:
    venue = await venue_with(settle_ticks=2, fill_parts=3)
    ref, twin = await venue.new_account(), await venue.new_account()
    orders = [await opening(venue, account) for account in (ref, twin)]
    for order in orders:
        await venue.provider.open_trade(order)
    for price in ("101", "102", "103"):
        venue.tick(price, price)
    await venue.commit()
    venue.tick("104", "104")
    lost = list(venue.matches)

    after = venue.restarted()
    await after.start()
    assert after.matches == lost
    await after.commit()
    after.tick("105", "105")
    await after.commit()

    results = [await asked(after, order.ref, order.client_id) for order in orders]
    for result in results:
        assert result.outcome is FILLED
        assert [fill.price for fill in result.fills] == [102, 103, 104]


async def test_booking_parts_twice_fills_once_and_tells_the_same(venue_with: Make) -> None:
    venue = await venue_with(settle_ticks=1, fill_parts=2)
    ref = await venue.new_account()
    params = await opening(venue, ref)
    await venue.provider.open_trade(params)
    venue.tick("100", "101")
    venue.tick("100", "101")
    matches = list(venue.matches)

    first = await venue.commit()
    again = await venue.provider.market.book(matches)

    result = await asked(venue, ref, params.client_id)
    assert [fill.fill_id for fill in again] == [fill.fill_id for fill in first]
    assert [fill.fill_id for fill in result.fills] == [fill.fill_id for fill in first]


async def test_the_same_client_id_works_once(venue_with: Make) -> None:
    venue = await venue_with(settle_ticks=1)
    ref = await venue.new_account()
    params = await opening(venue, ref, client_id=next_client_id())

    first, again = await venue.provider.open_trade(params), await venue.provider.open_trade(params)
    await venue.quote("100", "101")

    assert first == again
    assert len(await venue.provider.open_positions([ref])) == 1


@pytest.mark.parametrize(
    ("size", "parts", "expected"),
    [
        ("10", 3, ["3.33", "3.33", "3.34"]),
        ("0.02", 3, ["0.02"]),
        ("1", 1, ["1"]),
        ("0.05", 5, ["0.01"] * 5),
        ("0.09", 5, ["0.01", "0.01", "0.01", "0.01", "0.05"]),
    ],
)
def test_nearly_equal_parts_that_the_last_completes(size: str, parts: int, expected: list[str]) -> None:
    done: list[Decimal] = []
    filled = Decimal(0)
    while filled < Decimal(size):
        part = part_of(Decimal(size), filled, len(done), parts, Decimal("0.01"))
        done.append(part)
        filled += part

    assert done == [Decimal(part) for part in expected]
