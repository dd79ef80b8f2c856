"""Processes that die between claim, send and record: the next one sends what has no answer, under the same ids."""

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
import pytest_asyncio

from app.core.faults import POINTS
from tests.conftest import MakeDatabase
from tests.factories import Person
from tests.integration.engine.processes import Installation, Running, Server
from tests.integration.webhooks.owner import Owner
from tests.integration.webhooks.receiver import Receiver
from tests.redis_server import once_only
from tests.waiting import until

pytestmark = [pytest.mark.crash, once_only]

# How often the endpoint has got what was due when the process died there, once all is over.
SENT = {"webhook.claimed": 1, "webhook.answered": 2, "webhook.recorded": 1}
LEASES_END = "UPDATE webhook_deliveries SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL"


@dataclass
class Site:
    """An installation, its API, and somebody who has an endpoint."""

    installation: Installation
    server: Server
    owner: Owner
    webhook_id: int

    async def serve(self, **settings: str) -> None:
        """Start the API where nobody runs an engine, and wait until it answers."""
        await self.server.launch("serve", PORT=str(self.server.port), **settings)

        async def answers() -> bool:
            try:
                return (await self.owner.client.get("/health/live")).is_success
            except httpx2.TransportError:
                return False

        await until(answers, seconds=90)

    async def ask_for_test(self) -> None:
        """Ask for a test event; the server may die before it has answered."""
        try:
            await self.owner.ask("POST", f"/{self.webhook_id}/test")
        except httpx2.TransportError:
            await self.server.gone()

    async def has_delivered(self, count: int) -> bool:
        """Whether so many deliveries have been recorded as delivered, and none is left."""
        rows = await self.installation.query("SELECT status FROM webhook_deliveries")
        return [row["status"] for row in rows] == ["delivered"] * count


@pytest_asyncio.fixture
async def site(new_database: MakeDatabase, tmp_path: Path, receiver: Receiver) -> AsyncIterator[Site]:
    """A server that has run once, for somebody to register and to make an endpoint; it is down."""
    settings = {"WEBHOOK_ALLOW_LOCAL": "true", "PAPER_FUNDING_SECONDS": "0"}
    installation = Installation(database_url=new_database(), folder=tmp_path, settings=settings)
    server = Server(installation, "serve")
    await server.start()
    async with server.client() as client:
        try:
            body = {"email": "ada@example.com", "username": "ada", "password": "correct-horse-battery"}
            token = (await client.post("/api/v1/auth/register", json=body)).json()["access_token"]
            person = Person(1, body["email"], body["username"], body["password"], token, "")
            owner = Owner(client, person)
            made = await owner.create(receiver.url())
            await server.end(signal.SIGTERM)
            yield Site(installation, server, owner, made["id"])
        finally:
            await server.end(signal.SIGKILL)
            await installation.aclose()


def test_every_fault_point_of_webhooks_is_here() -> None:
    assert {point for point in POINTS if point.startswith("webhook.")} == SENT.keys()


async def test_one_that_dies_loses_nothing_and_doubles_only_what_had_no_record(site: Site, receiver: Receiver) -> None:
    for number, (point, sent) in enumerate(SENT.items(), start=1):
        receiver.received.clear()
        await site.server.start(FAULTS=f"{point}:kill:nth=1")
        await site.ask_for_test()
        assert await site.server.gone() == -signal.SIGKILL, site.server.tail()
        assert len(receiver.received) == (0 if point == "webhook.claimed" else 1)
        await site.installation.query(LEASES_END)

        await site.server.start()
        await until(lambda: site.has_delivered(number), seconds=60)  # noqa: B023 - asked at once
        assert len(receiver.received) == sent, point
        assert len({request.event_id for request in receiver.received}) == 1
        assert len({request.body for request in receiver.received}) == 1
        await site.server.end(signal.SIGKILL)


async def test_a_worker_that_dies_while_an_endpoint_thinks_is_replaced_by_another(
    site: Site, receiver: Receiver
) -> None:
    broker = {
        "BROKER_URL": os.environ.get("TEST_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672"),
        "BROKER_QUEUE": f"test-{uuid4().hex[:12]}",
    }
    receiver.hang()
    workers = [Running(site.installation, f"worker-{number}") for number in range(2)]
    try:
        await site.serve(**broker)
        await site.ask_for_test()
        await workers[0].launch("worker", **broker)
        await until(lambda: receiver.received, seconds=60)
        await workers[0].end(signal.SIGKILL)
        receiver.released.set()
        await site.installation.query(LEASES_END)
        await workers[1].launch("worker", **broker)
        await until(lambda: site.has_delivered(1), seconds=60)
    finally:
        for worker in workers:
            if worker.process is not None:
                await worker.end(signal.SIGTERM)
    first, second = receiver.received
    assert (first.event_id, first.body) == (second.event_id, second.body)
    assert first.headers["X-Webhook-Delivery-ID"] == second.headers["X-Webhook-Delivery-ID"]
