"""A client that does not read costs little, hinders nobody, and loses nothing."""

import asyncio
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest
from websockets.exceptions import ConnectionClosed

from app.bootstrap import Container
from app.services.websocket_service import WebSocketLimits
from tests.factories import Person
from tests.integration.websocket.client import Socket, open_socket
from tests.integration.websocket.market import Desk
from tests.servers import RunningServer
from tests.waiting import until

# More than kernels and servers buffer for one connection, and more than its queue holds.
WRITTEN = 120
LARGE = "x" * 60_000


@pytest.fixture(scope="module")
def limits() -> WebSocketLimits:
    return WebSocketLimits(queue_bytes=300_000, connections_per_user=2, stall_seconds=300, slow_grace_seconds=300)


@asynccontextmanager
async def not_reading(server: RunningServer, person: Person) -> AsyncIterator[Socket]:
    """A client subscribed to trades that reads nothing until it is told to."""
    with closing(sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM)) as small:
        small.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        small.connect(("127.0.0.1", server.port))
        small.setblocking(False)
        async with open_socket(server, token=person.access_token, sock=small, max_queue=1) as slow:
            await slow.ask(type="subscribe", channel="trades")
            yield slow


async def write_for(healthy: Socket, desk: Desk, person: Person) -> None:
    """Write large events, each of which a healthy reader has before the next is written."""
    await healthy.ask(type="subscribe", channel="trades")
    for number in range(1, WRITTEN + 1):
        await desk.note(person.id, reason=LARGE)
        assert (await healthy.receive())["sequence"] == number


async def test_a_reader_that_stops_is_closed_as_slow_others_are_not_and_it_resumes(
    server: RunningServer, desk: Desk, person: Person
) -> None:
    async with not_reading(server, person) as slow, open_socket(server, token=person.access_token) as healthy:
        await write_for(healthy, desk, person)
        assert await slow.close_code() == 4430
        told = [frame["sequence"] for frame in slow.seen if "sequence" in frame]
        assert told == list(range(1, len(told) + 1))
        assert len(told) < WRITTEN
        assert (await healthy.ask(type="ping"))["type"] == "pong"

    async with open_socket(server, token=person.access_token) as again:
        answer = await again.ask(type="subscribe", channel="trades", data={"since": len(told)})
        assert answer["data"]["recovered"] is True
        rest = [(await again.receive())["sequence"] for _ in range(WRITTEN - len(told))]
        assert rest == list(range(len(told) + 1, WRITTEN + 1))


async def test_one_that_does_not_even_take_its_close_is_dropped(
    server: RunningServer, container: Container, desk: Desk, person: Person
) -> None:
    async with not_reading(server, person) as slow, open_socket(server, token=person.access_token) as healthy:
        await write_for(healthy, desk, person)
        container.websockets.close_stalled(asyncio.get_running_loop().time() + 1000)

        async def is_let_in() -> bool:
            async with open_socket(server, token=person.access_token) as third:
                answer = await third.ask(type="ping")
                return str(answer["type"]) == "pong"

        assert await until(is_let_in)
        with pytest.raises(ConnectionClosed):
            while True:
                await slow.receive()
        assert (await healthy.ask(type="ping"))["type"] == "pong"
