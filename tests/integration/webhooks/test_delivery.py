"""From the log to an endpoint, over the loops of a running server: what arrives, and what is known of it."""

import asyncio
import json
from decimal import Decimal
from typing import Any

from app.bootstrap import Container
from app.domain.events import EventType
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.tasks.jobs import run_job
from tests.integration.webhooks.endpoints import SECRET, change, emit
from tests.integration.webhooks.owner import Owner
from tests.integration.webhooks.receiver import Receiver, status
from tests.logs import heard
from tests.waiting import until

API = "/api/v1"
BTC = {"asset": "BTC", "direction": True, "collateral": 100, "leverage": 10}


async def trade(owner: Owner) -> None:
    """Open a trade at the simulated price, and close it."""
    headers = owner.person.headers

    async def is_priced() -> bool:
        return (await owner.client.get(f"{API}/prices/BTC")).status_code == 200

    await until(is_priced)
    opened = await owner.client.post(f"{API}/trading/trades", json=BTC, headers=headers)
    assert opened.json().get("status") == "success", opened.text
    closed = await owner.client.delete(
        f"{API}/trading/trades/{opened.json()['pair_id']}/{opened.json()['trade_index']}", headers=headers
    )
    assert closed.json().get("status") == "closed", closed.text


async def log_of(owner: Owner) -> list[dict[str, Any]]:
    answer = await owner.client.get(f"{API}/events?limit=1000", headers=owner.person.headers)
    found: list[dict[str, Any]] = json.loads(answer.text, parse_float=as_sent)["events"]
    return found


def as_sent(digits: str) -> float | str:
    """A number of the log as a webhook has it: a string where no float holds it."""
    return float(digits) if Decimal(repr(float(digits))) == Decimal(digits) else digits


async def test_a_trade_is_told_as_the_log_tells_it(owner: Owner, receiver: Receiver) -> None:
    made = await owner.create(receiver.url())
    await trade(owner)
    log = await log_of(owner)
    await until(lambda: len(receiver.received) >= len(log))

    arrived = sorted(receiver.received, key=lambda request: request.sequence)
    assert [request.event_id for request in arrived] == [event["id"] for event in log]
    for request, event in zip(arrived, log, strict=True):
        assert request.payload["event_type"] == event["type"] == request.headers["X-Webhook-Event-Type"]
        assert request.payload["timestamp"] == event["created_at"]
        assert request.payload["data"] == {**event["data"], "sequence": event["sequence"]}
        assert request.problems(made["secret"]) == []
        assert request.problems("another secret") == ["SIGNATURE_MISMATCH"] * 2
    rows = await owner.deliveries(made["id"])
    assert [row["event_id"] for row in reversed(rows)] == [event["id"] for event in log], "in the order of the log"
    ids = {f"delivery_{row['id']}" for row in rows}
    assert {request.headers["X-Webhook-Delivery-ID"] for request in arrived} == ids


async def test_an_endpoint_gets_what_its_filters_name(owner: Owner, receiver: Receiver) -> None:
    await owner.create(receiver.url("/trades"), "trade.executed", "trade.closed")
    await owner.create(receiver.url("/positions"), "position.*")
    await trade(owner)
    await until(lambda: len(receiver.at("/trades")) >= 2 and len(receiver.at("/positions")) >= 2)
    told = {request.payload["event_type"] for request in receiver.received}
    assert told == {"trade.executed", "trade.closed", "position.updated"}


async def test_a_test_goes_to_its_endpoint_alone_whatever_its_filters(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    tested = await owner.create(receiver.url("/tested"), "trade.closed")
    await owner.create(receiver.url("/other"), "*")
    answer = await owner.ask("POST", f"/{tested['id']}/test")
    assert answer.status_code == 202
    await emit(uow, owner.person.id)
    await until(lambda: receiver.at("/other") and receiver.at("/tested"))

    (request,) = receiver.at("/tested")
    assert (request.event_id, request.payload["data"]["sequence"]) == (
        answer.json()["event_id"],
        answer.json()["sequence"],
    )
    assert request.payload["event_type"] == EventType.WEBHOOK_TEST
    assert request.payload["data"]["webhook_id"] == tested["id"]
    assert [request.payload["event_type"] for request in receiver.at("/other")] == [EventType.TRADE_UPDATED]


async def test_what_was_sent_and_answered_is_kept_without_signatures(owner: Owner, receiver: Receiver) -> None:
    receiver.answers["/hook"] = status(201, "thanks\0 a lot")
    made = await owner.create(receiver.url("/hook?token=of-the-owner"), secret=SECRET)
    await owner.ask("POST", f"/{made['id']}/test")
    found = await owner.until_delivery(made["id"], status="delivered")

    (request,) = receiver.received
    assert found["payload"].encode() == request.body
    assert (found["response_code"], found["last_error"], found["next_attempt_at"]) == (201, None, None)
    (attempt,) = found["attempt_log"]
    assert (attempt["number"], attempt["url"], attempt["response_code"]) == (1, made["url"], 201)
    assert attempt["response_body"] == "thanks a lot"
    kept = attempt["request_headers"]
    assert kept["webhook-id"] == request.event_id == found["event_id"]
    assert {name for name, value in kept.items() if value == "********"} == {"X-Webhook-Signature", "webhook-signature"}
    assert (await owner.read(made["id"]))["last_delivery_at"] is not None


async def test_an_endpoint_that_hangs_delays_nobody(owner: Owner, stranger: Owner, receiver: Receiver) -> None:
    receiver.hang("/slow")
    slow = await owner.create(receiver.url("/slow"))
    await owner.create(receiver.url("/quick"))
    await stranger.create(receiver.url("/other"))
    await trade(owner)
    await trade(stranger)
    count = len(await log_of(owner))
    await until(lambda: len(receiver.at("/quick")) >= count and len(receiver.at("/other")) >= count)

    assert receiver.at("/slow"), "it was under way all the time"
    assert {row["status"] for row in await owner.deliveries(slow["id"])} == {"pending"}
    receiver.released.set()


async def test_deliveries_are_listed_in_pages_and_by_status(owner: Owner, receiver: Receiver) -> None:
    receiver.answers["/hook"] = status(500)
    made = await owner.create(receiver.url())
    await asyncio.gather(*(owner.ask("POST", f"/{made['id']}/test") for _ in range(5)))

    async def are_there() -> bool:
        return len(await owner.deliveries(made["id"])) == 5

    await until(are_there)
    first = await owner.read(f"{made['id']}/deliveries?limit=3")
    rest = await owner.read(f"{made['id']}/deliveries?limit=3&cursor={first['next_cursor']}")
    ids = [row["id"] for row in first["deliveries"] + rest["deliveries"]]
    assert (ids, rest["next_cursor"]) == (sorted(ids, reverse=True), None)
    assert len(await owner.deliveries(made["id"], "?status=pending&status=failed")) == 5
    await owner.until_delivery(made["id"], last_error="status_500")
    newest = (await owner.deliveries(made["id"]))[0]
    shown = await owner.read(f"{made['id']}/deliveries/{newest['id']}")
    assert newest["duration_ms"] == shown["duration_ms"] == shown["attempt_log"][-1]["duration_ms"]
    assert await owner.deliveries(made["id"], "?status=delivered") == []


async def test_an_event_that_no_webhook_can_carry_holds_up_nothing(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory
) -> None:
    await owner.create(receiver.url())
    with heard("ERROR") as lines:
        await emit(uow, owner.person.id, text="x" * 70_000)
        await emit(uow, owner.person.id)
        await until(lambda: receiver.received)
    assert [request.sequence for request in receiver.received] == [2]
    assert "too large for a webhook" in "".join(lines)


async def test_old_deliveries_are_forgotten(
    owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory, container: Container
) -> None:
    made = await owner.create(receiver.url())
    await owner.ask("POST", f"/{made['id']}/test")
    await owner.until_delivery(made["id"], status="delivered")
    await run_job(container, "webhooks.purge", {})
    assert len(await owner.deliveries(made["id"])) == 1
    await change(uow, "UPDATE webhook_deliveries SET created_at = created_at - interval '31 days'")
    await run_job(container, "webhooks.purge", {})
    assert await owner.deliveries(made["id"]) == []
