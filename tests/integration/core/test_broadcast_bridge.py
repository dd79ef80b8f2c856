"""Broadcasts between processes of one database: two bridges with connections of their own stand for two processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import text

from app.core.broadcast import MemoryBroadcast
from app.core.broadcast_bridge import PAYLOAD_BYTES, BroadcastBridge
from app.core.database import Database
from tests.waiting import until


class Process:
    """What one process says and hears."""

    def __init__(self, database_url: str) -> None:
        self.database = Database(database_url, application_name="bridge test", pool_size=1)
        self.bridge = BroadcastBridge(self.database, MemoryBroadcast())
        self.heard: list[bytes] = []
        self.bridge.subscribe("topic", self.heard.append)
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.running = asyncio.create_task(self.bridge.run())
        await until(lambda: self.bridge.is_connected)

    async def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait([self.running])
        await self.database.aclose()


@asynccontextmanager
async def processes(database_url: str, count: int) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        started = [Process(database_url) for _ in range(count)]
        for process in started:
            stack.push_async_callback(process.stop)
            await process.start()
        yield started


async def test_the_others_hear_once_and_in_order(database_url: str) -> None:
    async with processes(database_url, 3) as (first, second, third):
        said = [str(number).encode() for number in range(500)]
        for message in said:
            first.bridge.publish("topic", message)

        await until(lambda: len(second.heard) == len(third.heard) == 500)
        assert first.heard == second.heard == third.heard == said


async def test_what_is_longer_than_a_payload_is_heard_here_alone(database_url: str) -> None:
    async with processes(database_url, 2) as (first, second):
        first.bridge.publish("topic", b"x" * PAYLOAD_BYTES)
        first.bridge.publish("topic", b"after")

        await until(lambda: bool(second.heard))
        assert second.heard == [b"after"]
        assert len(first.heard) == 2


async def test_a_lost_connection_ends_it_and_it_can_start_again(database_url: str) -> None:
    async with processes(database_url, 2) as (first, second):
        assert first.running is not None
        other = Database(database_url, application_name="other", pool_size=1)
        async with other.engine.connect() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": first.bridge.own_pid})
        await other.aclose()
        with pytest.raises(ConnectionError):
            await first.running
        first.bridge.publish("topic", b"here alone")
        await first.start()

        first.bridge.publish("topic", b"again")

        await until(lambda: second.heard == [b"again"])
        assert first.heard == [b"here alone", b"again"]


async def test_what_nobody_of_us_notified_is_left_alone(database_url: str) -> None:
    async with processes(database_url, 2) as (first, second):
        stranger = Database(database_url, application_name="stranger", pool_size=1)
        async with stranger.engine.begin() as connection:
            for payload in ("not json", "[1]", '{"a": 1}'):
                await connection.execute(text("SELECT pg_notify('marqetfi', :payload)"), {"payload": payload})
        await stranger.aclose()
        first.bridge.publish("topic", b"still there")

        await until(lambda: second.heard == [b"still there"])
