"""Endpoints that fail: when they are tried again, when they are given up, and how their owner gets them going."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.integration.api.trading.market import refusal
from tests.integration.webhooks.endpoints import change, emit
from tests.integration.webhooks.owner import Owner
from tests.integration.webhooks.receiver import Receiver, break_off, status
from tests.ports import free_port
from tests.waiting import until


async def wait_of(uow: UnitOfWorkFactory, delivery: dict[str, Any]) -> float:
    """Seconds from the recording of a delivery's last attempt to the next one."""
    query = """
        SELECT extract(epoch FROM d.next_run_at - d.updated_at) FROM webhook_deliveries d WHERE d.id = :id
    """
    async with uow() as work:
        return float(await work.session.scalar(text(query), delivery) or 0)


async def send_test(owner: Owner, webhook_id: int, **values: object) -> dict[str, Any]:
    """Send a test, and wait until its delivery has these values."""
    assert (await owner.ask("POST", f"/{webhook_id}/test")).status_code == 202
    return await owner.until_delivery(webhook_id, **values)


async def test_a_failed_attempt_is_made_again_and_so_is_what_its_owner_asks_for(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    receiver.answers["/hook"] = status(500, "broken")
    made = await owner.create(receiver.url())
    failed = await send_test(owner, made["id"], last_error="status_500")
    assert (failed["status"], failed["attempts"], failed["response_body"]) == ("pending", 1, "broken")
    assert 4 <= await wait_of(uow, failed) <= 6
    assert (await owner.read(made["id"]))["retry_count"] == 1

    receiver.answers["/hook"] = status(200)
    asked = await owner.ask("POST", f"/{made['id']}/deliveries/{failed['id']}/resend")
    assert asked.status_code == 202
    assert asked.json()["duration_ms"] == failed["attempt_log"][-1]["duration_ms"]
    delivered = await owner.until_delivery(made["id"], status="delivered")
    first, second = receiver.received
    assert (first.body, first.event_id) == (second.body, second.event_id)
    assert [request.headers["X-Webhook-Attempt"] for request in (first, second)] == ["1", "2"]
    assert second.problems(made["secret"]) == []
    assert [attempt["response_code"] for attempt in delivered["attempt_log"]] == [500, 200]
    assert (await owner.read(made["id"]))["retry_count"] == 0


async def test_it_is_made_again_by_itself_when_its_time_has_come(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    receiver.answers["/hook"] = status(500)
    made = await owner.create(receiver.url())
    failed = await send_test(owner, made["id"], last_error="status_500")
    receiver.answers["/hook"] = status(200)
    await change(uow, "UPDATE webhook_deliveries SET next_run_at = now() WHERE id = :id", id=failed["id"])
    await owner.until_delivery(made["id"], status="delivered")


async def test_after_the_last_attempt_it_has_failed_and_begins_anew_when_asked(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    receiver.answers["/hook"] = status(500)
    made = await owner.create(receiver.url())
    failed = await send_test(owner, made["id"], last_error="status_500")
    await change(uow, "UPDATE webhook_deliveries SET next_run_at = now(), attempts = 11 WHERE id = :id", **ids(failed))
    given_up = await owner.until_delivery(made["id"], status="failed")
    assert (given_up["attempts"], given_up["next_attempt_at"]) == (12, None)

    await owner.ask("POST", f"/{made['id']}/deliveries/{failed['id']}/resend")
    # While the thirteenth is under way, the delivery still tells of the twelfth.
    anew = await until(lambda: attempted(owner, failed, 3))
    assert (anew["status"], anew["attempts"], anew["last_error"]) == ("pending", 13, "status_500")
    assert 4 <= await wait_of(uow, anew) <= 6, "the first wait of the schedule again"


async def attempted(owner: Owner, delivery: dict[str, Any], times: int) -> dict[str, Any]:
    """A delivery as it stands once so many attempts at it were recorded; nothing before."""
    found = await owner.read(f"{delivery['webhook_id']}/deliveries/{delivery['id']}")
    return found if len(found["attempt_log"]) == times else {}


def ids(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"]}


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("hang", "timeout", None),
        ("half", "answer_broken", None),
        ("moved", "status_302", 302),
        ("gone", "connect_failed", None),
    ],
)
async def test_what_counts_as_a_failure(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory, fault: str, error: str, code: int | None
) -> None:
    receiver.hang("/hang")
    receiver.answers["/half"] = break_off
    receiver.answers["/moved"] = status(302, Location=receiver.url("/elsewhere"))
    url = f"http://127.0.0.1:{free_port()}/" if fault == "gone" else receiver.url(f"/{fault}")
    made = await owner.create(url)
    failed = await send_test(owner, made["id"], last_error=error)
    assert (failed["status"], failed["response_code"]) == ("pending", code)
    assert receiver.at("/elsewhere") == []
    assert (await wait_of(uow, failed) >= 48) == (error == "timeout"), "who hangs is left alone for longer"


async def test_an_endpoint_that_is_busy_may_say_for_how_long(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    receiver.answers["/hook"] = status(503, Retry_After="8")
    made = await owner.create(receiver.url())
    assert 7.5 <= await wait_of(uow, await send_test(owner, made["id"], last_error="status_503")) <= 8.5


async def test_an_endpoint_that_is_gone_is_switched_off_at_once_and_the_others_are_told(
    owner: Owner, receiver: Receiver
) -> None:
    receiver.answers["/gone"] = status(410)
    made = await owner.create(receiver.url("/gone"))
    await owner.create(receiver.url("/other"), "webhook.disabled")
    assert (await send_test(owner, made["id"], last_error="status_410"))["status"] == "failed"
    shown = await owner.read(made["id"])
    assert (shown["is_active"], shown["disabled_reason"]) == (False, "gone")
    await until(lambda: receiver.at("/other"))
    (told,) = receiver.at("/other")
    assert told.payload["event_type"] == "webhook.disabled"
    assert told.payload["data"].items() >= {"webhook_id": made["id"], "url": made["url"], "reason": "gone"}.items()
    assert told.payload["data"]["disabled_at"] == shown["disabled_at"]

    refusal(await owner.ask("POST", f"/{made['id']}/test"), 409, "CONFLICT")
    delivery = (await owner.deliveries(made["id"]))[0]["id"]
    refusal(await owner.ask("POST", f"/{made['id']}/deliveries/{delivery}/resend"), 409, "CONFLICT")
    refusal(await owner.ask("POST", f"/{made['id']}/resend", {"since": "2026-01-01T00:00:00Z"}), 409, "CONFLICT")


async def test_five_days_without_success_switch_an_endpoint_off_until_its_owner_switches_it_on(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    receiver.answers["/hook"] = status(500)
    made = await owner.create(receiver.url())
    failed = await send_test(owner, made["id"], last_error="status_500")
    since = "UPDATE webhook_configurations SET failing_since = now() - interval '119 hours' WHERE id = :id"
    await change(uow, since, id=made["id"])
    await change(uow, "UPDATE webhook_deliveries SET next_run_at = now() WHERE id = :id", id=failed["id"])
    await until(lambda: attempted(owner, failed, 2))
    assert (await owner.read(made["id"]))["is_active"]

    await change(uow, since.replace("119", "121"), id=made["id"])
    await change(uow, "UPDATE webhook_deliveries SET next_run_at = now() WHERE id = :id", id=failed["id"])
    await until(lambda: attempted(owner, failed, 3))

    async def is_off() -> bool:
        return bool((await owner.read(made["id"]))["disabled_reason"] == "failing")

    await until(is_off)
    receiver.answers["/hook"] = status(200)
    answer = await owner.ask("PATCH", f"/{made['id']}", {"is_active": True})
    assert answer.json().items() >= {"is_active": True, "retry_count": 0, "disabled_reason": None}.items()
    await change(uow, "UPDATE webhook_deliveries SET next_run_at = now() WHERE id = :id", id=failed["id"])
    await owner.until_delivery(made["id"], status="delivered")


async def test_after_ten_failures_in_a_row_an_endpoint_is_left_alone_for_a_minute(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    receiver.answers["/hook"] = status(500)
    made = await owner.create(receiver.url())
    await change(uow, "UPDATE webhook_configurations SET retry_count = 9 WHERE id = :id", id=made["id"])
    failed = await send_test(owner, made["id"], last_error="status_500")
    shown = await owner.read(made["id"])
    pause = datetime.fromisoformat(shown["paused_until"]) - datetime.fromisoformat(failed["updated_at"])
    assert (shown["retry_count"], round(pause / timedelta(seconds=1))) == (10, 60)


async def until_relayed(owner: Owner, uow: UnitOfWorkFactory) -> None:
    """Wait until a user's events have reached every endpoint that there is."""

    async def are_relayed() -> bool:
        async with uow() as work:
            return all(event.fanned_out_at for event in await work.events.after(owner.person.id, 0, limit=10))

    await until(are_relayed)


async def test_what_was_missed_is_sent_when_it_is_asked_for_since_a_time(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    made = await owner.create(receiver.url(), "trade.*")
    await emit(uow, owner.person.id)
    await until(lambda: len(receiver.received) == 1)
    delivered = await owner.until_delivery(made["id"], status="delivered")
    await owner.ask("PATCH", f"/{made['id']}", {"is_active": False})
    await emit(uow, owner.person.id, 3)

    await until_relayed(owner, uow)
    await owner.ask("PATCH", f"/{made['id']}", {"is_active": True})
    assert len(receiver.received) == 1

    path, since = f"/{made['id']}/resend", {"since": delivered["created_at"]}
    answer = await owner.ask("POST", path, {"since": "2020-01-01T00:00:00+02:00"})
    assert (answer.status_code, answer.json()) == (202, {"scheduled": 3, "next_since": None})
    await until(lambda: sorted(request.sequence for request in receiver.received) == [1, 2, 3, 4])
    await owner.until_delivery(made["id"], status="delivered")
    assert (await owner.ask("POST", path, since)).json()["scheduled"] == 0
    everything = {"since": "2020-01-01T00:00:00Z", "include_delivered": True}
    assert (await owner.ask("POST", path, everything)).json()["scheduled"] == 4
    await until(lambda: len(receiver.received) == 8)


async def test_what_was_before_the_endpoint_is_not_sent_to_it(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    await emit(uow, owner.person.id, 3)
    await until_relayed(owner, uow)
    made = await owner.create(receiver.url())
    await emit(uow, owner.person.id)
    await owner.until_delivery(made["id"], status="delivered")
    everything = {"since": "2020-01-01T00:00:00Z", "include_delivered": True}
    assert (await owner.ask("POST", f"/{made['id']}/resend", everything)).json()["scheduled"] == 1
    await until(lambda: len(receiver.received) == 2)
    assert [request.sequence for request in receiver.received] == [4, 4]
    assert len(await owner.deliveries(made["id"])) == 1


@pytest.mark.parametrize("since", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", 1767614400, None])
async def test_a_time_without_its_offset_is_none(owner: Owner, since: object) -> None:
    answer = await owner.ask("POST", "/1/resend", {"since": since})
    assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "body.since"
