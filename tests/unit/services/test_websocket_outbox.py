"""The queue of one connection."""

import asyncio
from collections.abc import Callable

import pytest

from app.services.websocket.outbox import SLOW, Closing, Outbox
from tests.waiting import DEADLINE_SECONDS, until

END = Closing(1000, "done")


def drained(outbox: Outbox) -> list[str]:
    frames = []
    while (frame := outbox.take()) is not None:
        frames.append(frame)
    return frames


def test_frames_leave_in_order_and_before_those_of_which_the_latest_counts() -> None:
    outbox = Outbox(10, 1000)
    outbox.put_latest("a", "price 1")
    outbox.put("first")
    outbox.put_latest("b", "other")
    outbox.put_latest("a", "price 2")
    outbox.put("second")
    assert drained(outbox) == ["first", "second", "price 2", "other"]


@pytest.mark.parametrize(("max_frames", "max_bytes"), [(3, 1000), (100, 9)])
def test_a_frame_that_does_not_fit_ends_the_connection_and_frees_the_queue(max_frames: int, max_bytes: int) -> None:
    outbox = Outbox(max_frames, max_bytes)
    for frame in ("abc", "def", "ghi"):
        outbox.put(frame)
    outbox.put_latest("a", "x" * 10_000)
    assert outbox.closing is None
    outbox.put("j")
    assert outbox.closing == SLOW
    assert drained(outbox) == []


def test_what_was_taken_makes_room() -> None:
    outbox = Outbox(2, 6)
    for frame in ("abc", "def", "ghi", "jkl"):
        outbox.put(frame)
        assert outbox.take() == frame
    assert outbox.closing is None


def test_an_end_lets_what_is_queued_go_out_first_and_takes_nothing_more() -> None:
    outbox = Outbox(10, 1000)
    outbox.put("last words")
    outbox.put_latest("a", "price")
    outbox.close(END)
    outbox.put("too late")
    outbox.put_latest("b", "too late")
    assert drained(outbox) == ["last words"]
    outbox.close(SLOW, discard=True)
    assert outbox.closing == END


def test_an_unsubscribed_key_is_forgotten() -> None:
    outbox = Outbox(10, 1000)
    for key in ("prices:1", "prices:11", "positions:1"):
        outbox.put_latest(key, key)
    outbox.forget(lambda key: key == "prices:1")
    assert drained(outbox) == ["prices:11", "positions:1"]


async def test_the_writer_sleeps_until_there_is_work() -> None:
    outbox = Outbox(10, 1000)
    sleeps: list[int] = []

    async def next_frame() -> str | None:
        while (frame := outbox.take()) is None and outbox.closing is None:
            sleeps.append(len(sleeps))
            await outbox.work()
        return frame

    async def frame_after(give: Callable[[], None]) -> str | None:
        sleeps.clear()
        writer = asyncio.create_task(next_frame())
        await until(lambda: sleeps)
        assert not writer.done()
        give()
        return await asyncio.wait_for(writer, DEADLINE_SECONDS)

    assert await frame_after(lambda: outbox.put("a")) == "a"
    assert await frame_after(lambda: outbox.put_latest("k", "b")) == "b"
    assert await frame_after(lambda: outbox.close(END)) is None


async def test_the_reader_waits_for_half_of_the_queue_to_drain() -> None:
    outbox = Outbox(4, 1000)
    for frame in "abcd":
        outbox.put(frame)
    waiting = asyncio.create_task(outbox.room())
    for _ in range(2):
        outbox.take()
        await asyncio.wait({waiting}, timeout=0.01)
        assert not waiting.done()
    outbox.take()
    await asyncio.wait_for(waiting, DEADLINE_SECONDS)


async def test_an_end_frees_the_reader() -> None:
    outbox = Outbox(2, 1000)
    outbox.put("a")
    waiting = asyncio.create_task(outbox.room())
    await asyncio.wait({waiting}, timeout=0.01)
    assert not waiting.done()
    outbox.close(END)
    await asyncio.wait_for(waiting, DEADLINE_SECONDS)
