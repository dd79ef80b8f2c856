"""Loops that end are started again; stopping ends them in reverse order."""

import asyncio
from collections.abc import Iterator

import pytest
from loguru import logger

from app.core.supervision import Loop, Supervisor
from tests.waiting import until


@pytest.fixture
def logs() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)), format="{message}")
    yield lines
    logger.remove(sink)


async def test_a_loop_that_raises_or_returns_is_started_again(logs: list[str]) -> None:
    runs = 0

    async def unsteady() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("a fault in the loop")
        if runs > 2:
            await asyncio.Event().wait()

    supervisor = Supervisor([unsteady], first_wait_seconds=0.001)
    supervisor.start()
    await until(lambda: runs == 3)
    await supervisor.stop()

    assert sum("unsteady ended; it is started again" in line for line in logs) == 2
    assert any("a fault in the loop" in line for line in logs)


async def test_stopping_cancels_the_last_loop_first_and_waits_for_it() -> None:
    ended: list[str] = []
    started: list[str] = []

    def loop(name: str) -> Loop:
        async def run() -> None:
            started.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.get_running_loop().run_in_executor(None, int)
                ended.append(name)

        return run

    supervisor = Supervisor([loop("first"), loop("second")])
    supervisor.start()
    await until(lambda: len(started) == 2)
    await supervisor.stop()

    assert ended == ["second", "first"]


async def test_a_loop_that_will_not_stop_holds_nothing_up(monkeypatch: pytest.MonkeyPatch, logs: list[str]) -> None:
    monkeypatch.setattr("app.core.supervision.STOP_SECONDS", 0.01)
    release = asyncio.Event()
    started = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    supervisor = Supervisor([stubborn])
    supervisor.start()
    await started.wait()
    await supervisor.stop()
    release.set()

    assert any("did not stop in time" in line for line in logs)
