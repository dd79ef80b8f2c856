"""Opening a trade on the paper venue over HTTP, one request after the other, against the bare SQL that it must do."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from app.bootstrap import Container
from app.config.settings import Settings
from app.main import create_app
from benchmarks.bare_sql import BareSql
from benchmarks.market import Market, row, running_market
from tests.factories import Person
from tests.servers import serve

# Together fewer than one user may have open.
WARM_UP = 20
OPENED = 150
TARGET = 3.0
BODY = b'{"asset": "BTC", "direction": true, "collateral": 20, "leverage": 10}'


class Connection:
    """One connection that asks for a trade and reads the answer, with as little work as that takes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, person: Person) -> None:
        self._reader = reader
        self._writer = writer
        self._request = (
            "POST /api/v1/trading/trades HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {person.access_token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY

    async def open(self) -> dict[str, Any]:
        """Open a trade; the answer, which is 201."""
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 201 "):
            raise AssertionError(head + body)
        answer: dict[str, Any] = orjson.loads(body)
        return answer


async def rows() -> list[dict[str, Any]]:
    """Measure; a quarter of a minute."""
    async with running_market() as market:
        (person,) = await market.people(1)

        @asynccontextmanager
        async def ready(_: Settings) -> AsyncIterator[Container]:
            yield market.container

        # The loops run already.
        loops, market.container.loops = market.container.loops, []
        async with serve(create_app(market.container.settings, build=ready)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            connection = Connection(reader, writer, person)
            await connection.open()
            bare = BareSql(market.sql)
            await bare.before()
            measured = [await _measure(market, bare, connection) for _ in range(WARM_UP + OPENED)]
            writer.close()
        market.container.loops = loops
    ours, floors = zip(*measured[WARM_UP:], strict=True)
    ratio = statistics.median(one / other for one, other in zip(ours, floors, strict=True))
    opened = row("POST /trading/trades on paper: p50", statistics.median(ours), "ms", statistics.median(floors), TARGET)
    return [opened | {"ratio": round(ratio, 2), "met": ratio <= TARGET}]


async def _measure(market: Market, bare: BareSql, connection: Connection) -> tuple[float, float]:
    """Milliseconds of one request, and of its floor after it."""
    started = time.perf_counter()
    answer = await connection.open()
    spent = time.perf_counter() - started
    await market.idle()
    trade_id = await market.sql.fetchval(
        "SELECT id FROM trades WHERE pair_id = $1 AND trade_index = $2", answer["pair_id"], answer["trade_index"]
    )
    done = await bare.written([trade_id], closes=False)
    began = time.perf_counter()
    await bare.write_open(done)
    await bare.carry_out(done, opens=True)
    return spent * 1000, (time.perf_counter() - began) * 1000
