"""What happens when an access token ends while its socket is open."""

import asyncio

import pytest

from app.bootstrap import Container
from app.config.settings import Settings
from tests.conftest import MakeSettings
from tests.factories import Person
from tests.fakes import ManualClock
from tests.integration.websocket.client import open_socket
from tests.servers import RunningServer
from tests.waiting import until

LIFE = 120


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(access_token_seconds=LIFE)


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock()


async def test_a_token_that_ends_is_announced_and_then_ends_the_socket(
    server: RunningServer, clock: ManualClock, person: Person
) -> None:
    clock.advance(LIFE - 0.2)
    async with open_socket(server, token=person.access_token) as socket:
        assert await socket.close_code() == 4401
        codes = [frame["data"]["code"] for frame in socket.seen if frame["type"] == "error"]
        assert codes == ["TOKEN_EXPIRING", "TOKEN_EXPIRED"]


async def test_a_newer_token_keeps_the_socket_open(
    server: RunningServer, container: Container, clock: ManualClock, person: Person
) -> None:
    clock.advance(LIFE - 3)
    loop = asyncio.get_running_loop()
    async with open_socket(server, token=person.access_token) as socket:
        old_token_ends = loop.time() + 3
        assert (await socket.receive())["data"]["code"] == "TOKEN_EXPIRING"
        newer = await container.auth.refresh(person.refresh_token)
        welcome = await socket.ask(type="auth", data={"token": newer.access_token})
        assert welcome["type"] == "welcome"
        await until(lambda: loop.time() > old_token_ends + 0.2)
        assert (await socket.ask(type="ping"))["type"] == "pong"
