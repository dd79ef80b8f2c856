"""The paper venue that nets: one position for each account and pair, whoever adds to it, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.domain.enums import PositionSide
from app.domain.positions import average_entry, liquidation_price
from app.domain.trading import TradeResult, VenueFill, VenueOutcome, VenuePosition, VenueRef
from tests.venues import LONG_AGO, TERMS, PaperVenue, closing, exit_params, opening, paper_venue

CANCELLED, FILLED, REJECTED = VenueOutcome.CANCELLED, VenueOutcome.FILLED, VenueOutcome.REJECTED
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
MAINTENANCE = Decimal("0.01")

type Make = Callable[..., Awaitable[PaperVenue]]


@pytest_asyncio.fixture
async def netted_with(container: Container) -> AsyncIterator[Make]:
    """Makes venues that net; their books must balance after the test."""
    async with AsyncExitStack() as stack:

        async def make(**terms: object) -> PaperVenue:
            values = replace(TERMS, netting=True, **terms)  # type: ignore[arg-type]
            venue = await stack.enter_async_context(paper_venue(container, values))
            venues.append(venue)
            return venue

        venues: list[PaperVenue] = []
        yield make
        for venue in venues:
            await venue.commit()
            await venue.assert_books_balance()


@pytest_asyncio.fixture
async def netted(netted_with: Make) -> PaperVenue:
    """A venue that nets, and is ordinary otherwise."""
    return await netted_with()


async def opened(venue: PaperVenue, ref: VenueRef, **values: object) -> VenueFill:
    result = await venue.provider.open_trade(await opening(venue, ref, **values))  # type: ignore[arg-type]
    assert result.outcome is FILLED, result
    (fill,) = result.fills
    return fill


async def held(venue: PaperVenue, ref: VenueRef) -> VenuePosition:
    """The one position there is."""
    (position,) = await venue.provider.open_positions([ref])
    return position


async def asked(venue: PaperVenue, ref: VenueRef, client_id: int) -> TradeResult:
    result = await venue.provider.query(ref, client_id)
    assert result is not None
    return result


@pytest.mark.parametrize("side", [LONG, SHORT])
async def test_size_and_margin_add_up_and_the_entry_is_averaged(netted: PaperVenue, side: PositionSide) -> None:
    ref = await netted.new_account()
    first = await opened(netted, ref, side=side)
    await netted.quote("103", "104")
    second = await opened(netted, ref, side=side, collateral="77.777777")

    position = await held(netted, ref)

    entry = average_entry(side, first.quantity, first.price, second.quantity, second.price)
    size, margin = first.quantity + second.quantity, Decimal("177.777777")
    assert second.venue_trade_index == first.venue_trade_index == position.venue_trade_index
    assert (position.size, position.entry_price, position.margin) == (size, entry, margin)
    assert position.liquidation_price == liquidation_price(side, size, entry, margin, MAINTENANCE)
    assert (second.size_left, second.margin_left) == (size, margin)
    assert second.liquidation_price == position.liquidation_price


async def test_positions_of_others_are_none_of_its_business(netted: PaperVenue) -> None:
    mine, other = await netted.new_account(), await netted.new_account()
    fills = [await opened(netted, mine), await opened(netted, other, side=SHORT, leverage=20)]

    assert len({fill.venue_trade_index for fill in fills}) == 2


@pytest.mark.parametrize(
    ("asked_for", "reason"), [({"side": SHORT}, "POSITION_CONFLICT"), ({"leverage": 20}, "LEVERAGE_CONFLICT")]
)
@pytest.mark.parametrize("price", [None, "100.5"])
async def test_what_conflicts_is_refused_as_it_arrives(
    netted: PaperVenue, asked_for: dict[str, object], reason: str, price: str | None
) -> None:
    ref = await netted.new_account()
    await opened(netted, ref)
    before = await netted.provider.balance(ref)

    params = await opening(netted, ref, price=price, **asked_for)  # type: ignore[arg-type]
    result = await netted.provider.open_trade(params)

    assert (result.outcome, result.reason, result.fills) == (REJECTED, reason, ())
    assert await netted.provider.balance(ref) == before


async def test_a_closed_position_conflicts_with_nothing(netted: PaperVenue) -> None:
    ref = await netted.new_account()
    first = await opened(netted, ref)
    params = await closing(netted, first, ref)
    await netted.provider.close_trade(ref.pair_id, first.venue_trade_index, params)

    second = await opened(netted, ref, side=SHORT, leverage=20)

    assert second.venue_trade_index != first.venue_trade_index


async def test_closes_take_their_own_size_against_the_average_entry(netted: PaperVenue) -> None:
    ref = await netted.new_account()
    first = await opened(netted, ref)
    await netted.quote("109", "111")
    second = await opened(netted, ref)
    entry = (await held(netted, ref)).entry_price

    result = await netted.provider.close_trade(ref.pair_id, first.venue_trade_index, await closing(netted, first, ref))
    rest = await netted.provider.close_trade(ref.pair_id, first.venue_trade_index, await closing(netted, second, ref))

    (fill,), (last,) = result.fills, rest.fills
    assert fill.quantity == first.quantity
    assert 0 <= first.quantity * (109 - entry) - fill.pnl < Decimal("0.000001")
    assert (last.quantity, last.size_left, last.margin_left) == (second.quantity, Decimal(0), Decimal(0))
    assert await netted.provider.open_positions([ref]) == []


async def test_a_liquidation_takes_the_whole_at_the_new_price(netted: PaperVenue) -> None:
    ref = await netted.new_account()
    first = await opened(netted, ref)
    await netted.quote("109", "111")
    second = await opened(netted, ref)
    level = (await held(netted, ref)).liquidation_price
    assert first.liquidation_price < Decimal(94) < Decimal(96) < level < Decimal(97)

    await netted.quote("97", "97.1")
    netted.tick("95.5", "96")
    (fill,) = await netted.commit()

    assert (fill.client_id, fill.is_liquidation) == (None, True)
    assert fill.quantity == first.quantity + second.quantity
    assert fill.pnl - fill.fee == -200


async def test_an_addition_that_saves_a_position_comes_too_late_for_a_tick_before_it(netted: PaperVenue) -> None:
    ref = await netted.new_account()
    first = await opened(netted, ref)
    netted.tick("91", "92")
    netted.tick("100", "101")

    second = await opened(netted, ref)

    fills = await netted.provider.fills_since(ref, LONG_AGO)
    assert [fill.is_liquidation for fill in fills] == [False, True, False]
    assert second.venue_trade_index != first.venue_trade_index
    assert (await held(netted, ref)).size == second.quantity


async def test_additions_at_once_are_one_position(netted: PaperVenue) -> None:
    ref = await netted.new_account()

    fills = await asyncio.gather(*(opened(netted, ref) for _ in range(6)))

    assert len({fill.venue_trade_index for fill in fills}) == 1
    position = await held(netted, ref)
    assert (position.size, position.margin) == (sum(fill.quantity for fill in fills), Decimal(600))
    netted.tick("91", "92")
    assert [fill.quantity for fill in await netted.commit()] == [position.size]


async def test_both_sides_at_once_open_one_of_them(netted: PaperVenue) -> None:
    ref = await netted.new_account()
    asks = [await opening(netted, ref, side=side) for side in (LONG, SHORT, LONG, SHORT)]

    results = await asyncio.gather(*(netted.provider.open_trade(params) for params in asks))

    position = await held(netted, ref)
    for params, result in zip(asks, results, strict=True):
        expected = (FILLED, None) if params.side is position.side else (REJECTED, "POSITION_CONFLICT")
        assert (result.outcome, result.reason) == expected


async def test_limits_fill_into_the_position(netted: PaperVenue) -> None:
    ref = await netted.new_account()
    limits = [await opening(netted, ref, price=price) for price in ("99", "98.5", "98")]
    for params in limits:
        await netted.provider.open_trade(params)

    netted.tick("98", "98.5")
    fills = await netted.commit()
    market = await opened(netted, ref)

    assert [fill.client_id for fill in fills] == [limits[0].client_id, limits[1].client_id]
    assert len({fill.venue_trade_index for fill in (*fills, market)}) == 1
    assert (await held(netted, ref)).size == market.size_left == sum(f.quantity for f in (*fills, market))


@pytest.mark.parametrize(
    ("asked_for", "reason"), [({"side": SHORT}, "POSITION_CONFLICT"), ({"leverage": 20}, "LEVERAGE_CONFLICT")]
)
@pytest.mark.parametrize("fill_parts", [1, 2])
async def test_a_limit_that_conflicts_as_it_fills_is_cancelled(
    netted_with: Make, asked_for: dict[str, object], reason: str, fill_parts: int
) -> None:
    netted = await netted_with(fill_parts=fill_parts)
    ref = await netted.new_account()
    price = "102" if asked_for.get("side") is SHORT else "99"
    params = await opening(netted, ref, price=price, **asked_for)  # type: ignore[arg-type]
    await netted.provider.open_trade(params)
    await netted.provider.open_trade(await opening(netted, ref))
    await netted.quote("100", "101")
    before = await held(netted, ref)

    await netted.quote("102.5" if price == "102" else "98", "103" if price == "102" else "98.5")

    result = await asked(netted, ref, params.client_id)
    assert (result.outcome, result.reason, result.fills) == (CANCELLED, reason, ())
    assert (await netted.provider.balance(ref)).locked == 100
    assert await held(netted, ref) == before


async def test_limits_that_conflict_with_each_other_are_decided_by_who_came_first(netted: PaperVenue) -> None:
    ref = await netted.new_account()
    limits = [await opening(netted, ref, price="99", leverage=leverage) for leverage in (10, 20, 10)]
    for params in limits:
        await netted.provider.open_trade(params)

    await netted.quote("98", "99")

    results = [await asked(netted, ref, params.client_id) for params in limits]
    assert [result.outcome for result in results] == [FILLED, CANCELLED, FILLED]
    assert len({result.venue_trade_index for result in results if result.fills}) == 1


async def test_orders_that_settle_later_meet_what_is_open_then(netted_with: Make) -> None:
    netted = await netted_with(settle_ticks=2, fill_parts=2)
    ref = await netted.new_account()
    long, short = await opening(netted, ref), await opening(netted, ref, side=SHORT)
    for params in (long, short):
        assert (await netted.provider.open_trade(params)).outcome is VenueOutcome.ACCEPTED
    more = await opening(netted, ref)
    await netted.provider.open_trade(more)
    for _ in range(5):
        await netted.quote("100", "101")

    results = [await asked(netted, ref, params.client_id) for params in (long, short, more)]

    assert [(result.outcome, result.reason) for result in results] == [
        (FILLED, None),
        (REJECTED, "POSITION_CONFLICT"),
        (FILLED, None),
    ]
    sizes = sum(fill.quantity for result in results for fill in result.fills)
    assert ((await held(netted, ref)).size, (await netted.provider.balance(ref)).locked) == (sizes, Decimal(200))


async def test_a_funding_is_on_what_was_open_before_its_tick(netted_with: Make) -> None:
    netted = await netted_with(funding_rate=Decimal("0.001"), funding_seconds=3600)
    await netted.commit()
    ref = await netted.new_account()
    first = await opened(netted, ref)
    netted.board.clock.set(netted.board.clock.now() + timedelta(hours=1))
    tick = netted.tick("100", "101")
    second = await opened(netted, ref)

    (funding,) = await netted.provider.funding_since(ref, LONG_AGO)

    assert (funding.venue_trade_index, funding.size) == (second.venue_trade_index, first.quantity)
    assert funding.sequence == tick.sequence
    assert second.size_left == first.quantity + second.quantity


async def test_exits_at_the_venue_are_for_their_own_size(netted_with: Make) -> None:
    netted = await netted_with(native_exits=True)
    ref = await netted.new_account()
    first, second = await opened(netted, ref), await opened(netted, ref, collateral="50")
    exits = [
        await exit_params(netted, first, ref, stop_price="96"),
        await exit_params(netted, second, ref, stop_price="95"),
    ]
    for params in exits:
        await netted.provider.place_exit(params)

    await netted.quote("95.5", "96.5")
    position = await held(netted, ref)
    await netted.quote("94.5", "95.5")

    assert position.size == second.quantity
    results = [await asked(netted, ref, params.client_id) for params in exits]
    assert [[fill.quantity for fill in result.fills] for result in results] == [[first.quantity], [second.quantity]]
    assert await netted.provider.open_positions([ref]) == []


async def test_what_other_processes_added_moves_the_level_that_is_watched(netted: PaperVenue) -> None:
    """The holder of the lease takes up what another process did to a position that it watches."""
    ref = await netted.new_account()
    first = await opened(netted, ref)
    other = netted.restarted()
    await netted.quote("109", "111")
    second = await opened(other, ref)
    level = (await held(netted, ref)).liquidation_price

    await netted.provider.market.catch_up()
    await netted.provider.market.catch_up()
    fatal = netted.tick(level, level)
    (fill,) = await netted.commit()

    assert first.liquidation_price < level
    assert (fill.sequence, fill.is_liquidation) == (fatal.sequence, True)
    assert fill.quantity == first.quantity + second.quantity


async def test_what_other_processes_let_work_is_taken_up(netted_with: Make) -> None:
    netted = await netted_with(settle_ticks=1, fill_parts=3)
    ref = await netted.new_account()
    params = await opening(netted.restarted(), ref)
    await netted.restarted().provider.open_trade(params)
    netted.tick("100", "101")

    await netted.provider.market.catch_up()
    await netted.provider.market.catch_up()
    for _ in range(2):
        netted.tick("100", "101")
    fills = await netted.commit()

    assert [fill.sequence for fill in fills] == [2, 3, 4]
    assert (await asked(netted, ref, params.client_id)).outcome is FILLED


async def test_a_level_that_another_process_raised_is_not_crossed_by_ticks_before_it(netted: PaperVenue) -> None:
    """A tick crossed the old level, unbooked; what is added at a later tick commits first, and that level counts."""
    ref = await netted.new_account()
    first = await opened(netted, ref)
    netted.tick("91", "92")
    netted.tick("100", "101")
    second = await opened(netted.restarted(), ref)

    assert await netted.commit() == []

    position = await held(netted, ref)
    assert position.size == first.quantity + second.quantity
    fatal = netted.tick("91", "92")
    assert [fill.sequence for fill in await netted.commit()] == [fatal.sequence]


async def test_a_restart_watches_the_position_as_it_is(netted: PaperVenue) -> None:
    ref = await netted.new_account()
    await opened(netted, ref)
    await netted.quote("109", "111")
    await opened(netted, ref)
    level = (await held(netted, ref)).liquidation_price

    after = netted.restarted()
    await after.start()
    after.tick(level, level)

    assert [fill.is_liquidation for fill in await after.commit()] == [True]
