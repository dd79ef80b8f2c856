"""Two API processes on one database and one Redis: what one does the other knows, and what both do without Redis."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx2
import pytest
import pytest_asyncio

from app.config.settings import Settings
from app.main import create_app
from tests.conftest import MakeSettings
from tests.factories import Person, create_person
from tests.integration.websocket.client import open_socket
from tests.redis_server import RedisServer, redis_server
from tests.servers import RunningServer, serve
from tests.waiting import until

BODY = {"asset": "BTC", "direction": True, "collateral": 100, "leverage": 5, "order_type": "MARKET"}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings, redis: RedisServer) -> Settings:
    return make_settings(redis_url=redis.url, rate_limit_price=5)


@pytest_asyncio.fixture(scope="module")
async def servers(settings: Settings) -> AsyncIterator[tuple[RunningServer, RunningServer]]:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(serve(create_app(settings))) for _ in range(2)]
        yield first, second


@pytest_asyncio.fixture(scope="module")
async def clients(servers: tuple[RunningServer, RunningServer]) -> AsyncIterator[list[httpx2.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=20))
            for server in servers
        ]


@pytest_asyncio.fixture
async def person(servers: tuple[RunningServer, RunningServer]) -> Person:
    return await create_person(servers[0].app.state.container)


async def test_a_session_that_one_ends_is_over_for_the_other(
    servers: tuple[RunningServer, RunningServer], clients: list[httpx2.AsyncClient], person: Person
) -> None:
    async with open_socket(servers[1], token=person.access_token) as socket:
        for client in clients:
            assert (await client.get("/api/v1/events", headers=person.headers)).status_code == 200

        assert (await clients[0].post("/api/v1/auth/logout", headers=person.headers)).status_code == 204

        assert (await clients[1].get("/api/v1/events", headers=person.headers)).status_code == 401
        assert await socket.close_code() == 4401


async def test_a_client_of_one_sees_what_was_done_through_the_other(
    servers: tuple[RunningServer, RunningServer], clients: list[httpx2.AsyncClient], person: Person
) -> None:
    await until(lambda: is_priced(clients[0]))
    async with open_socket(servers[1], token=person.access_token) as socket:
        await socket.ask(type="subscribe", channel="trades")
        opened = await clients[0].post("/api/v1/trading/trades", json=BODY, headers=person.headers)
        assert opened.status_code == 201, opened.text

        frame = await socket.receive_until(
            lambda frame: frame["type"] == "trade_update" and frame["data"]["event"] == "trade.executed"
        )
        assert frame["data"]["trade_id"] == opened.json()["trade_id"]


async def test_a_limit_counts_over_both(clients: list[httpx2.AsyncClient], person: Person) -> None:
    statuses = [
        (await clients[n % 2].get("/api/v1/trading/pairs", headers=person.headers)).status_code for n in range(7)
    ]
    assert statuses == [200] * 5 + [429] * 2


async def test_without_redis_both_go_on_but_for_what_it_alone_makes_sure(
    redis: RedisServer, clients: list[httpx2.AsyncClient], person: Person
) -> None:
    redis.kill()
    try:
        health = (await clients[0].get("/health")).json()
        assert (health["status"], health["parts"]["cache"]) == ("degraded", "down")
        assert (await clients[0].get("/health/ready")).status_code == 200
        assert (await clients[1].get("/api/v1/events", headers=person.headers)).status_code == 200
        for asked in (
            clients[0].post("/api/v1/auth/ws-ticket", headers=person.headers),
            clients[1].post("/api/v1/auth/login", json={"email": person.email, "password": person.password}),
        ):
            answer = await asked
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    finally:
        redis.start()

    async def gives_tickets() -> bool:
        return (await clients[0].post("/api/v1/auth/ws-ticket", headers=person.headers)).status_code == 200

    await until(gives_tickets)
    assert (await clients[0].get("/health")).json()["parts"]["cache"] == "up"


async def is_priced(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/api/v1/prices/BTCUSDT")).status_code == 200
