"""Every operation of the API counts against a limit, whoever asks and however it ends."""

import httpx2
import pytest

from app.config.settings import Settings
from tests.conftest import MakeSettings
from tests.factories import Person

PLENTY = 1000
CLASSES = {
    "trading_open_trade": "trade",
    "trading_close_trade": "close",
    "orders_attach_order": "trade",
    "orders_cancel_order": "close",
    "trading_reset_paper": "trade",
    "auth_login": "login",
    "auth_register": "register",
    "auth_refresh": "refresh",
    "auth_websocket_ticket": "ticket",
    "prices_get_price": "price",
    "prices_list_prices": "price",
    "prices_list_candles": "price",
    "trading_list_pairs": "price",
    "routing_explain_route": "price",
    "admin_list_trading_states": "admin",
    "admin_set_trading_state": "admin",
}
IDS = {
    "pair_id": 2**40,
    "webhook_id": 2**40,
    "delivery_id": 2**40,
    "index": 0,
    "order_id": 2**62,
    "session_id": "7f2c1f3e-5f0e-4a39-9d0c-2f5c1d1c0f11",
    "pair": "NOPE",
    "scope": "user",
    "key": "1",
}


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    names = [name for name in Settings.model_fields if name.startswith("rate_limit_")]
    return make_settings(**dict.fromkeys(names, PLENTY))


async def test_every_operation_is_counted(client: httpx2.AsyncClient, user: Person) -> None:
    document = (await client.get("/openapi.json")).json()
    asked = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"] == ["health"]:
                continue
            name = operation["operationId"]
            body: dict[str, object] | None = {} if "requestBody" in operation else None
            # Who logs out has no token any more for the operations that follow.
            for headers in ({},) if name == "auth_logout" else ({}, user.headers):
                answer = await client.request(method, path.format(**IDS), headers=headers, json=body)
                assert answer.headers["ratelimit-policy"].startswith(f'"{CLASSES.get(name, "default")}";'), name
                assert answer.status_code < 500 or answer.status_code == 503, name
                asked += 1
    assert asked >= 50
