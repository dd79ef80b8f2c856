"""An API process without an engine of its own: what it opens while engines run, die and take over."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import pytest_asyncio

from tests.integration.engine.processes import START_SECONDS, Installation, Running, Server
from tests.waiting import until

API = "/api/v1/trading"
OPENING: dict[str, Any] = {"asset": "BTC", "direction": True, "collateral": 50, "leverage": 2}
MOST_OPENED = 100
# Nobody listens there: the API process only has to believe that others do the rest.
BROKER = "amqp://guest:guest@127.0.0.1:9"

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(
        os.environ.get("TEST_MODE") != "full", reason="engines are killed in the full mode alone: once is enough"
    ),
]


class Customer:
    """Somebody who trades through the server."""

    def __init__(self, client: httpx2.AsyncClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        return await self._client.request(method, f"{API}{path}", json=body, headers=self._headers)

    async def open(self, **terms: Any) -> httpx2.Response:
        return await self.ask("POST", "/trades", OPENING | terms)

    async def may_open(self) -> bool:
        """Whether an opening would be let through; it would be refused for want of an engine otherwise.

        Only looked at, since whoever waits asks hundreds of times.
        """
        answer = await self.ask("POST", "/preview", OPENING)
        refusals = [refusal["code"] for refusal in answer.json()["refusals"]]
        assert refusals in ([], ["ENGINE_UNAVAILABLE"]), answer.text
        return not refusals

    async def may_not_open(self) -> bool:
        return not await self.may_open()

    async def is_refused(self) -> bool:
        """Whether an opening is refused, asked in earnest."""
        return (await self.open()).status_code == 503


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Installation:
    folder = tmp_path / "data"
    folder.mkdir()
    return Installation(database_url=database_url, folder=folder, settings={"BROKER_URL": BROKER})


@pytest_asyncio.fixture
async def running(installation: Installation) -> AsyncIterator[list[Running]]:
    """Processes that are ended after the test."""
    processes: list[Running] = []
    yield processes
    for process in processes:
        await process.end(signal.SIGKILL)
    await installation.aclose()


@pytest_asyncio.fixture
async def customer(installation: Installation, running: list[Running]) -> AsyncIterator[Customer]:
    """A customer of an API process, where no engine runs yet."""
    server = Server(installation, "serve")
    running.append(server)
    await server.launch("serve", PORT=str(server.port))
    async with server.client() as client:

        async def has_prices() -> bool:
            assert server.is_alive, server.tail()
            with suppress(httpx2.TransportError):
                return (await client.get("/api/v1/prices/BTCUSDT")).status_code == 200
            return False

        await until(has_prices, seconds=START_SECONDS)
        name = f"late-{uuid4().hex[:8]}"
        account = {"email": f"{name}@example.com", "username": name, "password": "a long enough phrase"}
        registered = await client.post("/api/v1/auth/register", json=account)
        yield Customer(client, registered.json()["access_token"])


async def start_engine(installation: Installation, running: list[Running], name: str) -> Running:
    engine = Running(installation, name)
    running.append(engine)
    await engine.launch("engine")
    return engine


def is_up(engine: Running) -> bool:
    """Whether an engine has said that it runs."""
    return "order engine. Ctrl-C" in engine.log.read_text()


async def holder_of(installation: Installation) -> int | None:
    """The process that holds the lease, dead or alive."""
    rows = await installation.query("SELECT holder FROM leases WHERE expires_at > now()")
    return int(rows[0]["holder"].split(":")[1]) if rows and rows[0]["holder"] else None


async def test_nothing_is_opened_without_an_engine_and_everything_can_be_closed(
    installation: Installation, running: list[Running], customer: Customer
) -> None:
    refused = await customer.open()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ENGINE_UNAVAILABLE")
    assert refused.headers["Retry-After"] == "5"
    assert await customer.may_not_open()

    engine = await start_engine(installation, running, "one")
    await until(customer.may_open, seconds=START_SECONDS)
    held = (await customer.open(order_type="STOP_LOSS", stop_price=40_000)).json()
    resting = (await customer.open(order_type="LIMIT", price=35_000)).json()
    await engine.end(signal.SIGKILL)
    await until(customer.may_not_open)
    # Each look at the lease tells its end a little later or earlier, by how long its question took.
    await until(customer.is_refused)

    trade = f"/trades/{held['pair_id']}/{held['trade_index']}"
    target = {"order_type": "TAKE_PROFIT", "trade_id": held["trade_id"], "take_profit_price": 150_000}
    attached = await customer.ask("POST", "/orders", target)
    assert attached.status_code == 201, attached.text
    for method, path, status in (
        ("DELETE", f"/orders/{attached.json()['id']}", 200),
        ("DELETE", f"/orders/{resting['order_id']}", 200),
        ("DELETE", trade, 200),
    ):
        answer = await customer.ask(method, path)
        assert answer.status_code == status, answer.text

    await start_engine(installation, running, "two")
    await until(customer.may_open, seconds=START_SECONDS)
    assert (await customer.open()).status_code == 201


async def test_a_hand_over_refuses_nothing(
    installation: Installation, running: list[Running], customer: Customer
) -> None:
    engines = [await start_engine(installation, running, name) for name in ("one", "two")]
    await until(customer.may_open, seconds=START_SECONDS)
    for engine in engines:
        await until(partial(is_up, engine), seconds=START_SECONDS)

    async def watching_engine() -> int | None:
        # Not the one of another test, which is dead.
        holder = await holder_of(installation)
        return holder if holder in {engine.pid for engine in engines} else None

    watching = await until(watching_engine, seconds=START_SECONDS)
    first, second = sorted(engines, key=lambda engine: engine.pid != watching)

    refusals: list[bool] = []

    async def has_taken_over() -> bool:
        refusals.append(await customer.may_not_open())
        # In earnest too, as often as the balance and the limit of open trades allow.
        if len(refusals) <= MOST_OPENED:
            assert (await customer.open()).status_code == 201
        return await holder_of(installation) == second.pid

    await first.end(signal.SIGKILL)
    await until(has_taken_over)
    assert not any(refusals)
    assert (await customer.open()).status_code == 201
