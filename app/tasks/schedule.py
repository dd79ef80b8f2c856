"""What is done again and again: in this process, or by Celery's beat."""

import asyncio
from collections.abc import Mapping
from uuid import uuid4

from app.bootstrap import Container
from app.config.settings import Settings
from app.core.queue import JOB_TASK
from app.tasks.jobs import run_job, takes_tick


def periodic_jobs(settings: Settings) -> Mapping[str, float]:
    """The jobs that repeat, and after how many seconds."""
    jobs = {
        "trades.settle": 10.0,
        "events.relay": 10.0,
        "webhooks.deliver": 10.0,
        "orders.watch": 30.0,
        "conversions.watch": 60.0,
        "analytics.roll_up": 60.0,
        "prices.refresh": 300.0,
        "idempotency.purge": 600.0,
        "webhooks.purge": 600.0,
    }
    if settings.invariant_check_seconds:
        jobs["invariants.check"] = settings.invariant_check_seconds
    return jobs


def beat_schedule(settings: Settings) -> dict[str, dict[str, object]]:
    """The same for Celery.

    Messages do not expire: the broker would put them aside as if they were deadly. Of those that come late, and so
    together, one is done.
    """
    return {
        name: {
            "task": JOB_TASK,
            "schedule": seconds,
            "kwargs": {"name": name, "arguments": {}, "every_seconds": seconds},
        }
        for name, seconds in periodic_jobs(settings).items()
    }


async def keep_schedule(container: Container) -> None:
    """Do the periodic jobs in this process, each in its own time, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for name, seconds in periodic_jobs(container.settings).items():
            group.create_task(_keep_doing(container, name, seconds))


async def _keep_doing(container: Container, name: str, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        if await takes_tick(container.cache, name, uuid4().hex, seconds):
            await run_job(container, name, {})
