"""The relay of the event log."""

import asyncio
from collections.abc import Sequence

import pytest

from app.bootstrap import Container
from app.domain.channels import user_topic
from app.domain.events import Event as NewEvent
from app.domain.events import EventType
from app.models.event import Event
from app.repositories.unit_of_work import UnitOfWork
from app.services.event_relay_service import BATCH, EventRelayService
from app.services.websocket.frames import decode_logged
from tests.factories import Person, create_person
from tests.waiting import until


@pytest.fixture
async def person(container: Container) -> Person:
    person = await create_person(container)
    relay = EventRelayService(container.uow, container.broadcast)
    while await relay.relay():
        pass
    return person


async def write(container: Container, user_id: int, times: int = 1) -> None:
    async with container.uow() as work:
        for number in range(times):
            work.emit(NewEvent(user_id, EventType.TRADE_UPDATED, {"number": number}))


def heard(container: Container, user_id: int) -> list[int]:
    """The sequences that are broadcast to a user from now on."""
    sequences: list[int] = []
    container.broadcast.subscribe(
        user_topic(user_id), lambda message: sequences.append(decode_logged(message).sequence)
    )
    return sequences


async def unsent(container: Container, user_id: int) -> list[int]:
    async with container.uow() as work:
        events = await work.events.after(user_id, 0, limit=1000)
    return [event.sequence for event in events if event.fanned_out_at is None]


async def test_events_are_handed_on_in_order_and_once(container: Container, person: Person) -> None:
    sequences = heard(container, person.id)
    relay = EventRelayService(container.uow, container.broadcast)
    await write(container, person.id, BATCH + 5)
    assert [await relay.relay() for _ in range(3)] == [BATCH, 5, 0]
    assert sequences == list(range(1, BATCH + 6))
    assert await unsent(container, person.id) == []


async def test_two_relays_share_the_work(container: Container, person: Person) -> None:
    sequences = heard(container, person.id)
    relays = [EventRelayService(container.uow, container.broadcast) for _ in range(4)]
    await write(container, person.id, BATCH * 3)
    while await unsent(container, person.id):
        await asyncio.gather(*(relay.relay() for relay in relays))
    assert sorted(sequences) == list(range(1, BATCH * 3 + 1))


async def test_what_fans_out_is_written_with_the_mark_or_not_at_all(container: Container, person: Person) -> None:
    sequences = heard(container, person.id)
    fanned: list[int] = []

    async def fan_out(_: UnitOfWork, events: Sequence[Event]) -> None:
        if not fanned:
            fanned.append(0)
            raise ConnectionError("the first time it fails")
        fanned.extend(event.sequence for event in events)

    relay = EventRelayService(container.uow, container.broadcast, fan_out=[fan_out])
    await write(container, person.id, 2)
    with pytest.raises(ConnectionError):
        await relay.relay()
    assert sequences == []
    assert await unsent(container, person.id) == [1, 2]
    assert await relay.relay() == 2
    assert (fanned, sequences) == ([0, 1, 2], [1, 2])


async def test_the_loop_is_woken_by_a_commit_and_sweeps_for_what_others_wrote(
    container: Container, person: Person
) -> None:
    sequences = heard(container, person.id)
    relay = asyncio.create_task(EventRelayService(container.uow, container.broadcast, sweep_seconds=3600).run())
    await until(lambda: container.broadcast.has_subscribers("events"))
    await write(container, person.id)
    await until(lambda: sequences == [1])
    await write(container, person.id, 2)
    await until(lambda: sequences == [1, 2, 3])
    relay.cancel()
    await asyncio.gather(relay, return_exceptions=True)

    await write(container, person.id)
    sweeping = asyncio.create_task(EventRelayService(container.uow, container.broadcast, sweep_seconds=0.01).run())
    await until(lambda: sequences == [1, 2, 3, 4])
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
