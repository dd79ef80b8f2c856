"""Workers and beats as processes of their own, on a queue of a test's own in a real RabbitMQ."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import pytest_asyncio
from celery import Celery
from sqlalchemy import text

from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core.celery_queue import MOST_DELIVERIES, CeleryQueue, declare, make_celery
from app.core.loop_groups import Group
from app.core.metrics import JOBS
from app.core.queue import JOB_TASK
from app.core.supervision import Supervisor
from app.domain.idempotency import RequestKey
from app.tasks.celery_app import WorkerRuntime
from app.wiring import SETTLE_TOPIC
from tests.conftest import MakeSettings
from tests.factories import create_person
from tests.integration.engine.processes import MARQETFI, Installation
from tests.redis_server import once_only
from tests.waiting import until

pytestmark = once_only

BROKER_URL = os.environ.get("TEST_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672")


@pytest.fixture(scope="module")
def broker_url() -> str:
    """The url of a RabbitMQ that answers; where none does the tests are left out, in CI they fail."""
    where = urlsplit(BROKER_URL)
    try:
        socket.create_connection((where.hostname or "", where.port or 5672), timeout=2).close()
    except OSError:
        if not os.environ.get("CI"):
            pytest.skip("no RabbitMQ answers at TEST_BROKER_URL")
    return BROKER_URL


@contextmanager
def channel_of(app: Celery) -> Iterator[Any]:
    """A channel to the broker, whose methods the stubs do not know."""
    with app.connection_for_write() as connection:
        yield connection.default_channel


@pytest.fixture
def queue(broker_url: str) -> Iterator[str]:
    """The name of a queue that is gone after the test."""
    name = f"test-{uuid4().hex[:12]}"
    app = make_celery(broker_url, name)
    declare(app, name)
    yield name
    with channel_of(app) as channel:
        for each in (name, f"{name}.dead"):
            channel.queue_delete(each)
            channel.exchange_delete(each)


@pytest.fixture
def app(broker_url: str, queue: str) -> Celery:
    """Publishes as our processes do."""
    return make_celery(broker_url, queue)


@pytest.fixture
def installation(database_url: str, broker_url: str, queue: str, tmp_path: Path) -> Installation:
    settings = {"BROKER_URL": broker_url, "BROKER_QUEUE": queue, "INVARIANT_CHECK_SECONDS": "1", "WORKER_JOBS": "4"}
    return Installation(database_url=database_url, folder=tmp_path / "data", settings=settings)


@pytest_asyncio.fixture
async def listening(settings: Settings) -> AsyncIterator[Container]:
    """A process that hears what others tell over the database."""
    async with bootstrap(settings, groups=frozenset({Group.SHARED})) as container:
        supervisor = Supervisor(container.loops)
        supervisor.start()
        yield container
        await supervisor.stop()


@contextmanager
def process(installation: Installation, command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the block; told to stop at its end, if it has not stopped."""
    output = subprocess.PIPE
    with subprocess.Popen([MARQETFI, command], env=installation.environment(), stdout=output, stderr=output) as running:
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                # Else the end of Popen's block would wait for ever.
                running.kill()
                raise
    # Some are killed in their test.
    assert running.returncode in (0, -signal.SIGKILL)


def count(app: Celery, name: str) -> int:
    """The messages that wait in a queue for somebody."""
    with channel_of(app) as channel:
        return int(channel.queue_declare(name, passive=True).message_count)


def take_and_die(app: Celery, queue: str) -> bool:
    """Take a message, if there is one, and have it back in the queue, as a worker does that dies of it."""
    with channel_of(app) as channel:
        message = channel.basic_get(queue)
        if message is not None:
            channel.basic_reject(message.delivery_tag, requeue=True)
        return message is not None


@asynccontextmanager
async def purging_held_up(container: Container) -> AsyncIterator[None]:
    """Whoever deletes idempotency keys waits until the end of the block."""
    async with container.database.engine.begin() as connection:
        await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        await connection.execute(text("LOCK TABLE idempotency_records IN SHARE MODE"))
        yield


async def waits_for_a_lock(installation: Installation) -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await installation.query(waiting))


async def keys_kept(installation: Installation) -> int:
    return len(await installation.query("SELECT key FROM idempotency_records"))


@asynccontextmanager
async def publishing(app: Celery, container: Container) -> AsyncIterator[CeleryQueue]:
    queue = CeleryQueue(app, container.clock)

    async def never(name: str, _: object) -> None:
        raise AssertionError(f"{name} is for workers")

    running = asyncio.create_task(queue.run(never))
    yield queue
    running.cancel()
    await asyncio.wait([running])


async def test_a_worker_does_what_is_asked_and_ends_when_told(
    installation: Installation, app: Celery, queue: str, listening: Container
) -> None:
    heard: list[bytes] = []
    listening.broadcast.subscribe(SETTLE_TOPIC, heard.append)
    with process(installation, "worker") as worker:
        async with publishing(app, listening) as jobs:
            jobs.enqueue("no.such.job")
            jobs.enqueue("ping", unwanted=1)
            jobs.enqueue("trades.settle")

            await until(lambda: bool(heard), seconds=60)

        await until(lambda: count(app, queue) == 0)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 60) == 0
    assert count(app, f"{queue}.dead") == 0


async def test_a_job_whose_worker_is_killed_is_done_by_another(
    installation: Installation, app: Celery, queue: str, listening: Container
) -> None:
    person = await create_person(listening)
    async with listening.uow() as work:
        await work.idempotency.claim(person.id, RequestKey("old", "what was asked"), timedelta(seconds=60))
    await installation.query("UPDATE idempotency_records SET created_at = created_at - interval '25 hours'")
    async with publishing(app, listening) as jobs, purging_held_up(listening):
        with process(installation, "worker") as killed:
            jobs.enqueue("idempotency.purge")
            await until(lambda: waits_for_a_lock(installation), seconds=60)
            killed.kill()
            await asyncio.to_thread(killed.wait)
    assert await keys_kept(installation) == 1

    async def is_purged() -> bool:
        return await keys_kept(installation) == 0

    with process(installation, "worker"):
        await until(is_purged, seconds=60)
        await until(lambda: count(app, queue) == 0)
    assert count(app, f"{queue}.dead") == 0
    await installation.aclose()


async def test_what_kills_its_worker_each_time_is_put_aside(app: Celery, queue: str) -> None:
    app.send_task(JOB_TASK, kwargs={"name": "deadly", "arguments": {}})
    deaths: list[bool] = []

    def is_put_aside() -> bool:
        if take_and_die(app, queue):
            deaths.append(True)
        return count(app, f"{queue}.dead") == 1

    await until(is_put_aside)
    assert len(deaths) == MOST_DELIVERIES + 1
    assert count(app, queue) == 0


async def test_beats_ask_for_what_repeats_and_a_second_one_is_harmless(
    installation: Installation, app: Celery, queue: str, listening: Container
) -> None:
    heard: list[bytes] = []
    listening.broadcast.subscribe(SETTLE_TOPIC, heard.append)
    with process(installation, "beat"), process(installation, "beat"):
        # Two of each, the settlement of ten seconds among them.
        await until(lambda: count(app, queue) >= 20, seconds=60)
    with process(installation, "worker"):
        await until(lambda: count(app, queue) == 0, seconds=60)
        await until(lambda: bool(heard))
    assert count(app, f"{queue}.dead") == 0
    await installation.assert_books_hold()


async def test_a_round_that_two_beats_ask_for_is_done_once(make_settings: MakeSettings, broker_url: str) -> None:
    runtime = WorkerRuntime(make_settings(broker_url=broker_url, broker_queue="unused"))
    await asyncio.to_thread(runtime.start)

    async def do(tick: tuple[str, float] | None) -> float:
        await asyncio.to_thread(runtime.do, "ping", {}, tick)
        return float(JOBS.labels("ping", "done")._value.get())

    before = await do(None)
    assert await do(("first", 60)) == before + 1
    assert await do(("second", 60)) == before + 1
    # The same message again: its worker died, perhaps before the job was done.
    assert await do(("first", 60)) == before + 2
    await asyncio.to_thread(runtime.stop)


async def test_a_worker_that_cannot_start_says_why(make_settings: MakeSettings, broker_url: str) -> None:
    url = f"postgresql+asyncpg://postgres@127.0.0.1:1/{uuid4().hex}"
    runtime = WorkerRuntime(make_settings(database_url=url, broker_url=broker_url))
    with pytest.raises(OSError, match=r"refused|connect"):
        await asyncio.to_thread(runtime.start)
    await asyncio.to_thread(runtime.stop)
