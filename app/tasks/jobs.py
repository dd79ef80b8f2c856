"""Every job by its name: the same ones whether this process does them or a Celery worker."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from loguru import logger

from app.bootstrap import Container
from app.core.cache import Cache
from app.core.metrics import JOBS as COUNTED
from app.core.queue import Arguments
from app.domain.errors import Unavailable
from app.tasks import analytics_tasks, deposit_tasks, event_tasks, maintenance_tasks, trading_tasks, webhook_tasks

type Job = Callable[..., Coroutine[Any, Any, None]]

JOBS: Mapping[str, Job] = {
    "ping": maintenance_tasks.ping,
    "trades.settle": trading_tasks.settle,
    "orders.watch": trading_tasks.watch_orders,
    "prices.refresh": trading_tasks.refresh_prices,
    "conversions.watch": deposit_tasks.watch_conversions,
    "events.relay": event_tasks.relay_events,
    "webhooks.deliver": webhook_tasks.deliver,
    "webhooks.purge": webhook_tasks.purge,
    "analytics.roll_up": analytics_tasks.roll_up,
    "idempotency.purge": maintenance_tasks.purge_idempotency,
    "invariants.check": maintenance_tasks.check_invariants,
}


async def run_job(container: Container, name: str, arguments: Arguments) -> None:
    """Do a job. One that fails is logged and over: what it was about is found again by the next, or by a sweep."""
    job = JOBS.get(name)
    if job is None:
        COUNTED.labels("unknown", "refused").inc()
        logger.error("No job is called {job}", job=name[:64])
        return
    task = asyncio.ensure_future(_begin(job, container, arguments))
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.opt(exception=error).error("{job} failed", job=name)
    COUNTED.labels(name, "failed" if error or task.cancelled() else "done").inc()


async def _begin(job: Job, container: Container, arguments: Arguments) -> None:
    """Within the task too: arguments that a job does not take are its failure, not the queue's."""
    await job(container, **arguments)


async def takes_tick(cache: Cache, name: str, tick: str, every_seconds: float) -> bool:
    """Whether a periodic job is this one's to do: of several schedulers the first is heard, of each tick.

    `tick` names one message; delivered again it is done again. Where nobody can say, the job is done: each is harmless
    when it is done twice.
    """
    key = f"tick:{name}"
    try:
        if await cache.add(key, tick.encode(), ttl_seconds=every_seconds / 2):
            return True
        return await cache.get(key) == tick.encode()
    except Unavailable:
        return True
