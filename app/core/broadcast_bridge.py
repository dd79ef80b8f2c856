"""Carries broadcasts between the processes of one database, by LISTEN and NOTIFY."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import orjson
from loguru import logger

from app.core.broadcast import Broadcast, Handler
from app.core.database import Database

CHANNEL = "marqetfi"
# PostgreSQL takes payloads of less than 8000 bytes.
PAYLOAD_BYTES = 7900
PAUSE_SECONDS = 0.01
# What waits while the database is away: hints are not worth more memory.
MOST_WAITING = 10_000


class BroadcastBridge:
    """A broadcast of one process whose messages reach the others too: one NOTIFY a 10 ms at most, none in their place.

    Like any broadcast it is a hint: what is said while the connection is away, or is longer than a payload, is heard
    here alone, and sweeps make it good.
    """

    def __init__(self, database: Database, local: Broadcast) -> None:
        self._database = database
        self._local = local
        self._waiting: list[list[str]] = []
        self._filled = asyncio.Event()
        self.is_connected = False
        self.own_pid = 0

    def publish(self, topic: str, message: bytes) -> None:
        """Hand a message to every subscriber of the topic here, and soon in the other processes."""
        self._local.publish(topic, message)
        if self.is_connected and len(self._waiting) < MOST_WAITING:
            self._waiting.append([topic, message.decode()])
            self._filled.set()

    def subscribe(self, topic: str, handler: Handler) -> Callable[[], None]:
        """Call `handler` with each message, from wherever it comes, until the returned function is called."""
        return self._local.subscribe(topic, handler)

    def has_subscribers(self, topic: str) -> bool:
        """True: other processes may listen."""
        return True

    async def run(self) -> None:
        """Listen and tell until cancelled; ends with ConnectionError when the database goes."""
        lost = asyncio.Event()
        async with self._database.engine.connect() as connection:
            driver: Any = cast(Any, await connection.get_raw_connection()).driver_connection
            self.own_pid = driver.get_server_pid()
            driver.add_termination_listener(lambda _: lost.set())
            await driver.add_listener(CHANNEL, self._on_notification)
            self.is_connected = True
            try:
                while not lost.is_set():
                    await self._tell(driver, lost)
            finally:
                self.is_connected = False
                self._waiting.clear()
                if not lost.is_set():
                    await driver.remove_listener(CHANNEL, self._on_notification)
        raise ConnectionError("the connection that carries broadcasts was lost")

    async def _tell(self, driver: Any, lost: asyncio.Event) -> None:
        """Send what waits, in as few payloads as it takes, then pause."""
        self._filled.clear()
        if not self._waiting:
            either = [asyncio.ensure_future(event.wait()) for event in (self._filled, lost)]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in either:
                    task.cancel()
            return
        waiting, self._waiting = self._waiting, []
        for payload in _payloads(waiting):
            await driver.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
        await asyncio.sleep(PAUSE_SECONDS)

    def _on_notification(self, _connection: object, pid: int, _channel: str, payload: str) -> None:
        if pid == self.own_pid:
            return
        try:
            messages = [(str(topic), str(message).encode()) for topic, message in orjson.loads(payload)]
        except (orjson.JSONDecodeError, TypeError, ValueError):
            logger.warning("Somebody notified {channel} of nothing we can read", channel=CHANNEL)
            return
        for topic, message in messages:
            self._local.publish(topic, message)


def _payloads(messages: list[list[str]]) -> list[str]:
    """Messages as JSON arrays of (topic, message), each once and none longer than a payload may be."""
    groups: list[list[bytes]] = []
    size = PAYLOAD_BYTES
    for encoded in dict.fromkeys(map(orjson.dumps, messages)):
        if len(encoded) + len("[]") > PAYLOAD_BYTES:
            continue
        size += len(encoded) + len(",")
        if size > PAYLOAD_BYTES:
            groups.append([])
            size = len("[]") + len(encoded)
        groups[-1].append(encoded)
    return [(b"[" + b",".join(group) + b"]").decode() for group in groups]
