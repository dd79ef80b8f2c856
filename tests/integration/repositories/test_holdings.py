"""Fills are booked once, positions belong to their trades, a user has one account at a venue."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.enums import OrderSide, PositionSide
from app.models.market import Pair
from app.models.trading import Position, Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from tests.factories import Person, create_trade
from tests.waiting import let_others_run


async def add_fill(work: UnitOfWork, trade: Trade, fill_id: str) -> bool:
    return await work.fills.add_once(
        user_id=trade.user_id,
        venue_account_id=trade.venue_account_id,
        order_id=None,
        trade_id=trade.id,
        venue_fill_id=fill_id,
        side=OrderSide.SELL,
        quantity=Decimal(1),
        price=Decimal(1000),
        fee=Decimal(0),
        pnl=Decimal(0),
        is_close=True,
        is_liquidation=False,
    )


async def test_a_fill_told_many_times_at_once_is_booked_once(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)

    async def book(number: int) -> bool:
        async with uow() as work:
            return await add_fill(work, trade, f"fill {number % 3}")

    booked = await asyncio.gather(*(book(number) for number in range(15)))

    assert [sum(booked[number::3]) for number in range(3)] == [1, 1, 1]
    async with uow() as work:
        assert len(await work.fills.of_trade(trade.id)) == 3
        assert len(await work.fills.of_user(user.id, datetime.now(UTC) - timedelta(hours=1))) == 3
        assert await work.fills.of_user(user.id, datetime.now(UTC) + timedelta(hours=1)) == []


async def test_the_same_fill_id_of_two_accounts_is_two_fills(
    uow: UnitOfWorkFactory, user: Person, other_user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trades = [await create_trade(work, person.id, pair) for person in (user, other_user)]

        assert [await add_fill(work, trade, "same") for trade in trades] == [True, True]


def position_of(trade: Trade, *, is_open: bool) -> Position:
    return Position(
        user_id=trade.user_id,
        trade_id=trade.id,
        pair_id=trade.pair_id,
        provider=trade.provider,
        asset=trade.asset,
        side=PositionSide.LONG,
        size=Decimal(1),
        entry_price=Decimal(1000),
        margin=Decimal(100),
        leverage=10,
        is_open=is_open,
    )


async def test_open_positions_are_shown_to_their_owner(
    uow: UnitOfWorkFactory, user: Person, other_user: Person, pair: Pair
) -> None:
    async with uow() as work:
        first, closed, second = [await create_trade(work, user.id, pair) for _ in range(3)]
        for trade in (first, closed, second):
            await work.positions.add(position_of(trade, is_open=trade is not closed))

        mine = await work.positions.open_for(user.id)
        held = await work.positions.open_with_trades(user.id)
        of_closed = await work.positions.of_trade(closed.id)
        theirs = await work.positions.open_for(other_user.id)

    assert [position.trade_id for position in mine] == [first.id, second.id]
    assert held == [(mine[0], first), (mine[1], second)]
    assert of_closed is not None
    assert not of_closed.is_open
    assert theirs == []


async def test_parallel_requests_make_one_account(uow: UnitOfWorkFactory, user: Person) -> None:
    async def ensure(number: int) -> int:
        async with uow() as work:
            if number % 2:
                return (await work.venue_accounts.ensure_locked(user.id, "paper")).id
            return (await work.venue_accounts.ensure(user.id, "paper")).id

    ids = await asyncio.gather(*(ensure(number) for number in range(12)))

    assert len(set(ids)) == 1
    async with uow() as work:
        account = await work.venue_accounts.of_user(user.id, "paper")
        assert account is not None
        assert (account.id, account.user_id) == (ids[0], user.id)
        assert await work.venue_accounts.of_user(user.id, "lighter") is None


async def test_a_locked_account_makes_its_users_requests_wait(uow: UnitOfWorkFactory, user: Person) -> None:
    running = 0
    most = 0

    async def request(number: int) -> None:
        nonlocal running, most
        async with uow() as work:
            await work.venue_accounts.ensure_locked(user.id, "paper")
            running += 1
            most = max(most, running)
            await let_others_run()
            running -= 1

    await asyncio.gather(*(request(number) for number in range(10)))

    assert most == 1
