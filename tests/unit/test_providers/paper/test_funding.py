"""Funding on paper: who pays at an instant of feed time, from what, and that it is booked once."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.domain.enums import PositionSide
from app.domain.ledger import LedgerAccount
from app.domain.money import ceil_to
from app.domain.prices import Tick
from app.domain.trading import TradeParams, VenueFill, VenueFunding, VenueRef
from app.repositories.engine_state_repository import EngineState
from tests.venues import LONG_AGO, TERMS, HandBoard, PaperVenue, closing, opening, paper_venue

HOUR = 3600
RATE = Decimal("0.001")
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


@pytest_asyncio.fixture
async def venue(container: Container) -> AsyncIterator[PaperVenue]:
    """A venue that funds each hour of feed time, at 12:00; its books must balance after the test."""
    async with paper_venue(container, replace(TERMS, funding_rate=RATE, funding_seconds=HOUR)) as paper:
        await paper.commit()
        yield paper
        await paper.commit()
        await paper.assert_books_balance()


async def opened(venue: PaperVenue, ref: VenueRef, side: PositionSide = LONG, leverage: int = 10) -> VenueFill:
    params = await opening(venue, ref, side=side, leverage=leverage)
    return (await venue.provider.open_trade(params)).fills[0]


def later(venue: PaperVenue, seconds: float, bid: str = "100", ask: str = "101") -> int:
    """The next tick, some time later; its sequence."""
    venue.board.clock.advance(seconds)
    return venue.tick(bid, ask).sequence


async def lock(venue: PaperVenue, ref: VenueRef) -> TradeParams:
    """An order that rests far away and reserves all of the balance but a few USDC: its fee is 0.05 %."""
    free = (await venue.provider.balance(ref)).free
    return await opening(venue, ref, leverage=1, price="0.5", collateral=str((free - 1) / Decimal("1.0005") // 1))


async def fundings(venue: PaperVenue, ref: VenueRef) -> list[VenueFunding]:
    return await venue.provider.funding_since(ref, LONG_AGO)


def up(value: Decimal) -> Decimal:
    """Rounded up to a base unit."""
    return ceil_to(value, Decimal("0.000001"))


async def test_a_long_pays_a_short_at_the_mark_of_the_first_tick_after_the_instant(venue: PaperVenue) -> None:
    payer, receiver = await venue.new_account(), await venue.new_account()
    long, short = await opened(venue, payer), await opened(venue, receiver, SHORT)
    before = [await venue.provider.balance(ref) for ref in (payer, receiver)]
    heard: list[VenueFunding] = []

    async def listen(funding: VenueFunding) -> None:
        heard.append(funding)

    venue.provider.on_funding(listen)
    instant = venue.board.clock.now() + timedelta(hours=1)

    later(venue, HOUR - 1, "102", "103")
    await venue.commit()
    assert await fundings(venue, payer) == []
    sequence = later(venue, 5, "104", "106")
    await venue.commit()

    (paid,), (received,) = await fundings(venue, payer), await fundings(venue, receiver)
    assert (paid.instant, paid.sequence, paid.mark_price) == (instant, sequence, Decimal(105))
    assert paid.amount == -up(long.quantity * 105 * RATE)
    assert received.amount == short.quantity * 105 * RATE // Decimal("0.000001") * Decimal("0.000001")
    after = [await venue.provider.balance(ref) for ref in (payer, receiver)]
    assert [now.free - then.free for now, then in zip(after, before, strict=True)] == [paid.amount, received.amount]
    assert [now.locked - then.locked for now, then in zip(after, before, strict=True)] == [0, 0]
    assert (paid.margin_left, paid.liquidation_price) == (long.margin_left, long.liquidation_price)
    assert {funding.venue_account_id: funding for funding in heard} == {
        payer.venue_account_id: paid,
        receiver.venue_account_id: received,
    }


async def test_an_instant_on_the_tick_itself_counts_and_is_not_counted_again(venue: PaperVenue) -> None:
    ref = await venue.new_account()
    await opened(venue, ref)

    for seconds in (HOUR, 1, 1):
        later(venue, seconds)
    await venue.commit()

    assert len(await fundings(venue, ref)) == 1


async def test_what_was_opened_at_the_tick_pays_nothing_and_what_was_closed_after_it_pays(venue: PaperVenue) -> None:
    """The closes are booked before the funding that came first: another process did them."""
    ref = await venue.new_account()
    half, gone = await opened(venue, ref), await opened(venue, ref)
    elsewhere = venue.restarted()
    later(venue, HOUR)
    late = await opened(elsewhere, ref)
    part = await closing(venue, half, ref, size=half.quantity / 2 // Decimal("0.000001") * Decimal("0.000001"))
    for fill, params in ((half, part), (gone, await closing(venue, gone, ref))):
        await elsewhere.provider.close_trade(ref.pair_id, fill.venue_trade_index, params)
    # What a process does at the very tick is after its funding.
    await venue.commit()

    paid = {funding.venue_trade_index: funding.size for funding in await fundings(venue, ref)}
    assert paid == {half.venue_trade_index: half.quantity, gone.venue_trade_index: gone.quantity}
    assert late.venue_trade_index not in paid


async def test_every_instant_of_a_jump_is_due(venue: PaperVenue) -> None:
    ref = await venue.new_account()
    fill = await opened(venue, ref)
    start = venue.board.clock.now()

    later(venue, 3 * HOUR + 10, "104", "106")
    await venue.commit()

    told = await fundings(venue, ref)
    assert [funding.instant for funding in told] == [start + timedelta(hours=n) for n in (1, 2, 3)]
    assert {funding.amount for funding in told} == {-up(fill.quantity * 105 * RATE)}


async def test_what_the_balance_lacks_comes_from_the_margin_and_may_liquidate_at_that_tick(venue: PaperVenue) -> None:
    ref = await venue.new_account()
    fill = await opened(venue, ref, leverage=50)
    await venue.provider.open_trade(await lock(venue, ref))
    free = (await venue.provider.balance(ref)).free
    assert free < 6

    later(venue, 2 * HOUR, "100", "101")
    await venue.commit()

    first, second = await fundings(venue, ref)
    due = up(fill.quantity * Decimal("100.5") * RATE)
    assert (first.amount, second.amount) == (-due, -due)
    assert (await venue.provider.balance(ref)).free == 0
    assert second.margin_left == 100 - (2 * due - free)
    assert second.liquidation_price > fill.liquidation_price
    (position,) = await venue.provider.open_positions([ref])
    assert (position.margin, position.liquidation_price) == (second.margin_left, second.liquidation_price)
    liquidated_at = later(venue, 1, "100", "100.04")
    (liquidation,) = [fill for fill in await venue.commit() if fill.is_liquidation]
    assert liquidation.sequence == liquidated_at
    assert fill.liquidation_price < Decimal("100.02") <= second.liquidation_price


async def test_beyond_the_margin_the_insurance_pays(venue: PaperVenue) -> None:
    ref = await venue.new_account()
    await opened(venue, ref, leverage=50)
    await venue.provider.open_trade(await lock(venue, ref))
    insurance, funding = [await venue.house(name) for name in (LedgerAccount.INSURANCE, LedgerAccount.FUNDING)]

    sequence = later(venue, 100 * HOUR)
    (liquidation,) = await venue.commit()

    told = await fundings(venue, ref)
    assert len(told) == 100
    assert (told[-1].margin_left, liquidation.sequence) == (Decimal(0), sequence)
    assert await venue.house(LedgerAccount.FUNDING) - funding == -sum(word.amount for word in told)
    assert await venue.house(LedgerAccount.INSURANCE) < insurance
    balance = await venue.provider.balance(ref)
    assert balance.free == 0


async def test_a_restart_funds_what_was_not_booked_and_nothing_twice(venue: PaperVenue) -> None:
    ref = await venue.new_account()
    await opened(venue, ref)
    later(venue, HOUR)
    await venue.commit()
    later(venue, HOUR)
    lost = list(venue.matches)
    venue.matches.clear()

    after = venue.restarted()
    await after.start()
    again = venue.restarted()
    await again.start()

    assert len(lost) == 1
    await after.commit()
    await again.commit()
    await venue.provider.market.book(lost)
    assert len(await fundings(venue, ref)) == 2


async def test_tells_fundings_from_an_instant_on(venue: PaperVenue) -> None:
    ref = await venue.new_account()
    await opened(venue, ref)
    later(venue, 2 * HOUR)
    await venue.commit()

    first, second = await fundings(venue, ref)

    assert await venue.provider.funding_since(ref, second.instant) == [second]
    assert await venue.provider.funding_since(ref, second.instant + timedelta(seconds=1)) == []
    assert first.instant < second.instant


@pytest.mark.parametrize("side", [LONG, SHORT])
async def test_a_negative_rate_is_paid_by_shorts(container: Container, side: PositionSide) -> None:
    async with paper_venue(container, replace(TERMS, funding_rate=-RATE, funding_seconds=HOUR)) as venue:
        ref = await venue.new_account()
        await opened(venue, ref, side)
        later(venue, HOUR)
        await venue.commit()

        (funding,) = await fundings(venue, ref)
        assert (funding.amount > 0) is (side is LONG)
        await venue.assert_books_balance()


class ForgetfulBoard(HandBoard):
    """The same market to a process that was away for long: only the last tick is given again."""

    def __init__(self, board: HandBoard) -> None:
        self.__dict__.update(board.__dict__)

    def kept(self, pair_id: int, after_sequence: int) -> Sequence[Tick]:
        return super().kept(pair_id, after_sequence)[-1:]


async def restarted(venue: PaperVenue, seconds: int) -> PaperVenue:
    """The venue once every tick so far is judged and it was started again with another interval; 0: no funding."""
    async with venue.uow() as work:
        token = await work.engine_state.take_lease("engine:paper", "test", timedelta(hours=1), predecessor_is_dead=True)
        assert token is not None
        tick = venue.board.ticks[venue.pair.id][-1]
        await work.engine_state.save([EngineState(tick, {}, [])], token)
    terms = replace(venue.terms, funding_seconds=seconds)
    again = PaperVenue(venue.container, venue.directory, ForgetfulBoard(venue.board), venue.pair, terms)
    await again.start()
    await again.commit()
    return again


@pytest.mark.parametrize("off", [True, False])
async def test_another_interval_asks_for_nothing_of_the_time_before_it(venue: PaperVenue, off: bool) -> None:
    later(venue, HOUR // 2)
    ref = await venue.new_account()
    await opened(venue, ref)
    later(venue, 5)
    await venue.commit()
    if off:
        venue = await restarted(venue, 0)
        later(venue, 5 * HOUR)
        await venue.commit()
        again = await restarted(venue, HOUR)
        seconds = HOUR
    else:
        again = await restarted(venue, 60)
        seconds = 60
    began = again.board.clock.now()
    assert await fundings(again, ref) == []

    later(again, seconds + 1)
    await again.commit()

    (paid,) = await fundings(again, ref)
    assert began < paid.instant <= again.board.clock.now()
    later(again, seconds)
    await again.commit()
    assert len(await fundings(again, ref)) == 2
