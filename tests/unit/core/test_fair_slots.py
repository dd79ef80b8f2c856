"""Fair slots: bounded, in turn, and nothing is lost to those who stop waiting."""

import asyncio

from app.core.fair_slots import FairSlots
from tests.waiting import let_others_run

TURNS = 8


async def settle() -> None:
    """Let every task come as far as it can."""
    for _ in range(TURNS):
        await let_others_run()


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class Work:
    """Tasks that each hold a slot until they are told to end; `running` and `began` name them by key."""

    def __init__(self, slots: FairSlots) -> None:
        self.slots = slots
        self.running: list[int] = []
        self.began: list[int] = []
        self.ends: dict[int, list[asyncio.Event]] = {}

    def start(self, key: int) -> asyncio.Task[None]:
        return asyncio.create_task(self._hold(key))

    async def _hold(self, key: int) -> None:
        async with self.slots.slot(key):
            self.began.append(key)
            self.running.append(key)
            end = asyncio.Event()
            self.ends.setdefault(key, []).append(end)
            await end.wait()
            self.running.remove(key)

    async def end(self, key: int) -> None:
        self.ends[key].pop(0).set()
        await settle()


async def test_a_greedy_key_leaves_room_for_others() -> None:
    work = Work(FairSlots(total=4, each=2))
    tasks = [work.start(1) for _ in range(10)]
    await settle()
    assert work.running == [1, 1]

    tasks += [work.start(2), work.start(3)]
    await settle()

    assert sorted(work.running) == [1, 1, 2, 3]
    await stop(tasks)


async def test_keys_that_wait_take_turns() -> None:
    work = Work(FairSlots(total=1, each=1))
    tasks = [work.start(1) for _ in range(3)]
    await settle()
    tasks += [work.start(2), work.start(2), work.start(3)]
    await settle()
    for key in (1, 1, 2, 3, 1):
        assert work.running == [key], work.began
        await work.end(key)

    assert work.began == [1, 1, 2, 3, 1, 2]
    await stop(tasks)


async def test_who_stops_waiting_takes_no_slot() -> None:
    slots = FairSlots(total=1, each=1)
    work = Work(slots)
    first, second, third = work.start(1), work.start(1), work.start(2)
    await settle()
    second.cancel()
    await settle()
    await work.end(1)
    assert work.running == [2]
    # A slot that was given at the very moment of the cancel goes on to the next.
    fourth, fifth = work.start(4), work.start(5)
    await settle()
    work.ends[2].pop(0).set()
    fourth.cancel()
    await settle()

    assert work.running == [5]
    await stop([first, third, fifth])
