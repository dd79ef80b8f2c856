"""What ticks do at the paper venue: liquidations and fills of resting orders, booked once, whatever happens between."""

import asyncio
from decimal import Decimal
from functools import partial
from types import TracebackType

import pytest

from app.domain.enums import OrderSide, PositionSide
from app.domain.errors import ProviderTimeout
from app.domain.ledger import LedgerAccount
from app.domain.positions import pnl_of
from app.domain.trading import VenueFill, VenueFunding, VenueOutcome, VenueRef
from app.models.paper import PaperPosition
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper.market import PaperMarket
from tests.venues import LONG_AGO, TERMS, PaperVenue, closing, opening

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


async def opened(
    paper: PaperVenue, ref: VenueRef, side: PositionSide = LONG, leverage: int = 10, price: str | None = None
) -> VenueFill:
    """A position of 100 USDC, filled at once."""
    params = await opening(paper, ref, side=side, leverage=leverage, price=price)
    return (await paper.provider.open_trade(params)).fills[0]


async def nobody(word: VenueFill | VenueFunding) -> None:
    """Listens to nothing."""


async def position_of(paper: PaperVenue, fill: VenueFill) -> PaperPosition:
    row_id = int(fill.venue_trade_index)
    async with paper.uow() as work:
        return (await work.paper.positions([row_id]))[row_id]


async def test_a_fill_names_the_tick_and_the_order(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    tick = paper.tick("99", "102")
    params = await opening(paper, ref)

    result = await paper.provider.open_trade(params)

    (fill,) = result.fills
    assert (fill.sequence, fill.mark_price) == (tick.sequence, Decimal("100.5"))
    assert fill.fill_id.startswith("paper-")
    assert result.transaction_hash is not None
    assert len(result.transaction_hash) == 66


@pytest.mark.parametrize(
    ("side", "quiet", "fatal", "exit_side", "exit_price"),
    [
        (LONG, ("91.9", "92.1"), ("91.0", "92.2"), OrderSide.SELL, "91.0"),
        (SHORT, ("108.8", "109.0"), ("108.9", "109.1"), OrderSide.BUY, "109.1"),
    ],
)
async def test_liquidation_at_the_exit_quote_of_its_tick(
    paper: PaperVenue,
    side: PositionSide,
    quiet: tuple[str, str],
    fatal: tuple[str, str],
    exit_side: OrderSide,
    exit_price: str,
) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref, side)
    before = await paper.provider.balance(ref)
    insurance = await paper.house(LedgerAccount.INSURANCE)
    paper.tick(*quiet)
    assert paper.matches == []

    tick = paper.tick(*fatal)
    paper.tick("100", "101")
    (liquidation,) = await paper.commit()

    assert liquidation.fill_id == f"paper-liq-{fill.venue_trade_index}"
    assert (liquidation.client_id, liquidation.is_liquidation, liquidation.is_close) == (None, True, True)
    assert (liquidation.side, liquidation.price, liquidation.quantity) == (
        exit_side,
        Decimal(exit_price),
        fill.quantity,
    )
    assert (liquidation.sequence, liquidation.mark_price) == (tick.sequence, tick.mark)
    loss = pnl_of(side, fill.quantity, fill.price, Decimal(exit_price))
    assert Decimal(0) <= loss - liquidation.pnl < Decimal("0.000001")
    assert liquidation.pnl - liquidation.fee == -100
    after = await paper.provider.balance(ref)
    assert (after.free, after.locked) == (before.free, before.locked - 100)
    assert await paper.house(LedgerAccount.INSURANCE) - insurance == liquidation.fee
    assert await paper.provider.open_positions([ref]) == []
    assert await paper.provider.fills_since(ref, LONG_AGO) == [fill, liquidation]


async def test_a_gap_beyond_the_margin_is_the_insurances_loss(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    insurance = await paper.house(LedgerAccount.INSURANCE)
    balance = await paper.provider.balance(ref)

    paper.tick("50", "51")
    (liquidation,) = await paper.commit()

    assert (liquidation.pnl, liquidation.fee) == (Decimal(-100), Decimal(0))
    beyond = -pnl_of(LONG, fill.quantity, fill.price, Decimal(50)) - 100
    assert insurance - await paper.house(LedgerAccount.INSURANCE) == beyond
    assert (await paper.provider.balance(ref)).free == balance.free


async def test_a_liquidated_position_cannot_be_closed(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    paper.tick("91", "92")
    await paper.commit()

    result = await paper.provider.close_trade(ref.pair_id, fill.venue_trade_index, await closing(paper, fill, ref))

    assert (result.outcome, result.reason) == (VenueOutcome.REJECTED, "POSITION_NOT_FOUND")


async def test_a_close_does_not_overtake_a_liquidation_that_is_not_booked_yet(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    fatal = paper.tick("91", "92")
    paper.tick("100", "101")

    result = await paper.provider.close_trade(ref.pair_id, fill.venue_trade_index, await closing(paper, fill, ref))

    assert (result.outcome, result.reason) == (VenueOutcome.REJECTED, "POSITION_NOT_FOUND")
    (liquidation,) = await paper.commit()
    assert (liquidation.is_liquidation, liquidation.sequence) == (True, fatal.sequence)


async def test_a_cancel_does_not_overtake_a_fill_that_is_not_booked_yet(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    params = await opening(paper, ref, price="95")
    await paper.provider.open_trade(params)
    paper.tick("94", "95")

    result = await paper.provider.cancel_order(ref, params.client_id)

    assert (result.outcome, len(result.fills)) == (VenueOutcome.FILLED, 1)
    assert await paper.commit() == list(result.fills)


async def test_a_position_closed_before_its_match_is_committed_is_left_out(paper: PaperVenue) -> None:
    """Another process closed it: this one's books did not hear of it."""
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    elsewhere = paper.restarted()
    await elsewhere.provider.close_trade(ref.pair_id, fill.venue_trade_index, await closing(paper, fill, ref))
    balance = await paper.provider.balance(ref)

    paper.tick("50", "51")

    assert len(paper.matches) == 1
    assert await paper.commit() == []
    assert await paper.provider.balance(ref) == balance


async def test_committing_twice_books_once_and_tells_the_same(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    await opened(paper, ref)
    limit = await opening(paper, ref, price="95")
    await paper.provider.open_trade(limit)
    paper.tick("91", "92")
    matches = list(paper.matches)

    first = await paper.commit()
    balance = await paper.provider.balance(ref)
    again = await paper.provider.market.book(matches)

    assert len(first) == 2
    assert again == first
    assert await paper.provider.balance(ref) == balance


async def test_a_limit_fill_uses_the_reservation_to_the_last_unit(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    before = await paper.provider.balance(ref)
    params = await opening(paper, ref, price="95.55", collateral="123.456789", leverage=7)
    await paper.provider.open_trade(params)
    reserved = await paper.provider.balance(ref)

    paper.tick("95.54", "95.55")
    (fill,) = await paper.commit()

    after = await paper.provider.balance(ref)
    assert before.free - reserved.free == reserved.locked - before.locked
    assert before.free - after.free == Decimal("123.456789") + fill.fee
    assert after.locked - before.locked == Decimal("123.456789")
    assert fill.price == Decimal("95.55")


async def test_a_position_opened_by_a_limit_is_liquidated_by_a_later_tick_only(paper: PaperVenue) -> None:
    """The tick that fills it lies beyond its liquidation price already; a tick that came before the commit kills it."""
    ref = await paper.new_account()
    params = await opening(paper, ref, price="95", leverage=50)
    await paper.provider.open_trade(params)
    filling = paper.tick("90", "91")
    killing = paper.tick("90", "91")
    assert len(paper.matches) == 1

    fill, liquidation = await paper.commit()

    assert (fill.sequence, fill.price, fill.is_liquidation) == (filling.sequence, Decimal(95), False)
    assert (liquidation.sequence, liquidation.is_liquidation) == (killing.sequence, True)


async def test_ticks_between_the_fill_and_the_watch_are_played(paper: PaperVenue) -> None:
    """A position that another process opened before three more ticks came is told to the books late."""
    ref = await paper.new_account()
    elsewhere = paper.restarted()
    fill = await opened(elsewhere, ref)
    paper.tick("95", "96")
    fatal = paper.tick("91", "92")
    paper.tick("100", "101")
    assert paper.matches == []

    paper.provider.market.watch(await position_of(paper, fill))

    assert [match.sequence for match in paper.matches] == [fatal.sequence]


async def test_a_restart_finds_what_is_open_and_judges_the_kept_ticks(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    dying, living = await opened(paper, ref), await opened(paper, ref, leverage=2)
    limit = await opening(paper, ref, price="95")
    await paper.provider.open_trade(limit)
    fatal = paper.tick("91", "92")
    lost = list(paper.matches)
    paper.matches.clear()

    after = paper.restarted()
    await after.start()

    assert after.matches == lost
    liquidation, fill = await after.commit()
    assert (liquidation.venue_trade_index, liquidation.sequence) == (dying.venue_trade_index, fatal.sequence)
    assert fill.client_id == limit.client_id
    indexes = {position.venue_trade_index for position in await after.provider.open_positions([ref])}
    assert indexes == {living.venue_trade_index, fill.venue_trade_index}


async def test_what_commits_while_books_are_read_is_in_them(paper: PaperVenue) -> None:
    """The books are read, a position is opened, and only then do they go live."""
    ref = await paper.new_account()
    has_read, go_on = asyncio.Event(), asyncio.Event()

    class Reading(UnitOfWork):
        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            has_read.set()
            await go_on.wait()
            await super().__aexit__(kind, error, trace)

    market = PaperMarket(
        lambda: Reading(paper.container.database, paper.container.broadcast),
        paper.board,
        paper.directory.by_id,
        nobody,
        TERMS,
    )
    loading = asyncio.create_task(market.load([paper.pair.id]))
    await has_read.wait()
    fill = await opened(paper, ref)
    market.watch(await position_of(paper, fill))
    go_on.set()

    assert await loading == []
    fatal = paper.tick("91", "92")
    assert [match.row_id for match in market.on_tick(fatal)] == [int(fill.venue_trade_index)]


async def test_a_part_close_keeps_the_liquidation_price(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    part = await closing(paper, fill, ref, size=Decimal("3.333333"))

    result = await paper.provider.close_trade(ref.pair_id, fill.venue_trade_index, part)
    paper.tick("91", "92")
    (liquidation,) = await paper.commit()

    assert result.fills[0].liquidation_price == fill.liquidation_price
    assert liquidation.quantity == fill.quantity - Decimal("3.333333")
    assert liquidation.pnl - liquidation.fee == -result.fills[0].margin_left


async def test_more_matches_than_one_batch_are_all_booked(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fills = [await opened(paper, ref) for _ in range(60)]
    limits = [await opening(paper, ref, price="95", collateral="20") for _ in range(60)]
    for limit in limits:
        assert (await paper.provider.open_trade(limit)).outcome is VenueOutcome.RESTING

    paper.tick("91", "92")
    booked = await paper.commit()

    assert [fill.is_liquidation for fill in booked] == [True] * 60 + [False] * 60
    assert [fill.venue_trade_index for fill in booked[:60]] == [fill.venue_trade_index for fill in fills]
    assert [fill.client_id for fill in booked[60:]] == [limit.client_id for limit in limits]


class LostAnswer(UnitOfWork):
    """The transaction commits, and the connection is lost before anybody hears of it."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        raise ConnectionResetError


def deaf(paper: PaperVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no answer of the database reaches the venue."""
    uow = partial(LostAnswer, paper.container.database, paper.container.broadcast)
    monkeypatch.setattr(paper.provider, "_uow", uow)
    monkeypatch.setattr(paper.provider.market, "_uow", uow)


@pytest.mark.parametrize("price", [None, "95"])
async def test_what_was_opened_without_an_answer_is_watched_once_it_is_asked_about(
    paper: PaperVenue, monkeypatch: pytest.MonkeyPatch, price: str | None
) -> None:
    ref = await paper.new_account()
    params = await opening(paper, ref, price=price)
    with monkeypatch.context() as patch:
        deaf(paper, patch)
        with pytest.raises(ProviderTimeout):
            await paper.provider.open_trade(params)
    paper.tick("91", "92")
    assert paper.matches == []

    known = await paper.provider.query(ref, params.client_id)

    assert known is not None
    assert known.outcome is (VenueOutcome.RESTING if price else VenueOutcome.FILLED)
    assert len(paper.matches) == 1
    await paper.provider.query(ref, params.client_id)
    assert len(paper.matches) == 1


async def test_a_position_booked_without_an_answer_is_watched_by_the_next_try(
    paper: PaperVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = await paper.new_account()
    params = await opening(paper, ref, price="95", leverage=50)
    await paper.provider.open_trade(params)
    paper.tick("94.5", "95")
    with monkeypatch.context() as patch:
        deaf(paper, patch)
        with pytest.raises(ConnectionResetError):
            await paper.provider.market.book(paper.matches)

    paper.tick("80", "81")
    fill, liquidation = await paper.commit()

    assert (fill.client_id, liquidation.is_liquidation) == (params.client_id, True)


async def test_a_late_match_waits_for_its_first_listener(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    elsewhere = paper.restarted()
    fill = await opened(elsewhere, ref)
    heard: list[int] = []
    market = PaperMarket(paper.uow, paper.board, paper.directory.by_id, nobody, TERMS)
    await market.load([paper.pair.id])
    late = await opened(elsewhere, ref)
    fatal = paper.tick("91", "92")
    assert [match.row_id for match in market.on_tick(fatal)] == [int(fill.venue_trade_index)]
    market.watch(await position_of(paper, late))

    market.on_late_match(lambda matches: heard.extend(match.row_id for match in matches))

    assert heard == [int(late.venue_trade_index)]
