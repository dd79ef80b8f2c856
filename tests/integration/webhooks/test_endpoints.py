"""Endpoints over the API: made, read, changed, deleted, by their owner alone."""

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from app.bootstrap import Container
from app.config.settings import Settings
from app.domain.errors import InvalidRequest
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.webhook_secrets import WebhookSecrets
from app.services.webhook_service import EndpointLimits, NewEndpoint, WebhookService
from tests.conftest import MakeSettings
from tests.integration.api.trading.market import refusal
from tests.integration.webhooks.endpoints import SECRET
from tests.integration.webhooks.owner import Owner
from tests.integration.webhooks.receiver import Receiver

URL = "http://127.0.0.1:9/hook"
NOBODYS = 2**62


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(webhook_allow_local=True, webhook_endpoints_per_user=3)


async def test_the_seeds_fields_are_answered_and_the_secret_this_once(owner: Owner) -> None:
    body = {"url": URL, "secret": "webhook_secret_key", "event_types": ["trade.executed", "trade.closed"]}
    made = await owner.ask("POST", "", body)
    assert made.status_code == 201
    shown = made.json()
    assert {name: shown[name] for name in body} == body
    assert (shown["is_active"], shown["user_id"], shown["secret_hint"]) == (True, owner.person.id, "_key")
    assert (shown["retry_count"], shown["last_delivery_at"]) == (0, None)

    for found in (await owner.read(shown["id"]), (await owner.read())["webhooks"][0]):
        assert found == {name: value for name, value in shown.items() if name != "secret"}


async def test_a_secret_is_made_where_none_is_given_and_kept_encrypted(owner: Owner, uow: UnitOfWorkFactory) -> None:
    made = await owner.create(URL)
    assert made["secret"].startswith("whsec_")
    assert made["secret_hint"] == made["secret"][-4:]
    async with uow() as work:
        row = (await work.session.execute(text("SELECT * FROM webhook_configurations WHERE id = :id"), made)).one()
    assert made["secret"] not in repr(row)
    assert row.secret.startswith("v1:")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event_types": []}, "body.event_types"),
        ({"event_types": ["trade.exploded"]}, "body.event_types.0"),
        ({"event_types": ["*"] * 33}, "body.event_types"),
        ({"event_types": "*"}, "body.event_types"),
        ({"secret": "short"}, "body.secret"),
        ({"secret": "with spaces in the middle"}, "body.secret"),
        ({"secret": "whsec_not-base64-at-all"}, "body.secret"),
        ({"secret": "a" * 129}, "body.secret"),
        ({"url": ""}, "body.url"),
        ({"url": None}, "body.url"),
        ({"is_active": True}, "body.is_active"),
        ({"user_id": 1}, "body.user_id"),
    ],
)
async def test_what_no_endpoint_can_be_is_named(owner: Owner, change: dict[str, Any], field: str) -> None:
    answer = await owner.ask("POST", "", {"url": URL, "event_types": ["*"], **change})
    assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == field
    assert (await owner.read())["webhooks"] == []


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "http://user:word@127.0.0.1/", "http://127.0.0.1/#part", "http://10.0.0.1/", "nothing"]
)
async def test_a_url_that_may_not_be_used_is_refused_with_the_reason(owner: Owner, url: str) -> None:
    refusal(await owner.ask("POST", "", {"url": url, "event_types": ["*"]}), 400, "WEBHOOK_URL_REFUSED")
    made = await owner.create(URL)
    refusal(await owner.ask("PATCH", f"/{made['id']}", {"url": url}), 400, "WEBHOOK_URL_REFUSED")
    assert (await owner.read(made["id"]))["url"] == URL


@pytest.mark.parametrize(
    ("url", "is_development", "is_told"),
    [
        ("http://127.0.0.1/", True, True),
        ("http://localhost:9000/hook", True, True),
        ("http://127.0.0.1/", False, False),
        ("https://10.0.0.1/", True, False),
    ],
)
async def test_only_who_develops_is_told_of_the_setting_for_this_machine(
    container: Container, keys: WebhookSecrets, url: str, is_development: bool, is_told: bool
) -> None:
    limits = EndpointLimits(3, allow_local=False, is_development=is_development)
    service = WebhookService(container.uow, is_reached, keys, container.clock, limits)
    with pytest.raises(InvalidRequest) as caught:
        await service.create(NOBODYS, NewEndpoint(url, ["*"], None), is_kept)
    assert caught.value.code == "WEBHOOK_URL_REFUSED"
    assert ("WEBHOOK_ALLOW_LOCAL=true" in caught.value.message) is is_told


async def is_reached(_: str) -> None:
    pytest.fail("a URL that no endpoint may have was looked up")


async def is_kept(*_: object) -> None:
    pytest.fail("an endpoint was made of a URL that none may have")


async def test_a_secret_is_not_changed_in_passing(owner: Owner) -> None:
    made = await owner.create(URL)
    answer = await owner.ask("PATCH", f"/{made['id']}", {"secret": SECRET})
    (error,) = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    assert (error["field"], error["message"]) == (
        "body.secret",
        "POST /webhooks/{id}/rotate-secret changes the secret",
    )
    assert await owner.read(made["id"]) == {name: value for name, value in made.items() if name != "secret"}


async def test_there_are_only_so_many_also_when_all_are_asked_for_at_once(owner: Owner) -> None:
    body = {"url": URL, "event_types": ["*"]}
    answers = await asyncio.gather(*(owner.ask("POST", "", body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 3
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refusal(refused, 409, "LIMIT_EXCEEDED") == {"limit": "webhooks", "max": 3, "current": 3}


async def test_a_repetition_makes_no_second_one_and_is_without_the_secret(owner: Owner) -> None:
    body = {"url": URL, "event_types": ["*"]}
    first = await owner.ask("POST", "", body, Idempotency_Key="make")
    again = await owner.ask("POST", "", body, Idempotency_Key="make")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert again.json() == {name: value for name, value in first.json().items() if name != "secret"}
    assert len((await owner.read())["webhooks"]) == 1
    other = {**body, "event_types": ["trade.*"]}
    refusal(await owner.ask("POST", "", other, Idempotency_Key="make"), 422, "IDEMPOTENCY_KEY_REUSED")


async def test_of_many_at_once_with_one_key_one_makes(owner: Owner) -> None:
    body = {"url": URL, "event_types": ["*"]}
    answers = await asyncio.gather(*(owner.ask("POST", "", body, Idempotency_Key="burst") for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum("secret" in answer.json() for answer in answers) == 1
    assert len((await owner.read())["webhooks"]) == 1


async def test_a_refusal_forgets_the_key(owner: Owner) -> None:
    wrong = {"url": "http://10.0.0.1/", "event_types": ["*"]}
    refusal(await owner.ask("POST", "", wrong, Idempotency_Key="typo"), 400, "WEBHOOK_URL_REFUSED")
    right = {"url": URL, "event_types": ["*"]}
    assert (await owner.ask("POST", "", right, Idempotency_Key="typo")).status_code == 201


async def test_put_sets_all_and_patch_some(owner: Owner) -> None:
    made = await owner.create(URL)
    whole = {"url": URL + "2", "event_types": ["trade.*"], "is_active": False}
    assert (await owner.ask("PUT", f"/{made['id']}", whole)).json().items() >= whole.items()
    changed = await owner.ask("PATCH", f"/{made['id']}", {"event_types": ["order.filled"]})
    assert changed.json().items() >= {**whole, "event_types": ["order.filled"]}.items()
    refusal(await owner.ask("PUT", f"/{made['id']}", {"url": URL}), 400, "VALIDATION_ERROR")
    assert (await owner.ask("PATCH", f"/{made['id']}", {})).json()["event_types"] == ["order.filled"]


@pytest.mark.parametrize("field", ["url", "event_types", "is_active", "secret"])
async def test_null_changes_nothing_and_is_refused(owner: Owner, field: str) -> None:
    made = await owner.create(URL)
    answer = await owner.ask("PATCH", f"/{made['id']}", {"event_types": ["trade.*"], field: None})
    assert [wrong["field"] for wrong in refusal(answer, 400, "VALIDATION_ERROR")["errors"]] == [f"body.{field}"]
    assert (await owner.read(made["id"]))["event_types"] == ["*"]


async def test_the_list_can_be_asked_who_gets_a_type(owner: Owner) -> None:
    trades, orders = await owner.create(URL, "trade.*"), await owner.create(URL, "order.filled")
    await owner.create(URL, "*", **{})
    await owner.ask("PATCH", f"/{orders['id']}", {"is_active": False})
    answer = await owner.ask("GET", "?event_type=trade.closed")
    assert trades["id"] in [row["id"] for row in answer.json()["webhooks"]]
    assert len(answer.json()["webhooks"]) == 2
    assert len((await owner.ask("GET", "?event_type=order.filled")).json()["webhooks"]) == 1


async def test_a_deleted_endpoint_is_gone_with_its_deliveries(
    owner: Owner, receiver: Receiver, container: Container, uow: UnitOfWorkFactory
) -> None:
    made = await owner.create(receiver.url(), secret=SECRET)
    await owner.ask("POST", f"/{made['id']}/test")
    await owner.until_delivery(made["id"], status="delivered")
    assert (await owner.ask("DELETE", f"/{made['id']}")).status_code == 204
    refusal(await owner.ask("GET", f"/{made['id']}"), 404, "NOT_FOUND")
    refusal(await owner.ask("DELETE", f"/{made['id']}"), 404, "NOT_FOUND")
    async with uow() as work:
        left = await work.session.scalar(
            text("SELECT count(*) FROM webhook_deliveries WHERE webhook_config_id = :id"), made
        )
    assert left == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PUT", "", {"url": URL, "event_types": ["*"], "is_active": False}),
        ("PATCH", "", {"is_active": False}),
        ("DELETE", "", None),
        ("POST", "/rotate-secret", {}),
        ("POST", "/test", None),
        ("GET", "/deliveries", None),
        ("POST", "/resend", {"since": "2026-01-01T00:00:00Z"}),
    ],
)
async def test_anothers_endpoint_is_not_there(
    owner: Owner, stranger: Owner, method: str, path: str, body: object
) -> None:
    made = await owner.create(URL)
    refusal(await stranger.ask(method, f"/{made['id']}{path}", body), 404, "NOT_FOUND")
    refusal(await stranger.ask(method, f"/{NOBODYS}{path}", body), 404, "NOT_FOUND")
    assert await owner.read(made["id"]) == {name: value for name, value in made.items() if name != "secret"}
    assert (await stranger.read())["webhooks"] == []


async def test_nobody_asks_without_a_token(client: httpx2.AsyncClient) -> None:
    refusal(await client.get("/api/v1/webhooks"), 401, "UNAUTHORIZED")
    refusal(await client.get("/api/v1/webhooks/event-types"), 401, "UNAUTHORIZED")


async def test_every_type_of_event_is_described(owner: Owner) -> None:
    listed = (await owner.read("event-types"))["event_types"]
    by_type = {row["type"]: row for row in listed}
    assert {"trade.executed", "webhook.disabled", "webhook.test"} <= by_type.keys()
    executed = by_type["trade.executed"]
    assert executed["json_schema"]["properties"].keys() >= executed["example"].keys()
