"""Claims of webhook deliveries: once each, within an endpoint's room, again once a lease is over."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text

from app.domain.enums import DeliveryStatus
from app.domain.events import Event, EventType
from app.models.webhook import WebhookConfiguration
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.repositories.webhook_delivery_repository import DueDelivery, NewDelivery, Room
from tests.factories import Person
from tests.waiting import until

LEASE = timedelta(seconds=40)


@pytest.fixture(autouse=True)
async def no_others(uow: UnitOfWorkFactory) -> None:
    """Endpoints of earlier tests have nothing to say here."""
    async with uow() as work:
        await work.session.execute(text("DELETE FROM webhook_configurations"))


async def create_endpoint(uow: UnitOfWorkFactory, user: Person, deliveries: int, **values: object) -> int:
    """An endpoint of a user with so many deliveries that are due."""
    async with uow() as work:
        work.emit(*(Event(user.id, EventType.WEBHOOK_TEST, {"n": n}) for n in range(deliveries)))
    async with uow() as work:
        given = {"url": "https://example.com/", "secret": "sealed", "event_types": ["*"], **values}
        endpoint = await work.webhooks.add(WebhookConfiguration(user_id=user.id, **given))
        events = await work.events.after(user.id, 0, limit=1000)
        new = [NewDelivery(endpoint.id, event.id, event.type, "{}") for event in events[-deliveries:]]
        await work.deliveries.schedule(new)
        await work.deliveries.schedule(new)
    return endpoint.id


async def claim_of(uow: UnitOfWorkFactory, holder: str, *, well: int = 0, failing: int = 0) -> Sequence[DueDelivery]:
    """Claim up to so many deliveries of endpoints that do well, and of those that fail."""
    async with uow() as work:
        return await work.deliveries.claim(holder, LEASE, well=Room(well), failing=Room(failing), per_endpoint=4)


async def claim(uow: UnitOfWorkFactory, *, limit: int = 100, failing: bool = False) -> list[int]:
    """Claim, and tell whose endpoints the deliveries are."""
    rows = await claim_of(uow, "me", failing=limit) if failing else await claim_of(uow, "me", well=limit)
    assert {row.is_failing for row in rows} <= {failing}
    return [row.endpoint.id for row in rows]


async def test_each_is_claimed_once_and_no_endpoint_takes_more_than_its_room(
    uow: UnitOfWorkFactory, user: Person, other_user: Person
) -> None:
    long_queue = await create_endpoint(uow, user, 9)
    short_queue = await create_endpoint(uow, other_user, 1)
    assert sorted(await claim(uow)) == [long_queue] * 4 + [short_queue]
    assert await claim(uow) == []


async def test_a_delivery_is_written_once_per_endpoint_and_event(uow: UnitOfWorkFactory, user: Person) -> None:
    endpoint = await create_endpoint(uow, user, 3)
    async with uow() as work:
        rows = await work.deliveries.of_endpoint(endpoint, statuses=None, before=None, limit=50)
    assert [row.status for row in rows] == [DeliveryStatus.PENDING] * 3


async def test_one_whose_holder_died_comes_again_with_a_higher_fence(uow: UnitOfWorkFactory, user: Person) -> None:
    await create_endpoint(uow, user, 1)
    first = await claim_of(uow, "dead", well=9)
    assert await claim(uow) == []
    async with uow() as work:
        await work.session.execute(text("UPDATE webhook_deliveries SET lease_until = clock_timestamp()"))
    again = await claim_of(uow, "me", well=9)
    assert [row.id for row in again] == [row.id for row in first]
    assert [row.attempts for row in again] == [2]


async def test_the_limit_of_a_claim(uow: UnitOfWorkFactory, user: Person) -> None:
    await create_endpoint(uow, user, 4)
    assert len(await claim(uow, limit=3)) == 3


async def test_failing_endpoints_are_claimed_apart(uow: UnitOfWorkFactory, user: Person) -> None:
    failing = await create_endpoint(uow, user, 1, retry_count=1)
    assert await claim(uow) == []
    assert await claim(uow, failing=True) == [failing]


async def test_one_claim_takes_both_kinds_each_within_its_limit(
    uow: UnitOfWorkFactory, user: Person, other_user: Person
) -> None:
    well = await create_endpoint(uow, user, 4)
    failing = await create_endpoint(uow, other_user, 4, retry_count=1)
    claimed = [(row.endpoint.id, row.is_failing) for row in await claim_of(uow, "me", well=3, failing=2)]
    assert sorted(claimed) == sorted([(well, False)] * 3 + [(failing, True)] * 2)
    assert len(await claim_of(uow, "me", well=9, failing=9)) == 3
    assert await claim_of(uow, "me") == []


async def test_leases_end_for_their_holder_alone(uow: UnitOfWorkFactory, user: Person) -> None:
    await create_endpoint(uow, user, 4)
    mine, others = await claim_of(uow, "me", well=1), await claim_of(uow, "another", well=1)
    async with uow() as work:
        assert await work.deliveries.let_go("me") == 1
        assert await work.deliveries.let_go("me") == 0
    again = {row.id: row.attempts for row in await claim_of(uow, "me", well=9)}
    assert again[mine[0].id] == 2
    assert others[0].id not in again


async def test_an_open_breaker_lets_one_probe_through(uow: UnitOfWorkFactory, user: Person) -> None:
    endpoint = await create_endpoint(uow, user, 3, retry_count=10)
    await pause(uow, endpoint, 60)
    assert await claim(uow, failing=True) == []
    await pause(uow, endpoint, -1)
    assert await claim(uow, failing=True) == [endpoint]
    assert await claim(uow, failing=True) == []


async def test_an_endpoint_that_is_off_keeps_its_deliveries(uow: UnitOfWorkFactory, user: Person) -> None:
    await create_endpoint(uow, user, 1, is_active=False)
    assert await claim(uow) == []


async def test_old_deliveries_are_purged_the_oldest_first(uow: UnitOfWorkFactory, user: Person) -> None:
    endpoint = await create_endpoint(uow, user, 4)
    month = timedelta(days=30)
    async with uow() as work:
        assert await work.deliveries.purge(month, 100) == 0
    older = text("""
        UPDATE webhook_deliveries SET created_at = created_at - interval '31 days'
        WHERE id < (SELECT max(id) FROM webhook_deliveries)
    """)
    async with uow() as work:
        await work.session.execute(older)
        before = [row.id for row in await work.deliveries.of_endpoint(endpoint, statuses=None, before=None, limit=9)]
    for gone, left in ((2, before[:2]), (1, before[:1]), (0, before[:1])):
        async with uow() as work:
            assert await work.deliveries.purge(month, 2) == gone
            rows = await work.deliveries.of_endpoint(endpoint, statuses=None, before=None, limit=9)
        assert [row.id for row in rows] == left


async def test_two_that_delete_the_same_both_go_on_until_none_is_left(uow: UnitOfWorkFactory, user: Person) -> None:
    endpoint = await create_endpoint(uow, user, 5)

    async def delete() -> int:
        async with uow() as work:
            return await work.deliveries.delete_of(endpoint, 3)

    async with uow() as work:
        first = await work.deliveries.delete_of(endpoint, 3)
        second = asyncio.create_task(delete())
        await until(partial(is_waiting, work))
    assert (first, await second) == (3, 3)
    assert [await delete(), await delete()] == [2, 0]


async def is_waiting(work: UnitOfWork) -> bool:
    """Whether another session waits for a lock that this transaction has."""
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return await work.session.scalar(text(waiting)) is not None


async def test_another_users_endpoint_and_delivery_are_not_there(
    uow: UnitOfWorkFactory, user: Person, other_user: Person
) -> None:
    endpoint = await create_endpoint(uow, user, 1)
    async with uow() as work:
        (delivery,) = await work.deliveries.of_endpoint(endpoint, statuses=None, before=None, limit=50)
        assert await work.webhooks.owned(user.id, endpoint) is not None
        assert await work.webhooks.owned(other_user.id, endpoint) is None
        assert await work.deliveries.owned(user.id, delivery.id) is not None
        assert await work.deliveries.owned(other_user.id, delivery.id) is None


async def pause(uow: UnitOfWorkFactory, endpoint: int, seconds: int) -> None:
    """Leave an endpoint alone until so many seconds from now."""
    statement = text("UPDATE webhook_configurations SET paused_until = clock_timestamp() + :span WHERE id = :id")
    async with uow() as work:
        await work.session.execute(statement, {"span": timedelta(seconds=seconds), "id": endpoint})
