"""Keeping endless loops alive: one that ends is told, and started again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from loguru import logger

type Loop = Callable[[], Awaitable[None]]

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
STOP_SECONDS = 10.0
STOP_ALL_SECONDS = 20.0


class Supervisor:
    """Runs loops until it is stopped. A loop that raises or returns starts again after a growing wait."""

    def __init__(self, loops: Sequence[Loop], *, first_wait_seconds: float = FIRST_WAIT_SECONDS) -> None:
        self._loops = tuple(loops)
        self._first_wait_seconds = first_wait_seconds
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start every loop."""
        self._tasks = [asyncio.create_task(self._keep(loop), name=_name(loop)) for loop in self._loops]

    async def stop(self) -> None:
        """Cancel the loops, the last started first, and wait a bounded time for each to end."""
        now = asyncio.get_running_loop().time
        deadline = now() + STOP_ALL_SECONDS
        while self._tasks:
            task = self._tasks.pop()
            task.cancel()
            _, unfinished = await asyncio.wait({task}, timeout=min(STOP_SECONDS, max(0.0, deadline - now())))
            if unfinished:
                logger.error("{loop} did not stop in time", loop=task.get_name())

    async def _keep(self, loop: Loop) -> None:
        wait = self._first_wait_seconds
        while True:
            started = asyncio.get_running_loop().time()
            await self._once(loop)
            if asyncio.get_running_loop().time() - started > HEALTHY_SECONDS:
                wait = self._first_wait_seconds
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    async def _once(self, loop: Loop) -> None:
        """Run a loop to its end, however it ends; our own cancellation goes through to it."""
        run = asyncio.ensure_future(loop())
        try:
            await asyncio.wait({run})
        finally:
            if not run.done():
                run.cancel()
                await asyncio.wait({run})
        error = None if run.cancelled() else run.exception()
        logger.opt(exception=error).error("{loop} ended; it is started again", loop=_name(loop))


def _name(loop: Loop) -> str:
    function = loop.func if isinstance(loop, partial) else loop
    return getattr(function, "__qualname__", type(function).__name__)
