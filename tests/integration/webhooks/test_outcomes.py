"""Recording by itself: what a batch of outcomes leaves deliveries, attempts and endpoints with."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.domain.enums import DeliveryStatus
from app.domain.webhooks import Reply
from app.models.webhook import WebhookConfiguration
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.repositories.webhook_delivery_repository import DueDelivery, NewDelivery, Room
from app.services.webhook_outcomes import Outcome, record
from app.services.webhook_secrets import WebhookSecrets
from tests.factories import Person
from tests.integration.webhooks.endpoints import change, create_endpoint, deliveries_of, emit

TAKEN = Reply(status=200, body="taken")
BROKEN = Reply(status=500, body="broken")
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=40)
HEADERS = {"webhook-id": "evt_1", "webhook-signature": "v1,secret"}
# An endpoint whose breaker is open, and that may be probed.
FAILING = {"retry_count": 11, "failing_since": EPOCH, "paused_until": EPOCH}
WELL = {"retry_count": 0, "failing_since": None, "paused_until": None, "is_active": True, "has_taken": True}


@pytest.fixture(autouse=True)
async def no_others(uow: UnitOfWorkFactory) -> None:
    """Endpoints of earlier tests have nothing to say here."""
    await change(uow, "DELETE FROM webhook_configurations")


async def claimed(uow: UnitOfWorkFactory, person: Person, *endpoints: WebhookConfiguration) -> list[DueDelivery]:
    """A delivery for each endpoint, claimed."""
    await emit(uow, person.id)
    async with uow() as work:
        event = (await work.events.after(person.id, 0, limit=100))[-1]
        new = [NewDelivery(endpoint.id, event.id, event.type, "{}") for endpoint in endpoints]
        await work.deliveries.schedule(new)
    return await claim(uow)


async def claim(uow: UnitOfWorkFactory) -> list[DueDelivery]:
    async with uow() as work:
        rows = await work.deliveries.claim("me", LEASE, well=Room(9), failing=Room(9), per_endpoint=1)
    return sorted(rows, key=lambda row: row.endpoint.id)


async def recorded(uow: UnitOfWorkFactory, deliveries: Sequence[DueDelivery], *replies: Reply) -> None:
    """Record these replies together."""
    outcomes = [
        Outcome(*each, duration_ms=7) for each in zip(deliveries, [HEADERS] * len(replies), replies, strict=True)
    ]
    async with uow() as work:
        await record(work, outcomes)


async def health_of(uow: UnitOfWorkFactory, endpoint: WebhookConfiguration) -> dict[str, Any]:
    query = text("""
        SELECT retry_count, failing_since, paused_until, is_active, last_delivery_at IS NOT NULL AS has_taken
        FROM webhook_configurations WHERE id = :id
    """)
    async with uow() as work:
        return dict((await work.session.execute(query, {"id": endpoint.id})).mappings().one())


async def attempts_at(uow: UnitOfWorkFactory, delivery: DueDelivery) -> list[tuple[int, int | None, str | None]]:
    async with uow() as work:
        attempts = await work.deliveries.attempts_of(delivery.id)
    return [(attempt.number, attempt.response_code, attempt.error) for attempt in attempts]


@pytest.mark.parametrize("is_beside_a_failure", [False, True])
async def test_a_success_leaves_its_endpoint_with_the_same_alone_or_beside_a_failure(
    uow: UnitOfWorkFactory, keys: WebhookSecrets, user: Person, *, is_beside_a_failure: bool
) -> None:
    endpoints = [await create_endpoint(uow, keys, user.id, f"http://127.0.0.1:9/{n}", **FAILING) for n in range(2)]
    deliveries = await claimed(uow, user, *endpoints)
    await recorded(uow, deliveries, TAKEN, BROKEN if is_beside_a_failure else TAKEN)

    assert await health_of(uow, endpoints[0]) == WELL
    (row,) = await deliveries_of(uow, endpoints[0].id)
    assert (row["status"], row["response_code"], row["response_body"]) == (DeliveryStatus.DELIVERED, 200, "taken")
    assert (row["lease_until"], row["next_run_at"], row["last_error"]) == (None, None, None)
    assert row["delivered_at"] is not None
    assert await attempts_at(uow, deliveries[0]) == [(1, 200, None)]

    other = await health_of(uow, endpoints[1])
    assert other["retry_count"] == (12 if is_beside_a_failure else 0)
    assert await attempts_at(uow, deliveries[1]) == [(1, 500, "status_500") if is_beside_a_failure else (1, 200, None)]


async def test_a_failure_waits_under_a_lease_that_has_ended(
    uow: UnitOfWorkFactory, keys: WebhookSecrets, user: Person
) -> None:
    endpoint = await create_endpoint(uow, keys, user.id, "http://127.0.0.1:9/")
    deliveries = await claimed(uow, user, endpoint)
    await recorded(uow, deliveries, BROKEN)
    (row,) = await deliveries_of(uow, endpoint.id)
    assert (row["status"], row["lease_until"], row["delivered_at"]) == (DeliveryStatus.PENDING, None, None)
    assert timedelta(seconds=3) < row["next_run_at"] - row["updated_at"] < timedelta(seconds=7)
    assert row["last_error"] == "status_500"


@pytest.mark.parametrize("reply", [TAKEN, BROKEN])
async def test_what_is_told_twice_counts_once(
    uow: UnitOfWorkFactory, keys: WebhookSecrets, user: Person, reply: Reply
) -> None:
    """Where the word of a commit was lost, it is told again."""
    endpoint = await create_endpoint(uow, keys, user.id, "http://127.0.0.1:9/")
    deliveries = await claimed(uow, user, endpoint)
    await recorded(uow, deliveries, reply)
    await recorded(uow, deliveries, reply)
    assert await attempts_at(uow, deliveries[0]) == [(1, reply.status, reply.error)]
    assert (await health_of(uow, endpoint))["retry_count"] == (0 if reply.is_success else 1)


@pytest.mark.parametrize("reply", [TAKEN, BROKEN])
async def test_what_was_claimed_again_is_for_its_new_holder_to_tell(
    uow: UnitOfWorkFactory, keys: WebhookSecrets, user: Person, reply: Reply
) -> None:
    endpoint = await create_endpoint(uow, keys, user.id, "http://127.0.0.1:9/", **FAILING)
    late = await claimed(uow, user, endpoint)
    await change(uow, "UPDATE webhook_deliveries SET lease_until = now()")
    again = await claim(uow)
    await recorded(uow, late, reply)
    (row,) = await deliveries_of(uow, endpoint.id)
    assert (row["status"], row["attempts"]) == (DeliveryStatus.PENDING, again[0].attempts)
    assert row["lease_until"] is not None
    assert (await health_of(uow, endpoint))["retry_count"] == 11
    await recorded(uow, again, TAKEN)
    assert await attempts_at(uow, late[0]) == [(2, 200, None)]


@pytest.mark.parametrize(
    "change_of_endpoint",
    [
        "UPDATE webhook_configurations SET url = 'https://example.com/'",
        "UPDATE webhook_configurations SET is_active = false",
    ],
)
@pytest.mark.parametrize("reply", [TAKEN, BROKEN])
async def test_what_was_sent_to_where_it_no_longer_is_says_nothing_of_the_endpoint(
    uow: UnitOfWorkFactory, keys: WebhookSecrets, user: Person, reply: Reply, change_of_endpoint: str
) -> None:
    endpoint = await create_endpoint(uow, keys, user.id, "http://127.0.0.1:9/", **FAILING)
    deliveries = await claimed(uow, user, endpoint)
    await change(uow, change_of_endpoint)
    before = await health_of(uow, endpoint)
    await recorded(uow, deliveries, reply)
    assert await health_of(uow, endpoint) == before | {"has_taken": reply.is_success}
    assert await attempts_at(uow, deliveries[0]) == [(1, reply.status, reply.error)]


async def test_an_endpoint_that_was_deleted_has_nothing_to_record(
    uow: UnitOfWorkFactory, keys: WebhookSecrets, user: Person
) -> None:
    endpoints = [await create_endpoint(uow, keys, user.id, f"http://127.0.0.1:9/{n}") for n in range(2)]
    deliveries = await claimed(uow, user, *endpoints)
    await change(uow, "DELETE FROM webhook_configurations WHERE id = :id", id=endpoints[0].id)
    await recorded(uow, deliveries, TAKEN, TAKEN)
    assert await attempts_at(uow, deliveries[0]) == []
    assert await attempts_at(uow, deliveries[1]) == [(1, 200, None)]
    await recorded(uow, deliveries[:1], BROKEN)
