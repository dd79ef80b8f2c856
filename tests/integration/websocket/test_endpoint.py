"""The endpoint as a server calls it."""

import gc
from types import SimpleNamespace
from typing import Any

from app.api.websocket.connection import WebSocketEndpoint
from app.bootstrap import Container
from app.services.websocket.connections import Connection
from tests.waiting import one_round


class Gateway:
    """A client that connects, is told what there is, and goes."""

    def __init__(self) -> None:
        self.events = ["websocket.connect", "websocket.disconnect"]
        self.sent: list[str] = []

    async def receive(self) -> dict[str, Any]:
        return {"type": self.events.pop(0)}

    async def send(self, message: Any) -> None:
        self.sent.append(message["type"])


async def call(container: Container, path: str, root_path: str = "") -> Gateway:
    """What an outer server hands over for one client."""

    async def others(_: Any, __: Any, send: Any) -> None:
        await send({"type": "for others"})

    gateway = Gateway()
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": root_path + path,
        "root_path": root_path,
        "headers": [],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "app": SimpleNamespace(state=SimpleNamespace(container=container)),
    }
    await WebSocketEndpoint(others)(scope, gateway.receive, gateway.send)
    return gateway


async def test_it_is_found_behind_the_root_path_of_a_server(container: Container) -> None:
    assert (await call(container, "/ws")).sent == ["websocket.accept"]
    assert (await call(container, "/ws", "/behind")).sent == ["websocket.accept"]
    assert (await call(container, "/wss")).sent == ["for others"]


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
