"""Records of keys: one claimant at a time, the dead one is relieved, the first order and the first answer stay."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from app.domain.errors import Conflict
from app.domain.idempotency import RequestKey
from app.models.event import IdempotencyRecord
from app.models.market import Pair
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.factories import Person, create_order, create_trade

LOCK, RUN_OUT = timedelta(seconds=60), timedelta(seconds=-1)


async def claim(uow: UnitOfWorkFactory, user: Person, key: str, lock: timedelta = LOCK, fingerprint: str = "f") -> bool:
    async with uow() as work:
        return await work.idempotency.claim(user.id, RequestKey(key, fingerprint), lock)


async def record(uow: UnitOfWorkFactory, user: Person, key: str) -> IdempotencyRecord | None:
    async with uow() as work:
        return await work.idempotency.of_key(user.id, key)


async def make_order(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> int:
    async with uow() as work:
        return (await create_order(work, await create_trade(work, user.id, pair))).id


async def test_of_20_requests_at_once_each_of_50_keys_has_one_claimant(uow: UnitOfWorkFactory, user: Person) -> None:
    outcomes = await asyncio.gather(*(claim(uow, user, f"key {i % 50}") for i in range(1000)))

    claims = [sum(outcomes[key::50]) for key in range(50)]
    assert claims == [1] * 50


async def test_of_20_take_overs_at_once_each_of_50_dead_keys_has_one(uow: UnitOfWorkFactory, user: Person) -> None:
    for number in range(50):
        assert await claim(uow, user, f"dead {number}", RUN_OUT)

    outcomes = await asyncio.gather(*(claim(uow, user, f"dead {i % 50}") for i in range(1000)))

    assert [sum(outcomes[key::50]) for key in range(50)] == [1] * 50


async def test_a_key_belongs_to_its_user(uow: UnitOfWorkFactory, user: Person, other_user: Person) -> None:
    assert await claim(uow, user, "same")
    assert await claim(uow, other_user, "same")


async def test_a_dead_key_is_not_taken_over_for_another_request(uow: UnitOfWorkFactory, user: Person) -> None:
    assert await claim(uow, user, "k", RUN_OUT, "one request")
    assert not await claim(uow, user, "k", LOCK, "another request")


async def test_an_answered_key_is_never_claimed_again(uow: UnitOfWorkFactory, user: Person) -> None:
    await claim(uow, user, "k", RUN_OUT)
    async with uow() as work:
        await work.idempotency.store(user.id, RequestKey("k", "f"), 201, b"first")
        await work.idempotency.store(user.id, RequestKey("k", "f"), 400, b"second")

    assert not await claim(uow, user, "k")
    found = await record(uow, user, "k")
    assert found is not None
    assert (found.response_status, found.response_body, found.locked_until) == (201, b"first", None)


async def test_releasing_forgets_only_what_wrote_nothing(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    for key in ("empty", "bound", "answered"):
        await claim(uow, user, key)
    order_id = await make_order(uow, user, pair)
    async with uow() as work:
        await work.idempotency.bind(user.id, RequestKey("bound", "f"), order_id)
        await work.idempotency.store(user.id, RequestKey("answered", "f"), 200, b"")
    async with uow() as work:
        for key in ("empty", "bound", "answered"):
            await work.idempotency.release(user.id, RequestKey(key, "f"))

    assert await record(uow, user, "empty") is None
    bound = await record(uow, user, "bound")
    assert bound is not None
    assert bound.order_id == order_id
    assert await record(uow, user, "answered") is not None


async def test_old_keys_are_purged_a_bounded_number_at_a_time(
    uow: UnitOfWorkFactory, user: Person, other_user: Person
) -> None:
    for number in range(3):
        await claim(uow, user, f"old {number}")
    await claim(uow, other_user, "young")
    long_ago = datetime.now(UTC) - timedelta(hours=25)
    async with uow() as work:
        old = update(IdempotencyRecord).where(IdempotencyRecord.user_id == user.id).values(created_at=long_ago)
        await work.session.execute(old)
    purged = []
    for _ in range(3):
        async with uow() as work:
            purged.append(await work.idempotency.purge(timedelta(hours=24), 2))

    assert purged == [2, 1, 0]
    assert await record(uow, other_user, "young") is not None


async def test_of_two_runs_under_a_key_only_one_writes_its_order(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    await claim(uow, user, "k")

    async def run(number: int) -> int:
        async with uow() as work:
            order = await create_order(work, await create_trade(work, user.id, pair))
            await work.idempotency.bind(user.id, RequestKey("k", "f"), order.id)
            return order.id

    outcomes = await asyncio.gather(*(run(number) for number in range(6)), return_exceptions=True)

    written = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert len(written) == 1
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if outcome not in written)
    found = await record(uow, user, "k")
    assert found is not None
    assert found.order_id == written[0]
    async with uow() as work:
        orders = await work.orders.of_user(user.id, statuses=None, trade_id=None, before=None, limit=9)
    assert [order.id for order in orders] == written


async def test_a_key_that_is_gone_cannot_be_bound(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    order_id = await make_order(uow, user, pair)
    with pytest.raises(Conflict):
        async with uow() as work:
            await work.idempotency.bind(user.id, RequestKey("never claimed", "f"), order_id)


async def test_of_several_runs_with_a_key_that_was_taken_over_one_answer_and_its_effect_stay(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    await claim(uow, user, "answered", RUN_OUT)

    async def run(number: int) -> int:
        async with uow() as work:
            await create_trade(work, user.id, pair)
            await work.idempotency.answer(user.id, RequestKey("answered", "f"), 201, str(number).encode())
            return number

    outcomes = await asyncio.gather(*(run(number) for number in range(6)), return_exceptions=True)

    (kept,) = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if outcome != kept)
    found = await record(uow, user, "answered")
    assert found is not None
    assert (found.response_status, found.response_body) == (201, str(kept).encode())
    async with uow() as work:
        trades = await work.trades.of_user(user.id, statuses=None, before=None, limit=9)
    assert len(trades) == 1
