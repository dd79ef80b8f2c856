"""The pause of an endpoint that failed too often: what is asked for does not wait for its end."""

from typing import Any

import pytest

from app.domain.events import EventType
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.integration.webhooks.endpoints import change, emit
from tests.integration.webhooks.owner import Owner
from tests.integration.webhooks.receiver import Receiver, status
from tests.waiting import until

# More than are sent to one endpoint at a time.
WAITING = 6


async def paused(owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory) -> dict[str, Any]:
    """An endpoint that fails, is paused for an hour, and for which events wait."""
    receiver.answers["/hook"] = status(500)
    made = await owner.create(receiver.url())
    pause = "UPDATE webhook_configurations SET retry_count = 10, failing_since = now(), "
    await change(uow, f"{pause} paused_until = now() + interval '1 hour' WHERE id = :id", id=made["id"])
    await emit(uow, owner.person.id, WAITING)

    async def do_wait() -> bool:
        return len(await owner.deliveries(made["id"])) == WAITING

    await until(do_wait)
    assert receiver.received == []
    return await owner.read(made["id"])


async def test_a_delivery_is_not_shown_as_due_before_the_pause_is_over(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    endpoint = await paused(owner, receiver, uow)
    rows = await owner.deliveries(endpoint["id"])
    newest = await owner.read(f"{endpoint['id']}/deliveries/{rows[0]['id']}")
    assert {row["next_attempt_at"] for row in [*rows, newest]} == {endpoint["paused_until"]}


async def test_a_test_is_sent_before_what_waits_and_its_failure_pauses_again(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    endpoint = await paused(owner, receiver, uow)
    assert (await owner.ask("POST", f"/{endpoint['id']}/test")).status_code == 202
    failed = await owner.until_delivery(endpoint["id"], event_type=EventType.WEBHOOK_TEST, last_error="status_500")
    assert failed["attempts"] == 1
    shown = await owner.read(endpoint["id"])
    assert shown["retry_count"] > endpoint["retry_count"]
    assert shown["failing_since"] == endpoint["failing_since"]
    assert None is not shown["paused_until"] < endpoint["paused_until"]


async def test_a_test_that_is_taken_lets_the_rest_follow(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    endpoint = await paused(owner, receiver, uow)
    receiver.answers["/hook"] = status(200)
    await owner.ask("POST", f"/{endpoint['id']}/test")
    await until(lambda: len(receiver.received) == WAITING + 1)
    await owner.until_delivery(endpoint["id"], event_type=EventType.WEBHOOK_TEST, status="delivered")
    assert len({request.event_id for request in receiver.received}) == WAITING + 1, "none comes twice"
    assert (await owner.read(endpoint["id"])).items() >= {"retry_count": 0, "paused_until": None}.items()


async def test_one_that_is_asked_for_is_sent_before_what_waits(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    endpoint = await paused(owner, receiver, uow)
    last = (await owner.deliveries(endpoint["id"]))[0]
    assert (await owner.ask("POST", f"/{endpoint['id']}/deliveries/{last['id']}/resend")).status_code == 202
    await owner.until_delivery(endpoint["id"], id=last["id"], last_error="status_500")
    assert (await owner.read(endpoint["id"]))["retry_count"] > endpoint["retry_count"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/resend", {"since": "2026-01-01T00:00:00Z"}),
        ("PATCH", "", {"is_active": True}),
    ],
)
async def test_all_that_waits_is_sent_when_all_is_asked_for_or_the_endpoint_is_switched_on(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory, method: str, path: str, body: object
) -> None:
    endpoint = await paused(owner, receiver, uow)
    receiver.answers["/hook"] = status(200)
    assert (await owner.ask(method, f"/{endpoint['id']}{path}", body)).status_code < 300
    await until(lambda: len(receiver.received) == WAITING)


async def test_switching_on_what_is_on_forgets_its_failures(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    endpoint = await paused(owner, receiver, uow)
    receiver.hang()
    answer = await owner.ask("PATCH", f"/{endpoint['id']}", {"is_active": True})
    forgotten = {"is_active": True, "retry_count": 0, "failing_since": None, "paused_until": None}
    assert answer.json().items() >= forgotten.items()


async def test_another_change_leaves_the_pause_as_it_is(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    endpoint = await paused(owner, receiver, uow)
    answer = await owner.ask("PATCH", f"/{endpoint['id']}", {"event_types": ["trade.*"]})
    assert answer.json()["paused_until"] == endpoint["paused_until"]
