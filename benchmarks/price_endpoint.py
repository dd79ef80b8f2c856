"""One price through the whole stack, against a bare FastAPI route that returns the same model.

python -m benchmarks.price_endpoint [seconds]; servers and load run in processes of their own, on loopback.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI

from app.config.settings import Settings
from app.core import logging
from app.main import create_app
from app.schemas.price import PriceResponse
from benchmarks.server_process import READY_SECONDS, ServerProcess, serve, server_process

TARGET = 1.5
CONNECTIONS = 32
ROUND_SECONDS = 1.5
ROUNDS = 5
UNLIMITED = 1_000_000
PATH = "/api/v1/prices/BTCUSDT"


def floor_app() -> FastAPI:
    """The least that answers the same: one route, one model, nothing else."""
    app = FastAPI()
    now = datetime.now(UTC)

    @app.get("/api/v1/prices/{pair}")
    async def get_price(pair: str) -> PriceResponse:
        return PriceResponse(
            pair=pair,
            price=Decimal("64993.89"),
            timestamp=now,
            source="paper",
            asset="BTC",
            quote="USD",
            bid=Decimal("64993.84"),
            ask=Decimal("64993.94"),
            received_at=now,
            age_ms=61,
            stale=False,
            market_open=True,
            next_open=None,
            sequence=9,
        )

    return app


def whole_app() -> FastAPI:
    """The application as it is served, with simulated prices and limits that count but never refuse."""
    settings = Settings(marqetfi_data_dir=Path(sys.argv[2]), rate_limit_price=UNLIMITED, _env_file=None)
    logging.configure(level=settings.log_level, style=settings.log_format, stream=sys.stderr)
    return create_app(settings)


APPS: dict[str, Callable[[], FastAPI]] = {"floor": floor_app, "whole": whole_app}


class Caller(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self) -> None:
        self.answers = 0
        self.is_stopping = False
        self._received = b""
        self._request = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank or len(body) < _content_length(head):
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(head.decode())
        self._received = b""
        self.answers += 1
        if self.is_stopping:
            self._transport.close()
        else:
            self._transport.write(self._request)


def _content_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


async def answers_per_cpu_second(server: ServerProcess, seconds: float) -> float:
    """Load a server from CONNECTIONS connections: answers for each second of its processor time."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Caller, "127.0.0.1", server.port) for _ in range(CONNECTIONS)]
    callers = [caller for _, caller in made]
    before, used = sum(caller.answers for caller in callers), server.cpu_seconds()
    await asyncio.sleep(seconds)
    answers, used = sum(caller.answers for caller in callers) - before, server.cpu_seconds() - used
    for caller in callers:
        caller.is_stopping = True
    await asyncio.sleep(0.1)
    return answers / used


@asynccontextmanager
async def server(name: str, *arguments: str) -> AsyncIterator[ServerProcess]:
    """A server process from its first price on."""
    async with server_process("benchmarks.price_endpoint", name, *arguments) as made:
        async with asyncio.timeout(READY_SECONDS):
            await _until_priced(made.port)
        yield made


async def _until_priced(port: int) -> None:
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        writer.close()
        if b" 200 " in status:
            return
        await asyncio.sleep(0.1)


async def rows(seconds: float = ROUND_SECONDS) -> list[dict[str, Any]]:
    """Measure both in turn, several times; the ratio is the median of the rounds'."""
    with tempfile.TemporaryDirectory(prefix="marqetfi-bench-") as folder:
        async with AsyncExitStack() as stack:
            floor = await stack.enter_async_context(server("floor"))
            whole = await stack.enter_async_context(server("whole", folder))
            rounds = [
                (await answers_per_cpu_second(floor, seconds), await answers_per_cpu_second(whole, seconds))
                for _ in range(ROUNDS)
            ]
    ratio = statistics.median(ours / least for least, ours in rounds)
    return [
        {
            "name": "GET /prices/{pair}",
            "value": round(statistics.median(ours for _, ours in rounds)),
            "unit": "answers per CPU-second of the server",
            "floor": round(statistics.median(least for least, _ in rounds)),
            "ratio": round(ratio, 2),
            "target": TARGET,
            "met": ratio >= TARGET,
        }
    ]


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in APPS:
        serve(APPS[sys.argv[1]]())
    else:
        started = time.monotonic()
        print(asyncio.run(rows(float(sys.argv[1]) if sys.argv[1:] else ROUND_SECONDS)))
        print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
