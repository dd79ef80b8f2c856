"""The event log: gapless per user whoever writes at once, nothing of what was rolled back, told after the commit."""

import asyncio
import json
import random
from collections.abc import Sequence

import pytest

from app.bootstrap import Container
from app.core.broadcast import MemoryBroadcast
from app.core.database import Database
from app.domain.events import Event, EventType
from app.models.event import Event as EventRow
from app.repositories.unit_of_work import EVENTS_TOPIC, UnitOfWork, UnitOfWorkFactory
from tests.factories import Person, create_person

KIND = EventType.ORDER_CREATED


class GivenUp(Exception):
    """A transaction that changes its mind."""


def told(user_id: int, number: int, kind: EventType = KIND) -> Event:
    return Event(user_id, kind, {"number": number})


async def log_of(uow: UnitOfWorkFactory, user_id: int) -> Sequence[EventRow]:
    async with uow() as work:
        return await work.events.after(user_id, 0, limit=1000)


async def test_sequences_have_no_gap_under_parallel_writers_and_rollbacks(uow: UnitOfWorkFactory, user: Person) -> None:
    async def write(number: int) -> None:
        async with uow() as work:
            work.emit(*(told(user.id, number) for _ in range(1 + number % 3)))
            if number % 4 == 0:
                raise GivenUp

    outcomes = await asyncio.gather(*(write(number) for number in range(60)), return_exceptions=True)

    kept = [number for number, outcome in enumerate(outcomes) if outcome is None]
    rows = await log_of(uow, user.id)
    assert len(kept) == 45
    assert [row.sequence for row in rows] == list(range(1, sum(1 + n % 3 for n in kept) + 1))
    assert {json.loads(row.data)["number"] for row in rows} == set(kept)
    # The order of ids is the order of sequences: a reader by id never sees a later event first.
    assert [row.id for row in rows] == sorted(row.id for row in rows)


async def test_a_commit_that_fails_after_its_events_were_written_leaves_no_gap(
    uow: UnitOfWorkFactory, user: Person
) -> None:
    with pytest.raises(GivenUp):
        async with uow() as work:
            await work.events.append([told(user.id, 1)])
            raise GivenUp
    async with uow() as work:
        work.emit(told(user.id, 2))

    assert [(row.sequence, row.data) for row in await log_of(uow, user.id)] == [(1, '{"number": 2}')]


async def test_writers_to_the_same_users_in_any_order_do_not_block_each_other_for_ever(
    uow: UnitOfWorkFactory, container: Container
) -> None:
    people = [await create_person(container) for _ in range(4)]
    shuffled = random.Random(7)

    async def write(number: int) -> None:
        ids = [person.id for person in people]
        shuffled.shuffle(ids)
        async with uow() as work:
            work.emit(*(told(user_id, number) for user_id in ids))

    await asyncio.gather(*(write(number) for number in range(20)))

    for person in people:
        assert [row.sequence for row in await log_of(uow, person.id)] == list(range(1, 21))


async def test_events_of_one_transaction_keep_their_order(
    uow: UnitOfWorkFactory, user: Person, other_user: Person
) -> None:
    async with uow() as work:
        for number in range(10):
            work.emit(told(user.id if number % 2 else other_user.id, number))

    assert [json.loads(row.data)["number"] for row in await log_of(uow, user.id)] == [1, 3, 5, 7, 9]
    assert [json.loads(row.data)["number"] for row in await log_of(uow, other_user.id)] == [0, 2, 4, 6, 8]


async def test_the_log_is_read_from_a_sequence_on_by_type(uow: UnitOfWorkFactory, user: Person) -> None:
    async with uow() as work:
        work.emit(told(user.id, 1), told(user.id, 2, EventType.TRADE_CLOSED), told(user.id, 3), told(user.id, 4))

    async with uow() as work:
        after_one = await work.events.after(user.id, 1, limit=2)
        closed = await work.events.after(user.id, 0, limit=9, types=[EventType.TRADE_CLOSED])
        last = await work.events.last_sequence(user.id)
        lasts = await work.events.last_sequences([user.id, 2**40])

    assert [row.sequence for row in after_one] == [2, 3]
    assert [row.sequence for row in closed] == [2]
    assert (last, lasts) == (4, {user.id: 4})


async def test_a_user_without_events_stands_at_zero(uow: UnitOfWorkFactory, user: Person) -> None:
    async with uow() as work:
        assert await work.events.last_sequence(user.id) == 0


async def test_a_frozen_reader_sees_no_event_of_later_transactions(uow: UnitOfWorkFactory, user: Person) -> None:
    async with uow() as work:
        work.emit(told(user.id, 1))
    async with uow() as reader:
        assert await reader.events.freeze(user.id) == 1
        async with uow() as writer:
            writer.emit(told(user.id, 2))
        assert [row.sequence for row in await reader.events.after(user.id, 0, limit=9)] == [1]


async def test_one_relay_has_its_turn_at_a_time_so_that_no_event_overtakes_another(
    uow: UnitOfWorkFactory, user: Person
) -> None:
    async with uow() as work:
        await work.events.mark_sent([row.id for row in await work.events.claim_unsent(1000)])
        work.emit(*(told(user.id, number) for number in range(6)))

    async with uow() as one, uow() as other:
        first = await one.events.claim_unsent(4)
        assert await other.events.claim_unsent(100) == []
        await one.events.mark_sent([row.id for row in first])
    async with uow() as other:
        rest = await other.events.claim_unsent(100)

    assert [row.sequence for row in first] == [1, 2, 3, 4]
    assert [row.sequence for row in rest] == [5, 6]


async def test_hints_are_told_after_the_commit_and_never_after_a_rollback(database: Database, user: Person) -> None:
    broadcast = MemoryBroadcast()
    heard: list[str] = []
    broadcast.subscribe(EVENTS_TOPIC, lambda _: heard.append("events"))
    broadcast.subscribe("mine", lambda message: heard.append(message.decode()))

    async with UnitOfWork(database, broadcast) as work:
        work.emit(told(user.id, 1))
        work.hint("mine", b"hint")
        assert heard == []
    with pytest.raises(GivenUp):
        async with UnitOfWork(database, broadcast) as work:
            work.emit(told(user.id, 2))
            work.hint("mine", b"lost")
            raise GivenUp

    assert heard == ["events", "hint"]
