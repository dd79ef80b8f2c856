"""Which loops a process runs: by what it was started as, and by whether there are workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial

from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core.loop_groups import EVERY_GROUP, Group
from app.tasks.jobs import run_job
from app.tasks.schedule import keep_schedule


class Role(StrEnum):
    """What a process was started as."""

    SERVE = "serve"
    ENGINE = "engine"
    WORKER = "worker"


_WITH_BROKER = {
    Role.SERVE: frozenset({Group.SHARED, Group.MARKET, Group.RELAY, Group.GATEWAY}),
    Role.ENGINE: frozenset({Group.SHARED, Group.MARKET, Group.ENGINE, Group.RELAY}),
    Role.WORKER: frozenset({Group.SHARED, Group.RELAY, Group.DELIVERY}),
}


def groups_of(role: Role, settings: Settings) -> frozenset[Group]:
    """The groups of loops that a process runs."""
    if settings.broker_url is not None:
        return _WITH_BROKER[role]
    return EVERY_GROUP if role is Role.SERVE else EVERY_GROUP - {Group.GATEWAY, Group.DELIVERY}


@asynccontextmanager
async def parts_of(role: Role, settings: Settings) -> AsyncIterator[Container]:
    """The parts of a process, and all of its loops; without BROKER_URL it does the jobs too."""
    async with bootstrap(settings, groups=groups_of(role, settings)) as container:
        container.loops.append(partial(container.queue.run, partial(run_job, container)))
        if settings.broker_url is None:
            container.loops.append(partial(keep_schedule, container))
        yield container


serving_parts = partial(parts_of, Role.SERVE)
