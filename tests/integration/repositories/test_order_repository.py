"""Questions about orders: what the engine watches, retries and takes up again, and what their users see."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from app.domain.enums import OrderRole, OrderStatus, OrderType, TradeStatus
from app.domain.errors import Conflict
from app.domain.lifecycle import LIVE_ORDER
from app.models.market import Pair
from app.models.trading import Order
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.factories import Person, create_order, create_trade

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def test_a_client_order_id_is_its_users_own_and_taken_once(
    uow: UnitOfWorkFactory, user: Person, other_user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        named = await create_order(work, trade, client_order_id="mine")
        await create_order(work, await create_trade(work, other_user.id, pair), client_order_id="mine")

        assert await work.orders.by_client_order_id(user.id, "mine") is named
        assert await work.orders.by_client_order_id(user.id, "other") is None
    with pytest.raises(Conflict) as caught:
        async with uow() as work:
            twin = Order(
                user_id=user.id,
                trade_id=trade.id,
                pair_id=pair.id,
                client_order_id="mine",
                provider=pair.venue,
                asset=pair.base,
                role=OrderRole.EXIT,
                order_type=OrderType.STOP_LOSS,
                side=named.side,
                quantity=Decimal(1),
                status=OrderStatus.PENDING,
            )
            await work.orders.add_named(twin)
    assert caught.value.code == "ALREADY_EXISTS"


async def test_an_order_is_found_by_its_owner_only(
    uow: UnitOfWorkFactory, user: Person, other_user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        first, second = [await create_order(work, trade) for _ in range(2)]
        cancelled = await create_order(work, trade, status=OrderStatus.CANCELLED)
        elsewhere = await create_order(work, await create_trade(work, user.id, pair))

        assert await work.orders.owned(user.id, first.id) is first
        assert await work.orders.owned(other_user.id, first.id) is None
        page = await work.orders.of_user(user.id, statuses=None, trade_id=None, before=elsewhere.id, limit=2)
        pending = await work.orders.of_user(
            user.id, statuses=[OrderStatus.PENDING], trade_id=trade.id, before=None, limit=9
        )
        theirs = await work.orders.of_user(other_user.id, statuses=None, trade_id=None, before=None, limit=9)

    assert (page, pending, theirs) == ([cancelled, second], [second, first], [])


async def test_the_engine_watches_exits_that_wait_for_a_price_and_nothing_else(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        rows = [await create_order(work, trade, status=status) for status in OrderStatus]
        entry = await create_order(work, trade, role=OrderRole.ENTRY)
        ids = {row.id for row in [*rows, entry]}
        watched = [row for row in await work.orders.watched([pair.id]) if row.id in ids]
        elsewhere = await work.orders.watched([2**40])

    assert [row.status for row in watched] == [OrderStatus.PENDING]
    assert (watched[0].role, elsewhere) == (OrderRole.EXIT, [])


async def test_a_latched_exit_is_claimed_again_once_its_trade_is_open_and_its_time_has_come(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    now = datetime.now(UTC)
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        closing = await create_trade(work, user.id, pair, status=TradeStatus.CLOSING)
        due = [
            await create_order(work, trade, latched_sequence=9),
            await create_order(work, trade, latched_sequence=8, next_run_at=now - HOUR),
        ]
        others = [
            await create_order(work, trade),
            await create_order(work, trade, latched_sequence=7, next_run_at=now + HOUR),
            await create_order(work, closing, latched_sequence=6),
            await create_order(work, trade, latched_sequence=5, status=OrderStatus.CANCELLED),
        ]
        ids = {row.id for row in [*due, *others]}
        retryable = [row for row in await work.orders.retryable([pair.id]) if row.id in ids]
        assert await work.orders.any_latched([pair.id])
        assert not await work.orders.any_latched([2**40])

    # The earlier crossing is served first.
    assert retryable == due[::-1]


async def test_exits_changed_since_an_instant_are_taken_up_whatever_their_state(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        old = await create_order(work, trade)
        fresh = await create_order(work, trade, status=OrderStatus.CANCELLED)
        entry = await create_order(work, trade, role=OrderRole.ENTRY)
        before = await work.intents.now() - HOUR
        await work.session.execute(update(Order).where(Order.id == old.id).values(updated_at=before))
        found = {row.id for row in await work.orders.changed_exits([pair.id], before)}

    assert found & {old.id, fresh.id, entry.id} == {fresh.id}


async def test_only_resting_entries_whose_time_has_passed_expire(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair, status=TradeStatus.SUBMITTED)

        async def entry(expires_at: datetime | None, **values: object) -> Order:
            entry_values = {"role": OrderRole.ENTRY, "order_type": OrderType.LIMIT, "expires_at": expires_at}
            return await create_order(work, trade, **(entry_values | values))

        past, now = await entry(NOW - HOUR), await entry(NOW)
        others = [
            await entry(NOW + HOUR),
            await entry(None),
            await entry(NOW - HOUR, status=OrderStatus.PENDING_CANCEL),
            await entry(NOW - HOUR, role=OrderRole.EXIT),
        ]
        ids = {row.id for row in [past, now, *others]}
        expired = [row for row in await work.orders.expired_entries(NOW, 100) if row.id in ids]

    assert expired == [past, now]


async def test_orders_of_trades(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        trade, bare = [await create_trade(work, user.id, pair) for _ in range(2)]
        entry = await create_order(work, trade, role=OrderRole.ENTRY, status=OrderStatus.FILLED)
        exits = [await create_order(work, trade, status=status) for status in (OrderStatus.PENDING, OrderStatus.FILLED)]

        assert await work.orders.entry_of(trade.id) is entry
        assert await work.orders.entry_of(bare.id) is None
        assert await work.orders.of_trade(trade.id) == [entry, *exits]
        locked = await work.orders.of_trades_locked([trade.id, bare.id])
        assert locked == {trade.id: [entry, *exits], bare.id: []}
        assert await work.orders.exit_ids([trade.id, bare.id], LIVE_ORDER) == {trade.id: [exits[0].id]}


async def test_a_review_is_a_flag_beside_the_status(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        order = await create_order(work, await create_trade(work, user.id, pair), status=OrderStatus.UNKNOWN)
        await work.orders.flag_for_review(order.id)
    async with uow() as work:
        (row,) = await work.orders.rows([order.id])

    assert (row.needs_review, row.status) == (True, OrderStatus.UNKNOWN)
