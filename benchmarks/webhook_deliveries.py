"""Webhooks: what the delivery loop gets done against its HTTP client alone, and what endpoints that hang do to others.

Alone, the client posts the same bodies with the same signed headers, over the same connector with the same limits, to
the same endpoints, as many at a time; it neither claims nor records. The two take turns, so that whatever else the
machine does meets both. The receiver is a process of its own on loopback, and the database one on the same machine:
where all of them share few cores, time by the wall is mostly theirs, and processor time tells what the process itself
needs. What a process does once in its life, as deriving the keys of secrets, is done before.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import asyncpg
import uvloop
from aiohttp import ClientSession
from httptools import HttpRequestParser

from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core import logging, migrations
from app.core.loop_groups import Group
from app.core.outbound_http import OutboundHttp, OutboundLimits
from app.core.supervision import Supervisor
from app.domain.webhooks import Message
from app.services.webhook_service import NewEndpoint
from benchmarks.market import bench_settings, percentile, row
from benchmarks.server_process import server_process
from tests.factories import create_person
from tests.integration.websocket.market import Desk
from tests.postgres import private_server

USERS, ENDPOINTS_EACH, EVENTS_EACH, ROUNDS = 10, 5, 100, 5
ENDPOINTS = USERS * ENDPOINTS_EACH
DELIVERIES = ENDPOINTS * EVENTS_EACH * ROUNDS
SECRET = "the-secret-of-the-benchmark"  # noqa: S105 - no secret
SECONDS, PAUSE = 3.0, 0.05
LOOK_SECONDS, PATIENCE_SECONDS = 0.05, 120.0
THROUGHPUT_TARGET, ISOLATION_TARGET = 0.7, 2.0


class Receiver(asyncio.Protocol):
    """A connection to the endpoints: /ok/N takes, /hang/N never answers; / tells when each event came to an /ok/.

    It does as little as it can: in earnest, endpoints are other people's machines.
    """

    def __init__(self, came: list[tuple[str, float]]) -> None:
        self._came = came
        self._parser = HttpRequestParser(self)
        self._path = self._event = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read what came, of a request or of several."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """A request begins."""
        self._path = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Remember which event it tells of."""
        if name == b"webhook-id":
            self._event = value.decode()

    def on_message_complete(self) -> None:
        """A request has come to its end."""
        if self._path.startswith("/ok/"):
            self._came.append((self._event, time.time()))
            self._answer(b"taken")
        elif self._path == "/":
            self._answer(json.dumps(self._came).encode())

    def _answer(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


def receive() -> None:
    """Be the endpoints, on a port that is told on standard output."""
    came: list[tuple[str, float]] = []

    async def listen() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Receiver(came), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(listen(), loop_factory=uvloop.new_event_loop)


@dataclass(slots=True)
class Spent:
    """What deliveries have taken so far: seconds by the wall, and of the processor in this process."""

    wall: float = 0.0
    processor: float = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Add what the block takes."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.processor += time.process_time() - processor


@dataclass(frozen=True, slots=True)
class Bench:
    """Settings on a migrated database, a connection to it, and where the receiver is."""

    settings: Settings
    sql: asyncpg.Connection
    receiver: str

    @asynccontextmanager
    async def running(self, *groups: Group, ready_for: int | None = None) -> AsyncIterator[Container]:
        """A process with some groups of loops; one that has been up for a while can open the secrets of a user."""
        async with bootstrap(self.settings, groups=frozenset({Group.SHARED, *groups})) as container:
            if ready_for is not None:
                (endpoint, *_) = await container.webhooks.get_active_webhooks(ready_for, "trade.updated")
                await container.webhooks.verify(ready_for, endpoint.id, None, {}, "")
            supervisor = Supervisor(container.loops)
            supervisor.start()
            yield container
            await supervisor.stop()

    async def people(self, container: Container, *, hanging: int) -> list[int]:
        """New users with ENDPOINTS_EACH endpoints, of which so many hang, the first ones of each."""
        users = []
        for _ in range(USERS):
            user_id = (await create_person(container)).id
            for number in range(ENDPOINTS_EACH):
                kind = "hang" if number < hanging else "ok"
                url = f"{self.receiver}/{kind}/{user_id}-{number}"
                await container.webhooks.create(user_id, NewEndpoint(url, ["*"], SECRET), _keep_nothing)
            users.append(user_id)
        return users

    async def until_none(self, query: str) -> None:
        """Return once a query has no row."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.sql.fetchval(query):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(LOOK_SECONDS)

    async def throughput(self) -> tuple[Spent, Spent]:
        """What DELIVERIES take: by the loop, and by the client alone."""
        ours, alone = Spent(), Spent()
        async with self.running() as container:
            users = await self.people(container, hanging=0)
        for _ in range(ROUNDS):
            await self._fill(users)
            waiting = await self.sql.fetch(_WAITING)
            await self._alone(waiting, alone)
            async with self.running(Group.DELIVERY, ready_for=users[0]):
                with ours.counted():
                    await self.until_none("SELECT 1 FROM webhook_deliveries WHERE status = 'pending' LIMIT 1")
        return ours, alone

    async def _fill(self, users: Sequence[int]) -> None:
        """Have EVENTS_EACH deliveries wait for each endpoint of the users."""
        async with self.running(Group.RELAY) as container:
            desk = Desk(container.uow, container.directory)
            for user_id in users:
                await desk.note(user_id, times=EVENTS_EACH)
            await self.until_none("SELECT 1 FROM events WHERE fanned_out_at IS NULL LIMIT 1")

    async def _alone(self, deliveries: Sequence[asyncpg.Record], spent: Spent) -> None:
        """Send deliveries by the client, as many at a time at each endpoint."""
        http = OutboundHttp(OutboundLimits(self.settings.webhook_timeout_seconds, allow_local=True))
        by_endpoint: dict[str, list[asyncpg.Record]] = {}
        for delivery in deliveries:
            by_endpoint.setdefault(delivery["url"], []).append(delivery)

        async def send(waiting: list[asyncpg.Record]) -> None:
            while waiting:
                delivery = waiting.pop()
                body = delivery["payload"].encode()
                message = Message(
                    event_id=delivery["event_id"],
                    delivery_id=delivery["id"],
                    event_type=delivery["event_type"],
                    body=body,
                    attempt=1,
                    timestamp=int(time.time()),
                    secrets=(SECRET,),
                )
                reply = await http.post(delivery["url"], body, message.headers())
                if not reply.is_success:
                    raise RuntimeError(reply.error)

        each = self.settings.webhook_concurrency_per_endpoint
        with spent.counted():
            await asyncio.gather(*(send(waiting) for waiting in by_endpoint.values() for _ in range(each)))
        await http.aclose()

    async def isolation(self) -> tuple[float, float]:
        """Milliseconds to arrive, 95 of 100, at endpoints that take: where none hangs, and where half of all do."""
        without, beside = list[float](), list[float]()
        for _ in range(ROUNDS):
            without += await self._latencies(hanging=0)
            beside += await self._latencies(hanging=(ENDPOINTS_EACH + 1) // 2)
        return percentile(without, 0.95), percentile(beside, 0.95)

    async def _latencies(self, *, hanging: int) -> list[float]:
        """Milliseconds from each event to its arrival at endpoints that take, under a steady load for SECONDS."""
        async with self.running(Group.RELAY, Group.DELIVERY) as container:
            desk, users = Desk(container.uow, container.directory), await self.people(container, hanging=hanging)
            ends_at, turn = time.monotonic() + SECONDS, 0
            while time.monotonic() < ends_at:
                await desk.note(users[turn % USERS])
                turn += 1
                await asyncio.sleep(PAUSE)
            await self.until_none(
                "SELECT 1 FROM webhook_deliveries d JOIN webhook_configurations c ON c.id = d.webhook_config_id"
                " WHERE d.status = 'pending' AND c.is_active AND c.url LIKE '%/ok/%' LIMIT 1"
            )
        # What they have not taken is not for the next round.
        await self.sql.execute("UPDATE webhook_configurations SET is_active = false WHERE user_id = ANY($1)", users)
        events = await self.sql.fetch("SELECT id, created_at FROM events WHERE user_id = ANY($1)", users)
        made_at = {f"evt_{event['id']}": event["created_at"].timestamp() for event in events}
        async with ClientSession(trust_env=False) as session, session.get(self.receiver) as answer:
            came: list[tuple[str, float]] = await answer.json(content_type=None)
        return [(at - made_at[event]) * 1000 for event, at in came if event in made_at]


_WAITING = """
SELECT d.*, c.url FROM webhook_deliveries d JOIN webhook_configurations c ON c.id = d.webhook_config_id
WHERE d.status = 'pending'
"""


async def _keep_nothing(*_: object) -> None:
    """An answer that nobody asks for again need not be kept."""


async def rows() -> list[dict[str, Any]]:
    """Measure; about two minutes."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marqetfi-bench-")))
        url = stack.enter_context(private_server())
        await asyncio.to_thread(migrations.upgrade, url)
        base = bench_settings(url, folder)
        settings = base.model_copy(update={"webhook_allow_local": True})
        logging.configure(level="ERROR", style=settings.log_format, stream=sys.stderr)
        receiver = await stack.enter_async_context(server_process(__name__))
        sql = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1))
        stack.push_async_callback(sql.close)
        bench = Bench(settings, sql, f"http://127.0.0.1:{receiver.port}")
        ours, alone = await bench.throughput()
        healthy, beside_hanging = await bench.isolation()
    work = f"webhooks: {DELIVERIES:,} deliveries to {ENDPOINTS} endpoints"
    isolated = row("webhooks: p95 beside endpoints of which half hang", beside_hanging, "ms", healthy, ISOLATION_TARGET)
    return [
        _rate(work, "deliveries/s", ours.wall, alone.wall),
        _rate(f"{work}, by processor time", "deliveries/s", ours.processor, alone.processor),
        isolated | {"met": beside_hanging <= ISOLATION_TARGET * healthy},
    ]


def _rate(name: str, unit: str, ours: float, alone: float) -> dict[str, Any]:
    """A row of how many deliveries there were in each second, from the seconds that they all took."""
    return {
        "name": name,
        "value": round(DELIVERIES / ours),
        "unit": unit,
        "floor": round(DELIVERIES / alone),
        "ratio": round(alone / ours, 2),
        "target": THROUGHPUT_TARGET,
        "met": alone >= THROUGHPUT_TARGET * ours,
    }


if __name__ == "__main__":
    receive()
