"""The endpoint as a server calls it."""

import gc
import json
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app.api.websocket.connection import WebSocketEndpoint
from app.bootstrap import Container
from app.services.websocket.connections import Connection
from tests.factories import Person
from tests.servers import RunningServer
from tests.waiting import one_round


class Gateway:
    """A client that connects and goes."""

    def __init__(self) -> None:
        self.events = ["websocket.connect", "websocket.disconnect"]
        self.sent: list[str] = []

    async def receive(self) -> dict[str, Any]:
        return {"type": self.events.pop(0)}

    async def send(self, message: Any) -> None:
        self.sent.append(message["type"])


async def call(container: Container, path: str, root_path: str = "") -> Gateway:
    """What an outer server hands over for one client."""

    async def others(scope: Any, _: Any, __: Any) -> None:
        pytest.fail(f"{scope['type']} is for nobody else")

    gateway = Gateway()
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": root_path + path,
        "root_path": root_path,
        "headers": [],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "state": {"request_id": "req_of_the_test"},
        "app": SimpleNamespace(state=SimpleNamespace(container=container)),
    }
    await WebSocketEndpoint(others)(scope, gateway.receive, gateway.send)
    return gateway


async def test_it_is_found_behind_the_root_path_of_a_server(container: Container) -> None:
    assert (await call(container, "/ws")).sent == ["websocket.accept"]
    assert (await call(container, "/ws", "/behind")).sent == ["websocket.accept"]


async def test_another_path_is_told_so_as_http_tells_it(server: RunningServer, person: Person) -> None:
    for path in ("/ws/", "/nope", "/health", "/api/v1/ws"):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws{server.url.removeprefix('http')}{path}", additional_headers=person.headers):
                pytest.fail("it was let in")
        response = caught.value.response
        error = json.loads(response.body or b"")["error"]
        assert (response.status_code, error["code"]) == (404, "NOT_FOUND")
        assert error["message"] == "The WebSocket is at /ws."
        assert response.headers["X-Request-ID"] == error["request_id"]


async def test_who_asks_for_it_without_an_upgrade_is_told_what_it_is(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/ws")
    assert answer.status_code == 404
    assert "ws://" in answer.json()["error"]["message"]


async def test_a_connection_that_has_ended_is_freed_at_once(container: Container) -> None:
    def alive() -> int:
        return sum(isinstance(each, Connection) for each in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()
    try:
        await call(container, "/ws")
        await one_round()
        assert alive() == before
    finally:
        gc.enable()
