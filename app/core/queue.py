"""The queue port: jobs by name, as doorbells. What is to be done stands in rows, which sweeps find without them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from loguru import logger

from app.core.metrics import JOBS_DROPPED

type Arguments = Mapping[str, object]
# Does a job here and now, whatever it meets.
type Do = Callable[[str, Arguments], Awaitable[None]]

# The one task that Celery's workers have: it does the job that its arguments name.
JOB_TASK = "marqetfi.job"
MOST_WAITING = 1000
AT_ONCE = 4


class Queue(Protocol):
    """Takes jobs without waiting. A job may be lost, and may be done twice."""

    def enqueue(self, name: str, **arguments: object) -> None:
        """Ask for a job, once what it is about has committed; arguments are ids and what else JSON can hold."""
        ...

    async def run(self, do: Do) -> None:
        """Pass jobs on to where they are done, until cancelled; `do` does them in this process."""
        ...


class Backlog:
    """Jobs that wait within this process, at most so many."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._jobs: deque[tuple[str, Arguments]] = deque()
        self._filled = asyncio.Event()

    def put(self, name: str, arguments: Arguments) -> None:
        """Add a job, or drop it where too many wait."""
        if len(self._jobs) >= self._most:
            JOBS_DROPPED.labels(name).inc()
            logger.warning("{job} is dropped: {count} jobs wait already", job=name, count=self._most)
            return
        self._jobs.append((name, arguments))
        self._filled.set()

    async def take(self) -> tuple[str, Arguments]:
        """The job that has waited longest, once there is one."""
        while not self._jobs:
            self._filled.clear()
            await self._filled.wait()
        return self._jobs.popleft()


class MemoryQueue:
    """Jobs are done in this process, a few at once."""

    def __init__(self, *, most_waiting: int = MOST_WAITING, at_once: int = AT_ONCE) -> None:
        self._backlog = Backlog(most_waiting)
        self._at_once = at_once

    def enqueue(self, name: str, **arguments: object) -> None:
        """Ask for a job."""
        self._backlog.put(name, arguments)

    async def run(self, do: Do) -> None:
        """Do jobs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._keep_doing(do))

    async def _keep_doing(self, do: Do) -> None:
        while True:
            await do(*await self._backlog.take())
