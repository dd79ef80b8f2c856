"""Coroutines begun without a task: most that only send end without waiting, and a task costs as much as they do."""

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any

type Work = Coroutine[Any, None, None]


def begin(work: Work) -> asyncio.Task[None] | None:
    """Run a coroutine until it waits: None where it has ended, else the task in which it goes on.

    Raises what it raises. Until it waits it belongs to no task, so that it must not use what needs one, such as
    asyncio.timeout.
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    # Begun at once too, since a cancel before its first step would not reach the coroutine.
    return asyncio.Task(_rest(work, waits_for), loop=asyncio.get_running_loop(), eager_start=True)


async def _rest(work: Work, waits_for: Any) -> None:
    await _go_on(work, waits_for)


@coroutine
def _go_on(work: Work, waits_for: Any) -> Generator[Any, None, None]:
    """Hand what a coroutine waits for to the task that runs this, as if it had just said so; then run it there."""
    try:
        yield waits_for
    except BaseException:
        # A cancel: the coroutine ends where it waits.
        work.close()
        raise
    yield from work
