"""Coroutines that are begun without a task."""

import asyncio

import pytest

from app.core.stepping import begin
from tests.waiting import one_round


async def test_what_does_not_wait_is_done_at_once() -> None:
    done = []

    async def work() -> None:
        done.append(1)

    assert begin(work()) is None
    assert done == [1]


async def test_what_waits_goes_on_as_a_task() -> None:
    done, gate = [], asyncio.Event()

    async def work() -> None:
        done.append("begun")
        await gate.wait()
        async with asyncio.timeout(60):
            await one_round()
        done.append("ended")

    task = begin(work())
    assert task is not None
    assert done == ["begun"]
    gate.set()
    await task
    assert done == ["begun", "ended"]


async def test_a_turn_given_to_others_is_taken_back() -> None:
    done = []

    async def work() -> None:
        await one_round()
        done.append(1)

    task = begin(work())
    assert task is not None
    await task
    assert done == [1]


async def test_an_error_is_raised_at_once_or_by_the_rest() -> None:
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        raise ValueError("a defect")

    task = begin(work())
    assert task is not None
    gate.set()
    with pytest.raises(ValueError, match="a defect"):
        await task
    with pytest.raises(ValueError, match="a defect"):
        begin(work())


async def test_a_cancel_ends_it_where_it_waits() -> None:
    left, gate = [], asyncio.Event()

    async def work() -> None:
        try:
            await gate.wait()
        finally:
            left.append(1)

    task = begin(work())
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == [1]
