"""Idempotency keys: one run per key whatever dies or repeats, and later requests are told what became of it."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import func, update

from app.core.clock import SystemClock
from app.domain.enums import OrderStatus
from app.domain.errors import Conflict, IdempotencyKeyReused
from app.models.event import IdempotencyRecord
from app.services.idempotency_service import LOCK, Bound, Fresh, IdempotencyService, Stored
from tests.desks import Desk, request_key
from tests.factories import open_terms
from tests.fakes import Act
from tests.waiting import until


async def die(desk: Desk, key: str) -> None:
    """The process that runs under a key dies, and its lock runs out."""
    async with desk.uow() as work:
        mine = update(IdempotencyRecord).where(IdempotencyRecord.user_id == desk.user_id, IdempotencyRecord.key == key)
        past = func.clock_timestamp() - timedelta(seconds=1)
        await work.session.execute(mine.values(locked_until=past))


async def begin(desk: Desk, key: str, asked: str | None = None) -> Fresh | Stored | Bound:
    return await desk.idempotency.begin(desk.user_id, request_key(key, asked) if asked else request_key(key))


async def order_ids(desk: Desk) -> Sequence[int]:
    async with desk.uow() as work:
        rows = await work.orders.of_user(desk.user_id, statuses=None, trade_id=None, before=None, limit=100)
    return [row.id for row in rows]


async def test_the_first_request_runs_and_others_wait_for_its_end(desk: Desk) -> None:
    first = await begin(desk, "k")
    with pytest.raises(Conflict) as caught:
        await begin(desk, "k")
    await desk.idempotency.store(desk.user_id, request_key("k"), 201, b'{"a":1}')

    assert (first, caught.value.code, caught.value.retry_after) == (Fresh(), "IDEMPOTENCY_IN_FLIGHT", 1)
    assert await begin(desk, "k") == Stored(201, b'{"a":1}')


async def test_a_key_is_held_for_a_run_and_its_wait_for_the_venue(desk: Desk) -> None:
    await IdempotencyService(desk.uow, wait_seconds=1000).begin(desk.user_id, request_key("k"))

    async with desk.uow() as work:
        record = await work.idempotency.of_key(desk.user_id, "k")
    assert record is not None
    assert record.locked_until is not None
    held = record.locked_until - record.created_at
    assert abs(held - LOCK - timedelta(seconds=1000)) < timedelta(seconds=1)


async def test_the_first_answer_is_the_one_that_is_repeated(desk: Desk) -> None:
    await begin(desk, "k")
    await desk.idempotency.store(desk.user_id, request_key("k"), 400, b"refused")
    await desk.idempotency.store(desk.user_id, request_key("k"), 201, b"late")

    assert await begin(desk, "k") == Stored(400, b"refused")


@pytest.mark.parametrize("is_answered", [True, False])
async def test_a_key_is_for_one_request_only(desk: Desk, is_answered: bool) -> None:
    await begin(desk, "k")
    if is_answered:
        await desk.idempotency.store(desk.user_id, request_key("k"), 200, b"")

    with pytest.raises(IdempotencyKeyReused):
        await begin(desk, "k", "something else")


async def test_a_dead_run_that_wrote_nothing_is_run_again_by_one(desk: Desk) -> None:
    await begin(desk, "k")
    await die(desk, "k")

    outcomes = await asyncio.gather(*(begin(desk, "k") for _ in range(10)), return_exceptions=True)

    assert outcomes.count(Fresh()) == 1
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if outcome != Fresh())


async def test_a_dead_key_is_still_for_its_own_request_only(desk: Desk) -> None:
    await begin(desk, "k")
    await die(desk, "k")

    with pytest.raises(IdempotencyKeyReused):
        await begin(desk, "k", "something else")


async def test_a_run_that_wrote_its_order_is_never_run_again(desk: Desk) -> None:
    await begin(desk, "k")
    trade = (await desk.open(key="k")).trade
    (entry,) = await desk.orders(trade)
    with pytest.raises(Conflict):
        await begin(desk, "k")
    await die(desk, "k")

    assert await begin(desk, "k") == Bound(entry.id)


async def test_an_unknown_outcome_is_told_by_its_order_until_it_is_known(desk: Desk) -> None:
    await begin(desk, "k")
    desk.venue.will("open", Act.UNHEARD)
    placed = await desk.open(key="k")
    await desk.idempotency.abandon(desk.user_id, request_key("k"))

    told = [await begin(desk, "k") for _ in range(2)]
    await desk.settle()
    after = await desk.trading.placed(desk.user_id, placed.order.id)

    assert placed.order.status is OrderStatus.UNKNOWN
    assert told == [Bound(placed.order.id)] * 2
    assert after.order.status is OrderStatus.FILLED
    assert len(desk.venue.orders) == 1


async def test_a_refused_run_leaves_the_key_free(desk: Desk) -> None:
    await begin(desk, "k")
    await desk.idempotency.abandon(desk.user_id, request_key("k"))

    assert await begin(desk, "k", "another request") == Fresh()


async def test_a_close_is_bound_to_the_order_it_wrote(desk: Desk) -> None:
    trade = (await desk.open()).trade
    await begin(desk, "k")

    closed = await desk.close(trade, key="k")
    await die(desk, "k")

    assert await begin(desk, "k") == Bound(closed.order.id)


async def test_a_run_held_for_dead_writes_no_second_order(desk: Desk) -> None:
    """Two processes run under one key: the first was only slow. One order may come of it."""
    await begin(desk, "k")
    await die(desk, "k")
    assert await begin(desk, "k") == Fresh()

    outcomes = await asyncio.gather(desk.open(key="k"), desk.open(key="k"), return_exceptions=True)

    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refused) == 1
    assert isinstance(refused[0], Conflict)
    assert len(await order_ids(desk)) == len(desk.venue.orders) == 1


async def test_a_run_held_for_dead_closes_nothing_twice(desk: Desk) -> None:
    trade = (await desk.open()).trade
    await begin(desk, "k")

    outcomes = await asyncio.gather(
        desk.close(trade, "0.5", key="k"), desk.close(trade, "0.5", key="k"), return_exceptions=True
    )

    assert len([outcome for outcome in outcomes if isinstance(outcome, Conflict)]) == 1
    assert len(desk.venue.orders) == 2


async def test_a_run_that_is_only_slow_is_told_of_and_not_run_again(desk: Desk) -> None:
    """The first waits for the venue for longer than its lock lasts; whoever takes over finds its order."""
    await begin(desk, "k")
    desk.venue.will("open", Act.HANG)
    first = asyncio.create_task(desk.open(key="k"))
    await until(lambda: desk.venue.calls)
    await die(desk, "k")

    taken_over = await begin(desk, "k")
    assert isinstance(taken_over, Bound)
    meanwhile = await desk.trading.placed(desk.user_id, taken_over.order_id)
    desk.venue.gate.set()
    placed = await first
    await desk.idempotency.store(desk.user_id, request_key("k"), 201, b"first")

    assert (meanwhile.order.status, placed.order.status) == (OrderStatus.SUBMITTED, OrderStatus.FILLED)
    assert taken_over.order_id == placed.order.id
    assert await begin(desk, "k") == Stored(201, b"first")
    assert len(desk.venue.orders) == 1


async def test_a_slow_run_that_fails_frees_the_key_for_no_second_order(desk: Desk) -> None:
    """The first was held for dead, and gives its key up while the second runs: a third comes in between."""
    await begin(desk, "k")
    await die(desk, "k")
    assert await begin(desk, "k") == Fresh()
    await desk.idempotency.abandon(desk.user_id, request_key("k"))
    third = await begin(desk, "k")

    outcomes = await asyncio.gather(desk.open(key="k"), desk.open(key="k"), return_exceptions=True)

    assert third == Fresh()
    assert [type(outcome) for outcome in outcomes].count(Conflict) == 1
    assert len(await order_ids(desk)) == len(desk.venue.orders) == 1


async def test_a_slow_run_whose_key_went_to_another_request_writes_nothing(desk: Desk) -> None:
    """The first was held for dead; the second gave the key up, and it came again with another request."""
    await begin(desk, "k", "first")
    await die(desk, "k")
    assert await begin(desk, "k", "first") == Fresh()
    await desk.idempotency.abandon(desk.user_id, request_key("k", "first"))
    assert await begin(desk, "k", "another") == Fresh()

    with pytest.raises(Conflict):
        await desk.trading.open_trade(desk.trader, open_terms(), request_key("k", "first"))
    await desk.idempotency.abandon(desk.user_id, request_key("k", "first"))
    await desk.idempotency.store(desk.user_id, request_key("k", "first"), 201, b"of the first")

    assert await order_ids(desk) == []
    placed = await desk.trading.open_trade(desk.trader, open_terms(), request_key("k", "another"))
    await die(desk, "k")
    assert await begin(desk, "k", "another") == Bound(placed.order.id)


async def test_10_keys_with_20_requests_each_open_10_trades(desk: Desk) -> None:
    async def request(key: str) -> Fresh | Stored | Bound:
        state = await begin(desk, key)
        if isinstance(state, Fresh):
            placed = await desk.open(key=key)
            await desk.idempotency.store(desk.user_id, request_key(key), 201, str(placed.order.id).encode())
        return state

    outcomes = await asyncio.gather(*(request(f"key {number % 10}") for number in range(200)), return_exceptions=True)

    assert outcomes.count(Fresh()) == 10
    assert all(isinstance(outcome, Fresh | Stored | Conflict) for outcome in outcomes)
    assert len(desk.venue.orders) == len(await order_ids(desk)) == 10


async def test_keys_are_forgotten_after_a_day(desk: Desk) -> None:
    await begin(desk, "old")
    await begin(desk, "young")
    async with desk.uow() as work:
        mine = update(IdempotencyRecord).where(IdempotencyRecord.key == "old")
        day_ago = SystemClock().now() - timedelta(hours=24, seconds=1)
        await work.session.execute(mine.values(created_at=day_ago))

    assert await desk.idempotency.purge() >= 1
    assert await begin(desk, "old", "a new request") == Fresh()
    with pytest.raises(Conflict):
        await begin(desk, "young")
