"""Prices to hundreds of WebSocket readers, against a bare ASGI app that sends the same ready bytes.

Servers run in processes of their own, the readers in this one, on loopback; the two are read in turns. What a server
spends without readers, while the other one is read, is taken off before deliveries are divided by processor time.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from app.bootstrap import Container
from app.config.settings import Settings
from app.core import logging, migrations
from app.main import create_app
from app.tasks.background import serving_parts
from benchmarks.market import bench_settings, percentile, row
from benchmarks.server_process import ServerProcess, serve, server_process
from benchmarks.websocket_readers import Reader, connect_all
from tests.factories import create_person
from tests.integration.websocket.market import Desk
from tests.postgres import private_server

READERS = int(os.environ.get("BENCH_READERS", "500"))
USERS, EVENTS = 50, 20
HERTZ = 20
SETTLE_SECONDS, ROUND_SECONDS, ROUNDS = 2.0, 4.0, 3
PATIENCE_SECONDS = 60.0
SUBSCRIBE = b'{"type":"subscribe","channel":"prices","data":{"pairs":["BTC"]}}'
RESUME = b'{"type":"subscribe","channel":"trades","data":{"since":0}}'
TOKENS, FRAME = "tokens.json", "frame.json"

type Send = Callable[[dict[str, Any]], Awaitable[None]]
type Receive = Callable[[], Awaitable[dict[str, Any]]]


class FloorApp:
    """The least that does the same: takes connections, and sends each of them one frame so many times a second."""

    def __init__(self, frame: str) -> None:
        self._frame = {"type": "websocket.send", "text": frame}
        self._sends: set[Send] = set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        self._sends.add(send)
        while (await receive())["type"] != "websocket.disconnect":
            continue
        self._sends.discard(send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        ticking = asyncio.create_task(self._tick())
        await receive()
        ticking.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _tick(self) -> None:
        due = time.monotonic()
        while True:
            due += 1 / HERTZ
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            for send in tuple(self._sends):
                with suppress(OSError):
                    await send(self._frame)


def floor_app(folder: Path) -> Any:
    """The bare app, with a frame that the whole one sent."""
    return FloorApp((folder / FRAME).read_text())


def whole_app(folder: Path) -> Any:
    """The application as it is served, with simulated prices, and users whose tokens stand in a file."""
    with_prices = {
        "paper_simulated_hz": float(HERTZ),
        "websocket_price_ms": 0,
        "websocket_connections_per_user": READERS,
    }
    base = bench_settings((folder / "url").read_text(), folder)
    settings = Settings.model_validate(base.model_dump() | with_prices)
    logging.configure(level="ERROR", style=settings.log_format, stream=sys.stderr)

    @asynccontextmanager
    async def with_users(settings: Settings) -> AsyncIterator[Container]:
        async with serving_parts(settings) as container:
            desk, tokens = Desk(container.uow, container.directory), []
            for _ in range(USERS):
                person = await create_person(container)
                await desk.note(person.id, times=EVENTS)
                tokens.append(person.access_token)
            (folder / TOKENS).write_bytes(orjson.dumps(tokens))
            yield container

    return create_app(settings, build=with_users)


APPS = {"floor": floor_app, "whole": whole_app}


async def deliveries_per_cpu_second(server: ServerProcess, readers: Sequence[Reader], idle: float) -> float:
    """Frames that arrive for each second of the server's processor time, beyond what it spends idle each second."""
    began, frames, used = time.monotonic(), sum(reader.frames for reader in readers), server.cpu_seconds()
    await asyncio.sleep(ROUND_SECONDS)
    took = time.monotonic() - began
    frames, used = sum(reader.frames for reader in readers) - frames, server.cpu_seconds() - used
    return frames / max(used - idle * took, 0.01)


async def idle_cpu(server: ServerProcess) -> float:
    """Processor seconds that a server spends each second while nobody reads."""
    used = server.cpu_seconds()
    await asyncio.sleep(ROUND_SECONDS)
    return (server.cpu_seconds() - used) / ROUND_SECONDS


async def _leave(readers: Sequence[Reader]) -> None:
    for reader in readers:
        reader.transport.abort()
    await asyncio.sleep(SETTLE_SECONDS)


def lags_of(readers: Sequence[Reader]) -> list[float]:
    """What the sampled readers saw since they were asked last, in milliseconds."""
    found = [lag for reader in readers for lag in reader.lags]
    for reader in readers:
        reader.lags.clear()
    return found


async def _until(is_done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_done():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


async def _stopped_reader(server: ServerProcess, readers: Sequence[Reader]) -> tuple[float, float]:
    """One reader stops reading: KiB that the server holds more, and what the others' p99 changes by, in ms."""
    lags_of(readers)
    await asyncio.sleep(ROUND_SECONDS)
    before, held = percentile(lags_of(readers), 0.99), server.resident_kib()
    # Not a sampled one.
    readers[1].transport.pause_reading()
    await asyncio.sleep(ROUND_SECONDS)
    after = percentile(lags_of(readers), 0.99)
    return server.resident_kib() - held, after - before


async def _resumed(server: ServerProcess, tokens: Sequence[str]) -> float:
    """Seconds until every reader has reconnected and got all of its user's events again."""
    began = time.monotonic()
    readers = await connect_all(server.port, [RESUME], tokens)
    # Welcome and the answer come before them.
    await _until(lambda: all(reader.frames >= EVENTS + 2 for reader in readers))
    took = time.monotonic() - began
    for reader in readers:
        reader.transport.abort()
    return took


async def rows() -> list[dict[str, Any]]:
    """Measure; a minute and a half."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marqetfi-bench-")))
        url = stack.enter_context(private_server())
        await asyncio.to_thread(migrations.upgrade, url)
        (folder / "url").write_text(url)
        whole = await stack.enter_async_context(server_process(__name__, "whole", str(folder)))
        users = orjson.loads((folder / TOKENS).read_bytes())
        tokens = [users[number % USERS] for number in range(READERS)]
        (first,) = await connect_all(whole.port, [SUBSCRIBE], tokens[:1])
        await _until(lambda: bool(first.lags))
        (folder / FRAME).write_bytes(first.last)
        first.transport.abort()
        floor = await stack.enter_async_context(server_process(__name__, "floor", str(folder)))
        await asyncio.sleep(SETTLE_SECONDS)
        held = whole.resident_kib()
        ours = await connect_all(whole.port, [SUBSCRIBE], tokens)
        await asyncio.sleep(SETTLE_SECONDS)
        connection_kib = (whole.resident_kib() - held) / READERS
        rounds, idle = [], await idle_cpu(floor)
        for _ in range(ROUNDS):
            await _leave(ours)
            bare = await connect_all(floor.port, [], [None] * READERS)
            await asyncio.sleep(SETTLE_SECONDS)
            least, idle_whole = await asyncio.gather(deliveries_per_cpu_second(floor, bare, idle), idle_cpu(whole))
            await _leave(bare)
            ours = await connect_all(whole.port, [SUBSCRIBE], tokens)
            await asyncio.sleep(SETTLE_SECONDS)
            rounds.append((least, await deliveries_per_cpu_second(whole, ours, idle_whole)))
        more_kib, later_ms = await _stopped_reader(whole, ours)
        await asyncio.sleep(ROUND_SECONDS)
        p99 = percentile(lags_of(ours), 0.99)
        for reader in ours:
            reader.transport.abort()
        took = await _resumed(whole, tokens)
    return [
        _fan_out(rounds),
        row(f"WebSocket: from the making of a price to {READERS} readers, p99", p99, "ms", None, 50.0),
        row("WebSocket: memory of a connection", connection_kib, "KiB", None, 40.0),
        row("WebSocket: memory that a reader costs who stops reading", more_kib, "KiB", None, 1024.0),
        row("WebSocket: what that does to the others' p99", later_ms, "ms", None, 5.0),
        row(f"WebSocket: {READERS} reconnects with resume", took, "s", None, 5.0),
    ]


def _fan_out(rounds: Sequence[tuple[float, float]]) -> dict[str, Any]:
    ratio = statistics.median(ours / least for least, ours in rounds)
    return {
        "name": f"WebSocket: prices to {READERS} readers",
        "value": round(statistics.median(ours for _, ours in rounds)),
        "unit": "deliveries per CPU-second",
        "floor": round(statistics.median(least for least, _ in rounds)),
        "ratio": round(ratio, 2),
        "target": 0.8,
        "met": ratio >= 0.8,
    }


if __name__ == "__main__":
    serve(APPS[sys.argv[1]](Path(sys.argv[2])))
