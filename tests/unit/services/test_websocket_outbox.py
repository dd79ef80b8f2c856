"""The queue of one connection."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from app.services.websocket.outbox import SLOW, Closing, Outbox
from app.services.websocket.turns import Turns
from tests.waiting import DEADLINE_SECONDS, until

END = Closing(1000, "done")


def has_length(told: Sequence[object], length: int) -> bool:
    return len(told) == length


def drained(outbox: Outbox) -> list[str]:
    frames = []
    while (frame := outbox.take()) is not None:
        frames.append(frame)
    return frames


def test_frames_leave_in_order_and_before_those_of_which_the_latest_counts() -> None:
    outbox = Outbox(10, 1000, Turns())
    outbox.put_latest("a", "price 1")
    outbox.put("first")
    outbox.put_latest("b", "other")
    outbox.put_latest("a", "price 2")
    outbox.put("second")
    assert drained(outbox) == ["first", "second", "price 2", "other"]


@pytest.mark.parametrize(("max_frames", "max_bytes"), [(3, 1000), (100, 9)])
def test_a_frame_that_does_not_fit_ends_the_connection_and_frees_the_queue(max_frames: int, max_bytes: int) -> None:
    outbox = Outbox(max_frames, max_bytes, Turns())
    for frame in ("abc", "def", "ghi"):
        outbox.put(frame)
    outbox.put_latest("a", "x" * 10_000)
    assert outbox.closing is None
    outbox.put("j")
    assert outbox.closing == SLOW
    assert drained(outbox) == []


def test_what_was_taken_makes_room() -> None:
    outbox = Outbox(2, 6, Turns())
    for frame in ("abc", "def", "ghi", "jkl"):
        outbox.put(frame)
        assert outbox.take() == frame
    assert outbox.closing is None


def test_an_end_lets_what_is_queued_go_out_first_and_takes_nothing_more() -> None:
    outbox = Outbox(10, 1000, Turns())
    outbox.put("last words")
    outbox.put_latest("a", "price")
    outbox.close(END)
    outbox.put("too late")
    outbox.put_latest("b", "too late")
    assert drained(outbox) == ["last words"]
    outbox.close(SLOW, discard=True)
    assert outbox.closing == END


def test_an_unsubscribed_key_is_forgotten() -> None:
    outbox = Outbox(10, 1000, Turns())
    for key in ("prices:1", "prices:11", "positions:1"):
        outbox.put_latest(key, key)
    outbox.forget(lambda key: key == "prices:1")
    assert drained(outbox) == ["prices:11", "positions:1"]


async def test_the_writer_has_a_turn_for_whatever_there_is_to_do_once_it_rests() -> None:
    outbox = Outbox(10, 1000, Turns())
    outbox.put("before anybody writes")
    told: list[tuple[list[str], Closing | None]] = []

    def write() -> None:
        told.append((drained(outbox), outbox.closing))
        outbox.rest()

    outbox.attach(write)
    await until(lambda: told)
    given: list[Callable[[], None]] = [
        partial(outbox.put, "a"),
        partial(outbox.put_latest, "k", "b"),
        partial(outbox.close, END),
    ]
    for number, give in enumerate(given, 2):
        give()
        give()
        await until(partial(has_length, told, number))
    assert told == [(["before anybody writes"], None), (["a", "a"], None), (["b"], None), ([], END)]


async def test_nobody_is_given_a_turn_after_the_end() -> None:
    turns, told = Turns(), list[str]()
    outbox = Outbox(10, 1000, turns)
    outbox.attach(lambda: told.append("turn"))
    await until(lambda: told)
    outbox.rest()
    outbox.detach()
    outbox.put("a")
    turns.ask(lambda: told.append("later"))
    await until(lambda: len(told) > 1)
    assert told == ["turn", "later"]


async def test_the_reader_waits_for_half_of_the_queue_to_drain() -> None:
    outbox = Outbox(4, 1000, Turns())
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
    outbox = Outbox(2, 1000, Turns())
    outbox.put("a")
    waiting = asyncio.create_task(outbox.room())
    await asyncio.wait({waiting}, timeout=0.01)
    assert not waiting.done()
    outbox.close(END)
    await asyncio.wait_for(waiting, DEADLINE_SECONDS)
