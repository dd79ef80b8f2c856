"""The writing half of a WebSocket, against sockets that take all, nothing, or fail."""

import asyncio
import json
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

import pytest

from app.api.websocket.writer import BURST, Writer
from app.services.websocket.connections import Connection
from app.services.websocket.outbox import SLOW, Closing, Outbox
from app.services.websocket.turns import Turns
from tests.waiting import one_round, until

END = Closing(1000, "done")


class Socket:
    """Takes messages while it is open; raises `fault` where one is set."""

    def __init__(self) -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self.fault: Exception | None = None
        self.on_sent: Callable[[], None] | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        self.sent.append(message)
        if self.on_sent is not None:
            self.on_sent()

    @property
    def frames(self) -> list[Any]:
        """What arrived, as (number, sequence on the connection)."""
        read = [json.loads(message["text"]) for message in self.sent if message["type"] == "websocket.send"]
        return [(frame["n"], frame["connection_sequence"]) for frame in read]

    def has(self, number: int, sequence: int) -> bool:
        """Whether a frame arrived last."""
        return self.frames[-1:] == [(number, sequence)]


def writer_to(socket: Socket) -> tuple[Writer, Connection]:
    connection = Connection(1, "here", Outbox(1000, 1_000_000, Turns()), max_held=10, opened_at=0.0)
    return Writer(socket.send, connection), connection


def put(connection: Connection, *numbers: int) -> None:
    for number in numbers:
        connection.outbox.put(f'{{"n":{number}')


async def held_up(*numbers: int) -> tuple[Socket, Writer, Connection]:
    """A writer that waits for its full socket with the first of these frames."""
    socket = Socket()
    socket.open.clear()
    writer, connection = writer_to(socket)
    put(connection, *numbers)
    await until(lambda: connection.sending_since is not None)
    return socket, writer, connection


async def test_frames_go_out_in_order_with_their_numbers_and_the_close_after_them() -> None:
    socket = Socket()
    writer, connection = writer_to(socket)
    put(connection, 7, 8)
    await until(lambda: len(socket.sent) == 2)
    assert connection.sending_since is None
    put(connection, 9)
    connection.outbox.close(END)
    await writer.ended
    assert socket.frames == [(7, 1), (8, 2), (9, 3)]
    assert socket.sent[-1] == {"type": "websocket.close", "code": 1000, "reason": "done"}


async def test_what_waited_before_there_was_a_writer_goes_out_too() -> None:
    socket = Socket()
    connection = Connection(1, "here", Outbox(10, 1000, Turns()), max_held=10, opened_at=0.0)
    put(connection, 1)
    writer = Writer(socket.send, connection)
    await until(lambda: socket.frames == [(1, 1)])
    writer.stop()


async def test_a_full_socket_is_waited_for_and_what_comes_meanwhile_follows() -> None:
    socket, writer, connection = await held_up(1)
    put(connection, 2, 3)
    assert socket.sent == []
    socket.open.set()
    await until(lambda: len(socket.sent) == 3)
    put(connection, 4)
    await until(lambda: socket.frames == [(1, 1), (2, 2), (3, 3), (4, 4)])
    assert connection.sending_since is None
    writer.stop()


async def test_one_who_reads_nothing_holds_nobody_else() -> None:
    stuck, other, turns = Socket(), Socket(), Turns()
    stuck.open.clear()
    connections = [Connection(n, "here", Outbox(10, 1000, turns), max_held=10, opened_at=0.0) for n in range(2)]
    writers = [Writer(each.send, its) for each, its in zip((stuck, other), connections, strict=True)]
    for number in range(3):
        for connection in connections:
            put(connection, number)
        await until(partial(other.has, number, number + 1))
    connections[0].drop()
    for writer in writers:
        writer.stop()
    assert stuck.sent == []


async def test_a_long_burst_leaves_turns_to_others() -> None:
    socket = Socket()
    writer, connection = writer_to(socket)
    put(connection, *range(BURST + 1))
    seen = []
    while len(socket.sent) <= BURST:
        await one_round()
        seen.append(len(socket.sent))
    assert BURST in seen
    writer.stop()


@pytest.mark.parametrize("fault", [OSError("gone"), RuntimeError("being closed")])
async def test_a_socket_that_has_ended_ends_the_writer(fault: Exception) -> None:
    socket = Socket()
    writer, connection = writer_to(socket)
    socket.fault = fault
    put(connection, 1)
    await writer.ended
    put(connection, 2)
    connection.outbox.close(END)
    assert socket.sent == []


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_fault_of_ours_is_told(is_full: bool) -> None:
    socket = Socket()
    if is_full:
        socket.open.clear()
    writer, connection = writer_to(socket)
    socket.fault = ValueError("a defect")
    put(connection, 1)
    await until(lambda: not is_full or connection.sending_since is not None)
    socket.open.set()
    with pytest.raises(ValueError, match="a defect"):
        await writer.ended


async def test_a_later_send_is_still_known_when_the_end_of_the_one_before_is_heard_of() -> None:
    socket, turns, loop = Socket(), Turns(), asyncio.get_running_loop()
    socket.open.clear()
    connection = Connection(1, "here", Outbox(10, 1000, turns), max_held=10, opened_at=0.0)
    writer = Writer(socket.send, connection)
    put(connection, 1)
    await until(lambda: connection.sending_since is not None)

    def before_it_is_heard_of() -> None:
        # These come before whoever waits for the end of the task that is sending.
        loop.call_soon(put, connection, 2)
        turns.ask(lambda: None)
        socket.open.clear()

    socket.on_sent = before_it_is_heard_of
    socket.open.set()
    await until(lambda: len(socket.sent) == 1)
    for _ in range(5):
        await one_round()
    assert connection.sending_since is not None
    writer.stop()
    socket.open.set()
    await writer.ended
    await one_round()
    assert socket.frames == [(1, 1)]


async def test_one_that_is_stopped_sends_nothing_more_even_in_the_middle_of_a_frame() -> None:
    socket, writer, connection = await held_up(1)
    writer.stop()
    socket.open.set()
    await writer.ended
    put(connection, 2)
    await one_round()
    assert socket.sent == []


async def test_one_that_was_told_to_be_slow_hears_the_close_once_it_reads() -> None:
    socket, writer, connection = await held_up(1, 2)
    connection.outbox.close(SLOW, discard=True)
    socket.open.set()
    await writer.ended
    assert socket.frames == [(1, 1)]
    assert socket.sent[-1]["code"] == SLOW.code
