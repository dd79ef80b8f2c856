"""Accounts of the paper venue: what requests do to them, one by one, all at once, and when something breaks."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from types import TracebackType

import pytest
from sqlalchemy import text

from app.core.database import Database
from app.domain.enums import PositionSide
from app.domain.errors import Conflict, ProviderTimeout, Unavailable
from app.domain.trading import AccountRef, TradeResult, VenueFill, VenueOutcome, VenueRef
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper.provider import PaperProvider
from tests.venues import LONG_AGO, STARTING_BALANCE, TERMS, PaperVenue, closing, opening
from tests.waiting import until

FILLED, REJECTED = VenueOutcome.FILLED, VenueOutcome.REJECTED
AT_ONCE = 20


class Crash(Exception):
    """The process dies here."""


class CrashingWork(UnitOfWork):
    """Everything is written; then the process dies before it commits."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.flush()
        await super().__aexit__(Crash, Crash(), trace)
        raise Crash


def outcomes(results: list[TradeResult]) -> Counter[tuple[VenueOutcome, str | None]]:
    return Counter((result.outcome, result.reason) for result in results)


async def opened(paper: PaperVenue, ref: VenueRef) -> VenueFill:
    return (await paper.provider.open_trade(await opening(paper, ref))).fills[0]


async def ledger_rows(paper: PaperVenue, ref: AccountRef) -> list[tuple[str, str, Decimal]]:
    query = text(
        "SELECT reason, account, amount FROM paper_ledger WHERE booking IN (SELECT m.booking FROM paper_ledger m "
        "JOIN paper_accounts a ON a.id = m.account_id WHERE a.user_id = :user) ORDER BY booking, amount"
    )
    async with paper.uow() as work:
        return [(row[0], row[1], row[2]) for row in await work.session.execute(query, {"user": ref.user_id})]


async def test_a_new_account_has_the_starting_balance_however_many_ask_first(paper: PaperVenue) -> None:
    ref = await paper.new_account()

    balances = await asyncio.gather(*(paper.provider.balance(ref) for _ in range(AT_ONCE)))

    assert {(balance.free, balance.locked) for balance in balances} == {(STARTING_BALANCE, Decimal(0))}
    assert await ledger_rows(paper, ref) == [
        ("deposit", "funding_source", -STARTING_BALANCE),
        ("deposit", "balance", STARTING_BALANCE),
    ]


async def test_the_first_touch_may_be_a_trade(paper: PaperVenue) -> None:
    ref = await paper.new_account()

    results = await asyncio.gather(*[paper.provider.open_trade(await opening(paper, ref)) for _ in range(3)])

    assert outcomes(list(results)) == {(FILLED, None): 3}
    assert (await paper.provider.balance(ref)).locked == 300


async def test_money_for_one_opens_one(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    await paper.provider.balance(ref)
    requests = [await opening(paper, ref, collateral="6000", leverage=2) for _ in range(AT_ONCE)]

    results = await asyncio.gather(*(paper.provider.open_trade(params) for params in requests))

    assert outcomes(list(results)) == {(FILLED, None): 1, (REJECTED, "INSUFFICIENT_BALANCE"): AT_ONCE - 1}
    assert len(await paper.provider.open_positions([ref])) == 1


async def test_money_for_one_rests_one(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    await paper.provider.balance(ref)
    requests = [await opening(paper, ref, collateral="6000", leverage=2, price="95") for _ in range(AT_ONCE)]

    results = await asyncio.gather(*(paper.provider.open_trade(params) for params in requests))

    assert outcomes(list(results)) == {
        (VenueOutcome.RESTING, None): 1,
        (REJECTED, "INSUFFICIENT_BALANCE"): AT_ONCE - 1,
    }


async def test_many_closes_close_once(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    requests = [await closing(paper, fill, ref) for _ in range(AT_ONCE)]

    results = await asyncio.gather(
        *(paper.provider.close_trade(ref.pair_id, fill.venue_trade_index, params) for params in requests)
    )

    assert outcomes(list(results)) == {(FILLED, None): 1, (REJECTED, "POSITION_NOT_FOUND"): AT_ONCE - 1}
    assert len(await paper.provider.fills_since(ref, LONG_AGO)) == 2


async def test_part_closes_at_once_never_close_more_than_there_is(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    part = Decimal("1.5")
    requests = [await closing(paper, fill, ref, size=part) for _ in range(AT_ONCE)]

    results = await asyncio.gather(
        *(paper.provider.close_trade(ref.pair_id, fill.venue_trade_index, params) for params in requests)
    )

    closed = [done.quantity for result in results for done in result.fills]
    assert sum(closed) == fill.quantity
    assert sorted(closed, reverse=True) == [part] * (len(closed) - 1) + [min(closed)]
    assert await paper.provider.open_positions([ref]) == []


async def test_one_client_id_from_many_tasks_fills_once(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    params = await opening(paper, ref)

    results = await asyncio.gather(*(paper.provider.open_trade(params) for _ in range(AT_ONCE)))

    assert len({result.fills[0].fill_id for result in results}) == 1
    assert len(await paper.provider.open_positions([ref])) == 1
    assert (await paper.provider.balance(ref)).locked == 100


async def test_a_cancel_and_a_fill_at_once_end_in_one_of_both(paper: PaperVenue) -> None:
    refs = [await paper.new_account() for _ in range(10)]
    limits = [await opening(paper, ref, price="95") for ref in refs]
    for limit in limits:
        await paper.provider.open_trade(limit)
    elsewhere = paper.restarted()
    paper.tick("94", "95")

    cancels, _ = await asyncio.gather(
        asyncio.gather(*(elsewhere.provider.cancel_order(limit.ref, limit.client_id) for limit in limits)),
        paper.commit(),
    )

    for ref, result in zip(refs, cancels, strict=True):
        positions = await paper.provider.open_positions([ref])
        assert len(positions) == (1 if result.outcome is FILLED else 0)
        assert (await paper.provider.balance(ref)).locked == 100 * len(positions)


async def test_a_crash_before_the_commit_leaves_nothing_and_the_same_id_fills_once_later(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    before = await paper.provider.balance(ref)
    params = await opening(paper, ref, price="102")
    crashing = PaperProvider(
        lambda: CrashingWork(paper.container.database, paper.container.broadcast),
        paper.board,
        paper.directory,
        paper.board.clock,
        TERMS,
    )
    with pytest.raises(Crash):
        await crashing.open_trade(params)

    assert await paper.provider.query(ref, params.client_id) is None
    assert await paper.provider.balance(ref) == before
    assert (await paper.provider.open_trade(params)).outcome is FILLED


async def test_a_crash_in_the_middle_of_matches_books_none_of_them(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    limit = await opening(paper, ref, price="95")
    await paper.provider.open_trade(limit)
    crashing = PaperProvider(
        lambda: CrashingWork(paper.container.database, paper.container.broadcast),
        paper.board,
        paper.directory,
        paper.board.clock,
        TERMS,
    )
    paper.tick("91", "92")
    with pytest.raises(Crash):
        await crashing.market.book(paper.matches)

    assert len(await paper.provider.open_positions([ref])) == 1
    booked = await paper.commit()
    assert [done.is_liquidation for done in booked] == [True, False]
    assert booked[0].venue_trade_index == fill.venue_trade_index


async def test_a_lost_database_leaves_the_outcome_unknown(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    params = await opening(paper, ref)
    fill = await opened(paper, ref)
    gone = Database("postgresql+asyncpg://nobody@127.0.0.1:1/nothing", application_name="test")
    provider = PaperProvider(
        lambda: UnitOfWork(gone, paper.container.broadcast),
        paper.board,
        paper.directory,
        paper.board.clock,
        TERMS,
    )

    with pytest.raises(ProviderTimeout):
        await provider.open_trade(params)
    with pytest.raises(ProviderTimeout):
        await provider.close_trade(ref.pair_id, fill.venue_trade_index, await closing(paper, fill, ref))
    # It looks first for what ticks did to the order, and never comes to ask.
    with pytest.raises(Unavailable):
        await provider.cancel_order(ref, params.client_id)
    await gone.aclose()


async def test_a_question_waits_for_the_request_that_holds_the_account(paper: PaperVenue) -> None:
    """None after the deadline is proof: what was written before it is told, what comes later is refused."""
    ref = await paper.new_account()
    await paper.provider.balance(ref)
    params = await opening(paper, ref)
    async with paper.uow() as work:
        await work.paper_accounts.lock(ref.user_id, STARTING_BALANCE)
        sending = asyncio.create_task(paper.provider.open_trade(params))
        await until(waiting_for_a_lock(paper, 1))
        asking = asyncio.create_task(paper.provider.query(ref, params.client_id))
        await until(waiting_for_a_lock(paper, 2))

    sent, told = await sending, await asking
    assert told is None or told == sent
    assert await paper.provider.query(ref, params.client_id) == sent


async def test_a_deadline_that_passes_while_the_account_is_held_is_kept(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    await paper.provider.balance(ref)
    params = await opening(paper, ref, seconds=0.2)
    async with paper.uow() as work:
        await work.paper_accounts.lock(ref.user_id, STARTING_BALANCE)
        sending = asyncio.create_task(paper.provider.open_trade(params))
        await until(waiting_for_a_lock(paper, 1))
        await until(has_passed(paper, params.not_after))

    assert (await sending).reason == "EXPIRED_REQUEST"
    assert await paper.provider.open_positions([ref]) == []


async def test_reset_brings_the_starting_balance_back(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    with pytest.raises(Conflict):
        await paper.provider.reset(ref.user_id)
    await paper.provider.close_trade(ref.pair_id, fill.venue_trade_index, await closing(paper, fill, ref))
    limit = await opening(paper, ref, price="95")
    await paper.provider.open_trade(limit)
    with pytest.raises(Conflict):
        await paper.provider.reset(ref.user_id)
    await paper.provider.cancel_order(ref, limit.client_id)
    lost = STARTING_BALANCE - (await paper.provider.balance(ref)).free

    await paper.provider.reset(ref.user_id)

    assert lost > 0
    assert (await paper.provider.balance(ref)).free == STARTING_BALANCE
    assert (await ledger_rows(paper, ref))[-2:] == [("reset", "funding_source", -lost), ("reset", "balance", lost)]
    await paper.provider.reset(ref.user_id)
    assert (await paper.provider.balance(ref)).free == STARTING_BALANCE


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"leverage": 51}, "LEVERAGE_OUT_OF_RANGE"),
        ({"leverage": 0}, "LEVERAGE_OUT_OF_RANGE"),
        ({"collateral": "0.999999"}, "SIZE_BELOW_MINIMUM"),
        ({"collateral": "0"}, "SIZE_BELOW_MINIMUM"),
        ({"collateral": "1000000.000001"}, "SIZE_ABOVE_MAXIMUM"),
        ({"collateral": "10.0000001"}, "TOO_MANY_DECIMALS"),
        ({"price": "95.001"}, "TOO_MANY_DECIMALS"),
        ({"price": "-1"}, "MISSING_FIELD"),
        ({"price": "99999999.99", "collateral": "1", "leverage": 1, "side": PositionSide.SHORT}, "SIZE_BELOW_MINIMUM"),
    ],
)
async def test_what_the_venue_refuses(paper: PaperVenue, terms: dict[str, object], reason: str) -> None:
    ref = await paper.new_account()
    params = await opening(paper, ref, **terms)  # type: ignore[arg-type]

    result = await paper.provider.open_trade(params)

    assert (result.outcome, result.reason) == (REJECTED, reason)
    assert await paper.provider.query(ref, params.client_id) == result
    assert (await paper.provider.balance(ref)).free == STARTING_BALANCE


async def test_a_stale_price_is_not_traded_on(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    paper.board.clock.advance(10.001)

    market = await paper.provider.open_trade(await opening(paper, ref))
    limit = await paper.provider.open_trade(await opening(paper, ref, price="95"))
    close = await paper.provider.close_trade(ref.pair_id, fill.venue_trade_index, await closing(paper, fill, ref))

    assert {result.reason for result in (market, limit, close)} == {"PRICE_STALE"}


@pytest.mark.parametrize("index", ["0", "-1", "x", "9" * 30, "1.0", "\N{ARABIC-INDIC DIGIT ONE}"])
async def test_an_index_that_is_none_of_ours(paper: PaperVenue, index: str) -> None:
    ref = await paper.new_account()
    fill = await opened(paper, ref)

    result = await paper.provider.close_trade(ref.pair_id, index, await closing(paper, fill, ref))

    assert (result.outcome, result.reason) == (REJECTED, "POSITION_NOT_FOUND")


async def test_a_request_that_gives_up_before_it_is_begun_is_surely_undone(paper: PaperVenue) -> None:
    """What ticks did is booked first; where the account is held for too long then, nothing was asked of the venue."""
    ref = await paper.new_account()
    fill = await opened(paper, ref)
    limit = await opening(paper, ref, price="95")
    await paper.provider.open_trade(limit)
    close = await closing(paper, fill, ref)
    paper.tick("80", "81")

    async with paper.uow() as work:
        await work.paper_accounts.lock(ref.user_id, STARTING_BALANCE)
        undone = await asyncio.gather(
            paper.provider.close_trade(ref.pair_id, fill.venue_trade_index, close),
            paper.provider.cancel_order(ref, limit.client_id),
            return_exceptions=True,
        )

    assert [type(error) for error in undone] == [Unavailable, Unavailable]
    assert await paper.provider.query(ref, close.client_id) is None
    await paper.commit()


async def test_a_difference_in_the_books_is_found(paper: PaperVenue) -> None:
    ref = await paper.new_account()
    await opened(paper, ref)
    change = text("UPDATE paper_accounts SET balance = balance + :by WHERE user_id = :user")
    async with paper.uow() as work:
        await work.session.execute(change, {"by": Decimal("0.000001"), "user": ref.user_id})
        (difference,) = await work.paper_accounts.differences()
        assert difference.balance - difference.balance_entries == Decimal("0.000001")
        assert difference.margin == difference.margin_entries == difference.margin_in_use == 100
        await work.session.execute(text("UPDATE paper_ledger SET amount = amount * 2 WHERE account = 'fees'"))
        assert not await work.paper_accounts.is_zero()
        await work.session.rollback()


def waiting_for_a_lock(paper: PaperVenue, count: int) -> Callable[[], Awaitable[bool]]:
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    async def ask() -> bool:
        async with paper.uow() as work:
            return (await work.session.scalar(query) or 0) >= count

    return ask


def has_passed(paper: PaperVenue, instant: datetime) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        async with paper.uow() as work:
            return await work.paper_accounts.now() > instant

    return ask
