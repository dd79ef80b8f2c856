"""Nothing is lost and nothing is told twice: snapshots, resumption, lost and skipped broadcasts."""

import asyncio
from functools import partial

from sqlalchemy import text

from app.bootstrap import Container
from app.core.broadcast import MemoryBroadcast
from app.domain.channels import user_topic
from app.repositories.unit_of_work import UnitOfWork
from app.services.pair_directory import PairDirectory
from app.services.websocket.frames import encode_logged
from tests.factories import Person
from tests.integration.websocket.client import Frame, Socket, open_socket
from tests.integration.websocket.market import Desk
from tests.servers import RunningServer

WRITERS = 4
EVENTS = 60


def logged(frames: list[Frame]) -> list[int]:
    """The sequences of the frames that are of the log."""
    return [frame["sequence"] for frame in frames if "sequence" in frame]


async def resume(socket: Socket, since: int) -> tuple[Frame, list[Frame]]:
    """Subscribe to trades since a sequence: the answer and what followed it at once."""
    answer = await socket.ask(type="subscribe", channel="trades", data={"since": since})
    assert answer["type"] == "subscribed", answer
    return answer, await socket.settle()


async def test_a_client_resumes_where_it_was(server: RunningServer, desk: Desk, person: Person) -> None:
    await desk.note(person.id, times=5)
    async with open_socket(server, token=person.access_token) as socket:
        answer, frames = await resume(socket, 2)
        assert answer["data"] == {"sequence": 5, "recovered": True}
        assert logged(frames) == [3, 4, 5]
        assert [frame["data"]["trade_index"] for frame in frames] == [2, 3, 4]
        await desk.note(person.id)
        assert (await socket.receive())["sequence"] == 6
        for since, wanted in ((6, []), (0, [1, 2, 3, 4, 5, 6])):
            answer, frames = await resume(socket, since)
            assert (answer["data"]["recovered"], logged(frames)) == (True, wanted)


async def test_what_cannot_be_told_whole_is_a_snapshot(server: RunningServer, desk: Desk, person: Person) -> None:
    trade = await desk.open_trade(person.id)
    async with open_socket(server, token=person.access_token) as socket:
        answer, frames = await resume(socket, 99)
        assert answer["data"] == {"sequence": 3, "recovered": False}
        assert {frame["data"]["trade_id"] for frame in frames if frame["snapshot"]} == {trade.id}
        await desk.note(person.id, times=1000)
        answer, frames = await resume(socket, 3)
        assert (answer["data"]["recovered"], len(logged(frames))) == (True, 1000)
        answer, frames = await resume(socket, 2)
        assert answer["data"]["recovered"] is False
        assert logged(frames) == []


async def test_what_is_older_than_a_day_is_not_told_again(
    server: RunningServer, container: Container, desk: Desk, person: Person
) -> None:
    await desk.note(person.id, times=3)
    query = text("UPDATE events SET created_at = created_at - interval '25 hours' WHERE user_id = :id AND sequence = 2")
    async with container.database.engine.begin() as connection:
        await connection.execute(query, {"id": person.id})
    async with open_socket(server, token=person.access_token) as socket:
        answer, frames = await resume(socket, 1)
        assert (answer["data"]["recovered"], logged(frames)) == (False, [])
        answer, frames = await resume(socket, 2)
        assert (answer["data"]["recovered"], logged(frames)) == (True, [3])


async def note_unheard(container: Container, user_id: int, times: int) -> None:
    """Write events of which no broadcast tells: a relay took them and died."""
    deaf = Desk(partial(UnitOfWork, container.database, MemoryBroadcast()), PairDirectory(container.uow))
    await deaf.note(user_id, times=times)
    async with deaf.uow() as work:
        await work.events.mark_sent([event.id for event in await work.events.after(user_id, 0, limit=1000)])


async def test_what_a_broadcast_skipped_is_read_from_the_log(
    server: RunningServer, container: Container, desk: Desk, person: Person
) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await resume(socket, 0)
        await note_unheard(container, person.id, times=3)
        await desk.note(person.id)
        assert [(await socket.receive())["sequence"] for _ in range(4)] == [1, 2, 3, 4]
        assert await socket.settle() == []


async def test_what_a_broadcast_lost_is_found_by_the_sweep(
    server: RunningServer, container: Container, desk: Desk, person: Person
) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await resume(socket, 0)
        await note_unheard(container, person.id, times=3)
        await container.websockets.sweep()
        assert [(await socket.receive())["sequence"] for _ in range(3)] == [1, 2, 3]


async def test_a_repeated_broadcast_is_told_once(
    server: RunningServer, container: Container, desk: Desk, person: Person
) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await resume(socket, 0)
        await desk.note(person.id, times=2)
        assert [(await socket.receive())["sequence"] for _ in range(2)] == [1, 2]
        async with container.uow() as work:
            events = await work.events.after(person.id, 0, limit=10)
        for event in (*events, *events):
            container.broadcast.publish(user_topic(person.id), encode_logged(event))
        assert await socket.settle() == []


async def test_no_event_is_lost_or_doubled_while_clients_come_and_go(
    server: RunningServer, desk: Desk, person: Person
) -> None:
    total = WRITERS * EVENTS

    async def write() -> None:
        for _ in range(EVENTS):
            await desk.note(person.id)

    async def watch(*, restless: bool) -> None:
        """Follow the log to its end: after an answer what it promises, after an event the very next."""
        async with open_socket(server, token=person.access_token) as socket:
            await socket.send(type="subscribe", channel="trades")
            last, asked = 0, list[int]()
            while last < total:
                frame = await socket.receive()
                if frame["type"] == "subscribed":
                    assert frame["data"]["sequence"] >= last
                    last = asked.pop() if "recovered" in frame["data"] else frame["data"]["sequence"]
                elif "sequence" in frame:
                    assert frame["sequence"] == last + 1, socket.seen[-8:]
                    last += 1
                    if restless and not asked and last % 40 == 39:
                        asked.append(last)
                        await socket.send(type="subscribe", channel="trades", data={"since": last})

    watchers = [watch(restless=number % 2 == 1) for number in range(8)]
    await asyncio.gather(*(write() for _ in range(WRITERS)), *watchers)
