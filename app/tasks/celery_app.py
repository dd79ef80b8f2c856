"""A Celery worker: threads that ask one event loop, which holds one container, to do jobs."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

import uvloop
from celery import Celery, Task
from loguru import logger

from app.bootstrap import Container
from app.config.settings import Settings
from app.core.celery_queue import make_celery
from app.core.queue import JOB_TASK, Arguments
from app.core.supervision import Supervisor
from app.tasks.background import Role, parts_of
from app.tasks.jobs import run_job, takes_tick

# Well below the half hour after which RabbitMQ gives a message to somebody else.
JOB_SECONDS = 300.0


class WorkerRuntime:
    """The event loop of a worker process, in a thread of its own: pools of connections are bound to the loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="worker loop")
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._container: Container | None = None

    def start(self) -> None:
        """Build the container and start its loops; raises what keeps it from starting."""
        running = self._executor.submit(self._run)
        either: set[Future[Any]] = {running, self._started}
        wait(either, return_when=FIRST_COMPLETED)
        if running.done():
            running.result()
        running.add_done_callback(self._ended)

    def stop(self) -> None:
        """Stop the loops, and close the container."""
        if self._started.done():
            with suppress(RuntimeError):  # the loop has ended by itself
                self._started.result().call_soon_threadsafe(self._stop.set)
        self._executor.shutdown()

    def do(self, name: str, arguments: Arguments, tick: tuple[str, float] | None) -> None:
        """Do a job to its end, from any other thread; `tick` where it is one round of a periodic one."""
        self._wait_for(self._do(name, arguments, tick))

    async def _do(self, name: str, arguments: Arguments, tick: tuple[str, float] | None) -> None:
        if self._container is None:
            raise RuntimeError("the worker's loop does not run")
        if tick is None or await takes_tick(self._container.cache, name, *tick):
            async with asyncio.timeout(JOB_SECONDS):
                await run_job(self._container, name, arguments)

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._started.result()).result()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._live())

    def _ended(self, running: Future[None]) -> None:
        if not self._stop.is_set():
            logger.opt(exception=running.exception()).critical("The worker's loop has ended, and so does the worker")
            os.kill(os.getpid(), signal.SIGTERM)

    async def _live(self) -> None:
        async with parts_of(Role.WORKER, self._settings) as container:
            supervisor = Supervisor(container.loops)
            supervisor.start()
            self._container = container
            self._started.set_result(asyncio.get_running_loop())
            try:
                await self._stop.wait()
            finally:
                await supervisor.stop()


def worker_app(broker_url: str, settings: Settings, runtime: WorkerRuntime) -> Celery:
    """The application of a worker: its one task does the job that a message names."""
    app = make_celery(broker_url, settings.broker_queue)

    @app.task(name=JOB_TASK, bind=True)
    def job(self: Task[..., None], name: str, arguments: Arguments, every_seconds: float | None = None) -> None:
        tick = None if every_seconds is None else (str(self.request.id), every_seconds)
        runtime.do(name, arguments, tick)

    return app
