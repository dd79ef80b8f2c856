"""Waiting for conditions, never for durations: the only place where tests may sleep."""

import asyncio
import time
from collections.abc import Callable

PATIENCE_SECONDS = 20.0
POLL_SECONDS = 0.01


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as the condition holds; fail naming `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still waiting for: {what}")
        time.sleep(POLL_SECONDS)


async def eventually(condition: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """The same without blocking the event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still waiting for: {what}")
        await asyncio.sleep(POLL_SECONDS)
