"""The queue in memory: bounded, a few jobs at once, and jobs that Celery cannot take."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from app.core.celery_queue import CeleryQueue, make_celery
from app.core.metrics import JOBS_DROPPED
from app.core.queue import Arguments, MemoryQueue
from tests.fakes import ManualClock
from tests.logs import heard
from tests.ports import free_port
from tests.waiting import until


def dropped(name: str) -> float:
    return float(JOBS_DROPPED.labels(name)._value.get())


@pytest.fixture
def told() -> Iterator[list[str]]:
    with heard("WARNING") as lines:
        yield lines


async def test_jobs_are_done_in_their_order_with_their_arguments() -> None:
    queue, done = MemoryQueue(at_once=1), []

    async def do(name: str, arguments: Arguments) -> None:
        done.append((name, arguments))

    queue.enqueue("a", id=1)
    running = asyncio.create_task(queue.run(do))
    queue.enqueue("b", id=2)
    await until(lambda: len(done) == 2)
    running.cancel()

    assert done == [("a", {"id": 1}), ("b", {"id": 2})]


async def test_one_that_takes_long_holds_up_no_other() -> None:
    queue, done = MemoryQueue(at_once=2), []
    never = asyncio.Event()

    async def do(name: str, _: Arguments) -> None:
        if name == "slow":
            await never.wait()
        done.append(name)

    running = asyncio.create_task(queue.run(do))
    for name in ("slow", "a", "b"):
        queue.enqueue(name)
    await until(lambda: done == ["a", "b"])
    running.cancel()


async def test_beyond_its_bound_jobs_are_dropped_and_counted(told: list[str]) -> None:
    queue = MemoryQueue(most_waiting=2)
    before = dropped("many")
    for _ in range(5):
        queue.enqueue("many")
    assert dropped("many") == before + 3
    assert told[0] == "many is dropped: 2 jobs wait already\n"


async def test_jobs_that_rabbitmq_cannot_take_are_dropped_and_told_once(told: list[str]) -> None:
    clock = ManualClock()
    queue = CeleryQueue(make_celery(f"amqp://guest:guest@127.0.0.1:{free_port()}", "nowhere"), clock)

    async def never(_: str, __: Arguments) -> None:
        raise AssertionError("jobs are for workers")

    def has_dropped(wanted: float) -> bool:
        return dropped("lost") == wanted

    running = asyncio.create_task(queue.run(never))
    await until(lambda: bool(told))
    clock.advance(2)
    before = dropped("lost")
    for count in range(1, 4):
        queue.enqueue("lost")
        await until(partial(has_dropped, before + count))
        clock.advance(2)
    running.cancel()

    assert told == ["RabbitMQ does not answer (OperationalError): jobs are left to sweeps\n"]
