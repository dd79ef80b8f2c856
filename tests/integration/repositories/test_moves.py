"""Compare-and-set: of many who move one row, one wins; who lost sees it, and nothing of theirs is written."""

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.domain.enums import IntentKind, IntentStatus, OrderStatus, TradeStatus
from app.domain.errors import InvalidTransition
from app.models.market import Pair
from app.models.trading import Order, Trade
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.factories import Person, create_intent, create_order, create_trade
from tests.waiting import let_others_run


@pytest.fixture
async def order(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> Order:
    async with uow() as work:
        return await create_order(work, await create_trade(work, user.id, pair))


async def stored_order(uow: UnitOfWorkFactory, order_id: int) -> Order:
    async with uow() as work:
        found = await work.orders.get(order_id)
    assert found is not None
    return found


async def test_one_of_many_movers_wins(uow: UnitOfWorkFactory, order: Order) -> None:
    async def move(number: int) -> bool:
        async with uow() as work:
            (row,) = await work.orders.rows([order.id])
            return await work.orders.move(row, OrderStatus.TRIGGERED, attempt=number)

    won = await asyncio.gather(*(move(number) for number in range(1, 13)), return_exceptions=True)

    assert won.count(True) == 1
    # Who read the row late enough saw a state that has no such move.
    assert all(outcome is False or isinstance(outcome, InvalidTransition) for outcome in won if outcome is not True)
    assert (await stored_order(uow, order.id)).attempt == won.index(True) + 1


async def test_a_move_from_a_state_that_is_past_writes_nothing(uow: UnitOfWorkFactory, order: Order) -> None:
    async with uow() as late:
        (seen,) = await late.orders.rows([order.id])
        async with uow() as early:
            (row,) = await early.orders.rows([order.id])
            assert await early.orders.move(row, OrderStatus.CANCELLED, reason="user")
        assert not await late.orders.move(seen, OrderStatus.TRIGGERED, reason="late")
        assert not await late.orders.change(seen, reason="late")

    stored = await stored_order(uow, order.id)
    assert (stored.status, stored.reason) == (OrderStatus.CANCELLED, "user")


async def test_a_move_shows_what_the_database_holds_now(uow: UnitOfWorkFactory, order: Order) -> None:
    async with uow() as work:
        (row,) = await work.orders.rows([order.id])
        before = row.updated_at
        assert await work.orders.move(row, OrderStatus.TRIGGERED, trigger_price=Decimal("949.5"))

    assert (row.status, row.trigger_price) == (OrderStatus.TRIGGERED, Decimal("949.5"))
    assert row.updated_at > before


async def test_a_move_that_the_lifecycle_lacks_is_refused_before_it_is_tried(
    uow: UnitOfWorkFactory, order: Order
) -> None:
    async with uow() as work:
        (row,) = await work.orders.rows([order.id])
        with pytest.raises(InvalidTransition):
            await work.orders.move(row, OrderStatus.FAILED)
        with pytest.raises(InvalidTransition):
            work.orders.move_locked(row, OrderStatus.FAILED)

    assert (await stored_order(uow, order.id)).status is OrderStatus.PENDING


async def test_who_waits_for_a_lock_sees_what_the_holder_wrote(uow: UnitOfWorkFactory, order: Order) -> None:
    async def cancel_if_pending(reason: str) -> bool:
        async with uow() as work:
            # Read before the lock: the lock must bring the row up to date all the same.
            await work.orders.rows([order.id])
            row = (await work.orders.locked([order.id]))[order.id]
            if row.status is not OrderStatus.PENDING:
                return False
            await let_others_run()
            work.orders.move_locked(row, OrderStatus.CANCELLED, reason=reason)
            return True

    outcomes = await asyncio.gather(*(cancel_if_pending(f"by {number}") for number in range(8)))

    assert outcomes.count(True) == 1
    assert (await stored_order(uow, order.id)).reason == f"by {outcomes.index(True)}"


async def test_locks_taken_in_any_order_of_ids_do_not_deadlock(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trades = [await create_trade(work, user.id, pair) for _ in range(4)]
    ids = [trade.id for trade in trades]

    async def grow(order: list[int]) -> None:
        async with uow() as work:
            for row in (await work.trades.locked(order)).values():
                row.fees += 1

    await asyncio.gather(*(grow(ids if number % 2 else ids[::-1]) for number in range(12)))

    async with uow() as work:
        assert [row.fees for row in await work.trades.among(user.id, ids)] == [12] * 4


async def test_a_trade_has_at_most_one_close_in_flight(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        first, second = [await create_order(work, trade) for _ in range(2)]
        intent = await create_intent(work, first, trade)
        await create_intent(work, first, trade, kind=IntentKind.CANCEL)

    with pytest.raises(IntegrityError, match="uq_intents_trade_id_closing"):
        async with uow() as work:
            await create_intent(work, second, trade)
    async with uow() as work:
        row = await work.intents.get_for_update(intent.id)
        assert row is not None
        work.intents.move_locked(row, IntentStatus.REJECTED)
    async with uow() as work:
        await create_intent(work, second, trade)


async def test_an_attempt_of_an_order_is_written_once(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        order = await create_order(work, trade)
        await create_intent(work, order, trade, status=IntentStatus.REJECTED)

    with pytest.raises(IntegrityError, match="uq_intents_order_id"):
        async with uow() as work:
            await create_intent(work, order, trade)
    async with uow() as work:
        await create_intent(work, order, trade, attempt=1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("size", Decimal("NaN")),
        ("size", Decimal(-1)),
        ("collateral", Decimal(0)),
        ("pnl", Decimal("1e20")),
        ("entry_price", Decimal("Infinity")),
        ("leverage", 0),
    ],
)
async def test_the_database_refuses_money_that_cannot_be(
    uow: UnitOfWorkFactory, user: Person, pair: Pair, column: str, value: object
) -> None:
    with pytest.raises(DBAPIError, match=r"ck_trades|numeric field overflow"):
        async with uow() as work:
            await create_trade(work, user.id, pair, **{column: value})


async def test_an_order_is_never_filled_beyond_its_quantity(uow: UnitOfWorkFactory, order: Order) -> None:
    with pytest.raises(IntegrityError, match="not_overfilled"):
        async with uow() as work:
            row = (await work.orders.locked([order.id]))[order.id]
            row.filled_quantity = row.quantity + Decimal("1e-18")


async def test_every_digit_of_an_amount_is_kept(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    exact = Decimal("12345678901234567890.123456789012345678")
    async with uow() as work:
        written = await create_trade(work, user.id, pair, size=exact)

    async with uow() as work:
        trade = await work.trades.owned(user.id, written.id)
    assert isinstance(trade, Trade)
    assert (trade.size, trade.status) == (exact, TradeStatus.OPEN)
