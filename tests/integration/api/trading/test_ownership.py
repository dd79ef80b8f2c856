"""What is another user's does not exist: every operation that takes an id, as the OpenAPI document lists them."""

import json
from typing import Any
from uuid import uuid4

import httpx2
import pytest_asyncio

from app.bootstrap import Container
from app.models.webhook import WebhookConfiguration
from app.repositories.webhook_delivery_repository import NewDelivery
from tests.integration.api.trading.market import Trader, refusal

# What names no user's thing, but a market, or what administrators set.
PUBLIC = {"pair", "scope", "key"}
CHANGES: dict[str, object] = {
    "orders_amend_order": {"stop_price": 47_000},
    "webhooks_replace_webhook": {"url": "https://a.example.com/", "event_types": ["*"], "is_active": False},
    "webhooks_amend_webhook": {"is_active": False},
    "webhooks_rotate_secret": {},
    "webhooks_resend_since": {"since": "2026-01-01T00:00:00Z"},
}

type Ids = dict[str, object]


@pytest_asyncio.fixture
async def theirs(other_trader: Trader, container: Container) -> Ids:
    """Ids of another user's things: a protected trade, its exit, a session, a webhook with a delivery."""
    opened = await other_trader.open(order_type="STOP_LOSS", stop_price=48_000)
    (session,) = await container.auth.sessions(other_trader.person.id)
    webhook_id, delivery_id = await webhook_of(container, other_trader.person.id)
    return {
        "webhook_id": webhook_id,
        "delivery_id": delivery_id,
        "pair_id": opened["pair_id"],
        "index": opened["trade_index"],
        "trade_index": opened["trade_index"],
        "trade_id": opened["trade_id"],
        "order_id": opened["exit_order_ids"][0],
        "session_id": str(session.public_id),
    }


async def webhook_of(container: Container, user_id: int) -> tuple[int, int]:
    """Ids of a user's webhook and of one of its deliveries, which nobody sends."""
    async with container.uow() as work:
        endpoint = await work.webhooks.add(
            WebhookConfiguration(
                user_id=user_id, url="https://example.com/", secret="", event_types=["*"], is_active=False
            )
        )
        event, *_ = await work.events.after(user_id, 0, limit=1)
        await work.deliveries.schedule([NewDelivery(endpoint.id, event.id, event.type, "{}")])
        (delivery,) = await work.deliveries.of_endpoint(endpoint.id, statuses=None, before=None, limit=1)
    return endpoint.id, delivery.id


def nobodys(pair_id: object = 1) -> Ids:
    """Ids that name nothing, but for the pair, which is everybody's."""
    return {
        "pair_id": pair_id,
        "index": 2**30,
        "trade_index": 2**30,
        "trade_id": 2**62,
        "order_id": 2**62,
        "webhook_id": 2**62,
        "delivery_id": 2**62,
        "session_id": str(uuid4()),
    }


async def operations_with_ids(client: httpx2.AsyncClient) -> list[tuple[str, str, str]]:
    """(operation id, method, path) of each operation whose path names a thing of a user."""
    document = (await client.get("/openapi.json")).json()
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            names = {item["name"] for item in operation.get("parameters", []) if item["in"] == "path"} - PUBLIC
            assert names <= set(nobodys()), f"{method} {path}: teach this test what {names} is"
            if names:
                found.append((operation["operationId"], method.upper(), path))
    return found


def told(answer: httpx2.Response, ids: Ids) -> str:
    """A refusal but for what is its own: request id, time, and the ids that were asked for."""
    error = answer.json()["error"] | {"request_id": "", "timestamp": ""}
    return json.dumps(
        error | {"details": {n: "asked" if v in ids.values() else v for n, v in error["details"].items()}}
    )


async def state(trader: Trader, ids: Ids) -> Any:
    """All that somebody could have changed."""
    headers = trader.person.headers
    trade = await trader.read(f"/trades/{ids['pair_id']}/{ids['index']}")
    sessions = (await trader.client.get("/api/v1/auth/sessions", headers=headers)).json()
    webhooks = (await trader.client.get("/api/v1/webhooks", headers=headers)).json()
    return trade["status"], trade["size"], trade["orders"], len(sessions["sessions"]), webhooks


async def test_another_users_ids_are_answered_like_unknown_ones(
    trader: Trader, other_trader: Trader, theirs: Ids
) -> None:
    before = await state(other_trader, theirs)
    operations = await operations_with_ids(trader.client)
    assert len(operations) >= 6

    for name, method, path in operations:
        answers = []
        for ids in (theirs, nobodys(theirs["pair_id"])):
            answer = await trader.client.request(
                method, path.format(**ids), headers=trader.person.headers, json=CHANGES.get(name)
            )
            assert answer.status_code == 404, f"{name}: {answer.status_code} {answer.text}"
            answers.append(told(answer, ids))
        assert answers[0] == answers[1], name
    assert await state(other_trader, theirs) == before


async def test_nor_can_a_body_name_them(trader: Trader, other_trader: Trader, theirs: Ids) -> None:
    before = await state(other_trader, theirs)
    for ids in (theirs, nobodys(theirs["pair_id"])):
        for names in (("trade_id",), ("pair_id", "trade_index")):
            body = {"order_type": "STOP_LOSS", "stop_price": 48_000} | {name: ids[name] for name in names}
            refusal(await trader.send("POST", "/orders", body), 404, "TRADE_NOT_FOUND")
    assert await state(other_trader, theirs) == before


async def test_nor_do_they_stand_in_any_list(trader: Trader, theirs: Ids) -> None:
    assert (await trader.read(f"/orders?trade_id={theirs['trade_id']}"))["orders"] == []
    for path, name in (("/orders", "orders"), ("/trades", "trades"), ("/positions", "positions")):
        assert (await trader.read(path))[name] == []
    assert await trader.events() == []


async def test_the_owner_finds_them(other_trader: Trader, theirs: Ids) -> None:
    assert (await other_trader.order(int(str(theirs["order_id"]))))["id"] == theirs["order_id"]


async def test_nothing_of_anybody_is_told_to_nobody(trader: Trader, theirs: Ids) -> None:
    for name, method, path in await operations_with_ids(trader.client):
        answer = await trader.client.request(method, path.format(**theirs), json=CHANGES.get(name))
        refusal(answer, 401, "UNAUTHORIZED")
