"""Webhooks: what the delivery loop gets done against its HTTP client alone, and what endpoints that hang do to others.

The receiver is a process of its own, on loopback.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import ClientSession, web

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

USERS, ENDPOINTS_EACH, EVENTS_EACH = 10, 5, 100
ENDPOINTS = USERS * ENDPOINTS_EACH
DELIVERIES = ENDPOINTS * EVENTS_EACH
SECRET = "the-secret-of-the-benchmark"  # noqa: S105 - no secret
SECONDS, PAUSE = 8.0, 0.05
LOOK_SECONDS, PATIENCE_SECONDS = 0.05, 120.0
THROUGHPUT_TARGET, ISOLATION_TARGET = 0.7, 2.0


def receive() -> None:
    """Be the endpoints: /ok/N takes, /hang/N never answers; GET / tells when each event came to one that takes."""
    came: list[tuple[str, float]] = []

    async def take(request: web.Request) -> web.Response:
        await request.read()
        came.append((request.headers["webhook-id"], time.time()))
        return web.Response(text="taken")

    async def hang(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(came)

    async def listen() -> None:
        app = web.Application()
        app.router.add_post("/ok/{number}", take)
        app.router.add_post("/hang/{number}", hang)
        app.router.add_get("/", tell)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(listen())


@dataclass(frozen=True, slots=True)
class Bench:
    """Settings on a migrated database, a connection to it, and where the receiver is."""

    settings: Settings
    sql: asyncpg.Connection
    receiver: str

    @asynccontextmanager
    async def running(self, *groups: Group) -> AsyncIterator[Container]:
        """A process with some groups of loops."""
        async with bootstrap(self.settings, groups=frozenset({Group.SHARED, *groups})) as container:
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

    async def throughput(self) -> tuple[float, float]:
        """Deliveries a second by the loop, and by the client alone with the same bodies and as many at a time."""
        async with self.running(Group.RELAY) as container:
            desk = Desk(container.uow, container.directory)
            for user_id in await self.people(container, hanging=0):
                await desk.note(user_id, times=EVENTS_EACH)
            await self.until_none("SELECT 1 FROM events WHERE fanned_out_at IS NULL LIMIT 1")
        rows = await self.sql.fetch(
            "SELECT d.*, c.url FROM webhook_deliveries d JOIN webhook_configurations c ON c.id = d.webhook_config_id"
        )
        alone = await self._alone(rows)
        async with self.running(Group.DELIVERY):
            began = time.perf_counter()
            await self.until_none("SELECT 1 FROM webhook_deliveries WHERE status = 'pending' LIMIT 1")
            took = time.perf_counter() - began
        return len(rows) / took, alone

    async def _alone(self, rows: Sequence[asyncpg.Record]) -> float:
        """Deliveries a second by the client, that many at a time in all and at each endpoint."""
        http = OutboundHttp(OutboundLimits(allow_local=True))
        by_endpoint: dict[str, list[asyncpg.Record]] = {}
        for delivery in rows:
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

        began = time.perf_counter()
        each = self.settings.webhook_concurrency_per_endpoint
        await asyncio.gather(*(send(waiting) for waiting in by_endpoint.values() for _ in range(each)))
        took = time.perf_counter() - began
        await http.aclose()
        return len(rows) / took

    async def p95(self, *, hanging: int) -> float:
        """Milliseconds from an event to its arrival at endpoints that take, 95 of 100, under a steady load."""
        async with self.running(Group.RELAY, Group.DELIVERY) as container:
            desk, users = Desk(container.uow, container.directory), await self.people(container, hanging=hanging)
            ends_at, turn = time.monotonic() + SECONDS, 0
            while time.monotonic() < ends_at:
                await desk.note(users[turn % USERS])
                turn += 1
                await asyncio.sleep(PAUSE)
            await self.until_none(
                "SELECT 1 FROM webhook_deliveries d JOIN webhook_configurations c ON c.id = d.webhook_config_id"
                " WHERE d.status = 'pending' AND c.url LIKE '%/ok/%' LIMIT 1"
            )
        events = await self.sql.fetch("SELECT id, created_at FROM events WHERE user_id = ANY($1)", users)
        made_at = {f"evt_{event['id']}": event["created_at"].timestamp() for event in events}
        async with ClientSession(trust_env=False) as session, session.get(self.receiver) as answer:
            came: list[tuple[str, float]] = await answer.json()
        return percentile([(at - made_at[event]) * 1000 for event, at in came if event in made_at], 0.95)


async def _keep_nothing(*_: object) -> None:
    """An answer that nobody asks for again need not be kept."""


async def rows() -> list[dict[str, Any]]:
    """Measure; about a minute."""
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
        healthy = await bench.p95(hanging=0)
        beside_hanging = await bench.p95(hanging=(ENDPOINTS_EACH + 1) // 2)
    isolated = row("webhooks: p95 beside endpoints of which half hang", beside_hanging, "ms", healthy, ISOLATION_TARGET)
    return [
        {
            "name": f"webhooks: {DELIVERIES:,} deliveries to {ENDPOINTS} endpoints",
            "value": round(ours),
            "unit": "deliveries/s",
            "floor": round(alone),
            "ratio": round(ours / alone, 2),
            "target": THROUGHPUT_TARGET,
            "met": ours >= THROUGHPUT_TARGET * alone,
        },
        isolated | {"met": beside_hanging <= ISOLATION_TARGET * healthy},
    ]


if __name__ == "__main__":
    receive()
