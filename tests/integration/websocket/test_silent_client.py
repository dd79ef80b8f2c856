"""A client that never says who it is, where little time is left for that."""

import pytest

from app.services.websocket_service import WebSocketLimits
from tests.integration.websocket.client import open_socket
from tests.servers import RunningServer


@pytest.fixture(scope="module")
def limits() -> WebSocketLimits:
    return WebSocketLimits(auth_seconds=0.2)


async def test_who_says_nothing_is_closed(server: RunningServer) -> None:
    async with open_socket(server) as socket:
        assert await socket.close_code() == 4408
