"""Jobs by name: what becomes of those that fail, of names that are none, and of doubled ticks."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.config.settings import Settings
from app.core.cache import MemoryCache
from app.core.metrics import JOBS as COUNTED
from app.domain.errors import Unavailable
from app.tasks import jobs
from app.tasks.background import Role, groups_of
from app.tasks.jobs import JOBS, run_job, takes_tick
from app.tasks.schedule import beat_schedule, periodic_jobs
from tests.fakes import ManualClock
from tests.logs import heard


@pytest.fixture
def told() -> Iterator[list[str]]:
    with heard("ERROR") as lines:
        yield lines


def counted(name: str, outcome: str) -> float:
    return float(COUNTED.labels(name, outcome)._value.get())


async def test_a_job_that_fails_is_told_and_ends_alone(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    async def fail(_: object, *, row_id: int) -> None:
        raise ValueError(f"row {row_id}")

    monkeypatch.setattr(jobs, "JOBS", {"fail": fail})
    container: Any = object()
    await run_job(container, "fail", {"row_id": 7})
    await run_job(container, "fail", {"wrong": 1})

    assert counted("fail", "failed") == 2
    assert "fail failed" in told[0]
    assert "row 7" in told[0]


async def test_a_name_that_is_no_job_is_refused(told: list[str]) -> None:
    container: Any = object()
    await run_job(container, "os.system", {"command": "true"})
    assert told == ["No job is called os.system\n"]


async def test_of_two_schedulers_the_first_is_heard_and_a_message_that_comes_again_is_done_again() -> None:
    clock = ManualClock()
    cache = MemoryCache(clock)

    assert await takes_tick(cache, "job", "first", 10)
    assert not await takes_tick(cache, "job", "second", 10)
    assert await takes_tick(cache, "job", "first", 10)
    assert await takes_tick(cache, "other", "third", 10)
    clock.advance(10)
    assert await takes_tick(cache, "job", "fourth", 10)


async def test_where_nobody_can_say_a_tick_is_taken() -> None:
    class Away(MemoryCache):
        async def add(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
            raise Unavailable

    assert await takes_tick(Away(ManualClock()), "job", "first", 10)


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def test_what_repeats_is_a_job_and_the_same_in_both_modes() -> None:
    repeated = periodic_jobs(settings())
    assert repeated.keys() <= JOBS.keys()
    planned = beat_schedule(settings())
    assert {name: entry["schedule"] for name, entry in planned.items()} == repeated
    assert "invariants.check" not in periodic_jobs(settings(invariant_check_seconds=0))


def test_each_group_of_loops_is_run_by_somebody() -> None:
    alone = settings()
    assert groups_of(Role.SERVE, alone) == {"shared", "engine", "market", "relay", "gateway", "delivery"}
    assert groups_of(Role.ENGINE, alone) == {"shared", "engine", "market", "relay"}

    many = settings(database_url="postgresql+asyncpg://host/name", broker_url="amqp://host")
    each = {role: groups_of(role, many) for role in Role}
    assert frozenset().union(*each.values()) == groups_of(Role.SERVE, alone)
    assert "engine" not in each[Role.SERVE] | each[Role.WORKER]
    assert [role for role in Role if "delivery" in each[role]] == [Role.WORKER]
