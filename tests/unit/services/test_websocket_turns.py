"""Turns of those who have something to send."""

import asyncio
from functools import partial

from app.services.websocket.turns import Turns
from tests.waiting import one_round, until


async def test_turns_come_in_order_and_leave_rounds_of_the_loop_to_others() -> None:
    turns, made = Turns(each_round=2), list[int]()
    for number in range(5):
        turns.ask(partial(made.append, number))
    seen = []
    for _ in range(3):
        assert made == list(range(len(made)))
        await one_round()
        seen.append(len(made))
    assert seen == [2, 4, 5]


async def test_who_asks_within_a_turn_has_another_one() -> None:
    turns, made = Turns(), list[str]()

    def first() -> None:
        made.append("first")
        turns.ask(lambda: made.append("again"))

    turns.ask(first)
    turns.ask(lambda: made.append("second"))
    await until(lambda: len(made) == 3)
    assert made == ["first", "second", "again"]


async def test_a_turn_that_fails_costs_the_others_nothing() -> None:
    loop, faults = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
    turns, made = Turns(), list[str]()
    fault = RuntimeError("a defect")

    def fail() -> None:
        raise fault

    turns.ask(fail)
    turns.ask(lambda: made.append("second"))
    await until(lambda: made)
    turns.ask(lambda: made.append("later"))
    await until(lambda: len(made) == 2)
    assert faults == [fault]
