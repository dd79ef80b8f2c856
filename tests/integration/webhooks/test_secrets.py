"""Secrets: rotated while receivers change over, and verifying by them."""

from typing import Any

import pytest

from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.integration.api.trading.market import refusal
from tests.integration.webhooks.endpoints import SECRET, change
from tests.integration.webhooks.owner import Owner
from tests.integration.webhooks.receiver import Received, Receiver
from tests.waiting import until


async def send_test(owner: Owner, receiver: Receiver, webhook_id: int) -> Received:
    """The request that a test event comes in."""
    before = len(receiver.received)
    await owner.ask("POST", f"/{webhook_id}/test")
    await until(lambda: len(receiver.received) > before)
    return receiver.received[-1]


async def test_both_secrets_sign_while_they_overlap(owner: Owner, receiver: Receiver, uow: UnitOfWorkFactory) -> None:
    made = await owner.create(receiver.url(), secret=SECRET)
    rotated = (await owner.ask("POST", f"/{made['id']}/rotate-secret", {"overlap_hours": 1})).json()
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret_hint"] == rotated["secret"][-4:]
    assert rotated["previous_until"] is not None
    assert "secret" not in await owner.read(made["id"])

    both = await send_test(owner, receiver, made["id"])
    assert both.problems(SECRET) == both.problems(rotated["secret"]) == []
    assert len(both.headers["webhook-signature"].split()) == 2
    assert "X-Webhook-Signature-Previous" in both.headers

    query = "UPDATE webhook_configurations SET previous_until = now() - interval '1 second' WHERE id = :id"
    await change(uow, query, id=made["id"])
    alone = await send_test(owner, receiver, made["id"])
    assert (alone.problems(rotated["secret"]), len(alone.problems(SECRET))) == ([], 2)
    assert "X-Webhook-Signature-Previous" not in alone.headers


async def test_without_an_overlap_the_one_before_counts_no_more(owner: Owner, receiver: Receiver) -> None:
    made = await owner.create(receiver.url())
    chosen = {"secret": SECRET, "overlap_hours": 0}
    rotated = (await owner.ask("POST", f"/{made['id']}/rotate-secret", chosen)).json()
    assert (rotated["secret"], rotated["previous_until"]) == (SECRET, None)
    request = await send_test(owner, receiver, made["id"])
    assert (request.problems(SECRET), len(request.problems(made["secret"]))) == ([], 2)


async def test_a_repetition_rotates_nothing_and_is_without_the_secret(owner: Owner, receiver: Receiver) -> None:
    made = await owner.create(receiver.url())
    path = f"/{made['id']}/rotate-secret"
    first = (await owner.ask("POST", path, {}, Idempotency_Key="rotate")).json()
    again = (await owner.ask("POST", path, {}, Idempotency_Key="rotate")).json()
    assert again == {name: value for name, value in first.items() if name != "secret"}
    assert (await send_test(owner, receiver, made["id"])).problems(first["secret"]) == []


async def test_rotating_needs_no_body(owner: Owner) -> None:
    made = await owner.create("http://127.0.0.1:9/hook")
    answer = await owner.ask("POST", f"/{made['id']}/rotate-secret")
    assert answer.status_code == 200, answer.text
    assert answer.json()["secret"].startswith("whsec_")
    assert answer.json()["previous_until"] is not None


@pytest.mark.parametrize("hours", [-1, 169, 1.5, "24", None])
async def test_an_overlap_is_whole_hours_up_to_a_week(owner: Owner, hours: object) -> None:
    answer = await owner.ask("POST", "/1/rotate-secret", {"overlap_hours": hours})
    assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "body.overlap_hours"


async def verified(owner: Owner, **body: object) -> dict[str, Any]:
    answer = await owner.ask("POST", "/verify", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_arrived_is_verified_by_the_endpoint_or_by_a_secret(owner: Owner, receiver: Receiver) -> None:
    made = await owner.create(receiver.url())
    request = await send_test(owner, receiver, made["id"])
    got: dict[str, Any] = {"headers": dict(request.headers), "body": request.body.decode()}
    right = {"valid": True, "authentic": True, "fresh": True, "problems": []}
    assert await verified(owner, webhook_id=made["id"], **got) == right
    assert await verified(owner, secret=made["secret"], **got) == right

    wrong = await verified(owner, secret=SECRET, **got)
    assert (wrong["valid"], {problem["code"] for problem in wrong["problems"]}) == (False, {"SIGNATURE_MISMATCH"})
    padded = await verified(owner, webhook_id=made["id"], **{**got, "body": got["body"] + "\n"})
    assert {problem["code"] for problem in padded["problems"]} == {"BODY_PADDED"}
    late = await verified(owner, webhook_id=made["id"], headers={"webhook-timestamp": "1"}, body="{}")
    assert {problem["code"] for problem in late["problems"]} >= {"HEADER_MISSING", "TIMESTAMP_TOO_FAR"}


async def test_verifying_needs_one_secret_of_ones_own(owner: Owner, stranger: Owner, receiver: Receiver) -> None:
    made = await owner.create(receiver.url())
    got = {"headers": {}, "body": "{}"}
    refusal(await stranger.ask("POST", "/verify", {"webhook_id": made["id"], **got}), 404, "NOT_FOUND")
    refusal(await owner.ask("POST", "/verify", got), 400, "VALIDATION_ERROR")
    both = {"webhook_id": made["id"], "secret": SECRET, **got}
    refusal(await owner.ask("POST", "/verify", both), 400, "VALIDATION_ERROR")
