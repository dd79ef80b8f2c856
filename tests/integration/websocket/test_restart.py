"""What clients hear when the server goes."""

import pytest
from websockets.exceptions import InvalidStatus

from app.bootstrap import Container
from tests.factories import Person
from tests.integration.websocket.client import open_socket
from tests.servers import RunningServer


async def test_clients_are_told_to_reconnect_and_new_ones_are_refused(
    server: RunningServer, container: Container, person: Person
) -> None:
    async with (
        open_socket(server, token=person.access_token) as known,
        open_socket(server) as unknown,
    ):
        await container.websockets.shutdown()
        for socket in (known, unknown):
            assert await socket.close_code() == 1012
            assert (socket.seen[-1]["type"], socket.seen[-1]["channel"]) == ("reconnect", None)
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(server, token=person.access_token):
            pytest.fail("it was let in")
    assert caught.value.response.status_code == 503
    assert caught.value.response.headers["Retry-After"] == "1"
