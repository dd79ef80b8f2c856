"""Waiting for conditions: the only place where tests let time pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import overload

DEADLINE_SECONDS = 20.0
PAUSE_SECONDS = 0.01
BACK_OFF_SECONDS = 0.2


@overload
async def until[T](question: Callable[[], Awaitable[T]], *, seconds: float = ...) -> T: ...
@overload
async def until[T](question: Callable[[], T], *, seconds: float = ...) -> T: ...
async def until[T](question: Callable[[], T | Awaitable[T]], *, seconds: float = DEADLINE_SECONDS) -> T:
    """Ask again and again until the answer is true, and return it; AssertionError when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        value: T = await answer if isinstance(answer, Awaitable) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{question!r} never became true in {seconds} s; its last answer was {value!r}")
        await asyncio.sleep(PAUSE_SECONDS)


async def one_round() -> None:
    """Let the event loop do what is due now, once."""
    await asyncio.sleep(0)


def until_sync[T](question: Callable[[], T], *, seconds: float = DEADLINE_SECONDS) -> T:
    """Like `until`, where no event loop runs."""
    deadline = time.monotonic() + seconds
    while True:
        if value := question():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{question!r} never became true in {seconds} s; its last answer was {value!r}")
        time.sleep(PAUSE_SECONDS)


async def let_others_run() -> None:
    """Give every other task that can run a turn."""
    await asyncio.sleep(0)


async def back_off() -> None:
    """What a client waits before it asks a server again that could not answer."""
    await asyncio.sleep(BACK_OFF_SECONDS)
