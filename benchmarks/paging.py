"""Pages of long lists over HTTP: the 10,000th of 1,000,000 rows against the first, and against its bare SQL.

A status that no row has is asked for too: it must not be looked for in all of them.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from app.api.paging import write_cursor
from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core import logging, migrations
from app.main import create_app
from benchmarks.market import SYMBOL, bench_settings, row
from tests.factories import Person, create_person
from tests.postgres import private_server
from tests.servers import serve

ROWS = 1_000_000
LIMIT = 100
WARM_UP = 5
ROUNDS = 60
TARGET = 1.2
API = "/api/v1"

# A million rows of one user; what they say does not matter, but that each page has its fill of columns.
FILLED = {
    "trades": (
        "INSERT INTO trades (user_id, venue_account_id, provider, asset, asset_type, pair_id, trade_index, direction,"
        " collateral, leverage, entry_price, exit_price, size, pnl, fees, status, opened_at, closed_at)"
        " SELECT {user}, {account}, 'paper', 'BTC', 0, {pair}, n, true, 100, 10, 50000.5, 50100.5, 0, 1.99, 0.998,"
        " 'closed', clock_timestamp(), clock_timestamp() FROM generate_series(1, {rows}) n"
    ),
    "orders": (
        "INSERT INTO orders (user_id, pair_id, provider, asset, role, order_type, side, quantity, filled_quantity,"
        " average_price, status) SELECT {user}, {pair}, 'paper', 'BTC', 'entry', 'MARKET', 'buy', 0.0199, 0.0199,"
        " 50000.5, 'filled' FROM generate_series(1, {rows})"
    ),
    "events": (
        "INSERT INTO events (user_id, sequence, type, data, fanned_out_at)"
        """ SELECT {user}, n, 'order.filled', '{{"order_id": ' || n || ', "reason": null}}', clock_timestamp()"""
        " FROM generate_series(1, {rows}) n"
    ),
}
NEWEST_FIRST = "SELECT * FROM {table} WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
OLDEST_FIRST = "SELECT * FROM events WHERE user_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"


@dataclass(frozen=True, slots=True)
class LongList:
    """A list: its first page and its last, and the least that the last one must ask the database for."""

    path: str
    first: str
    last: str
    sql: str
    after: int


class Reader:
    """One connection that asks for pages, with as little work as that takes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, person: Person) -> None:
        self._reader = reader
        self._writer = writer
        self._head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {person.access_token}\r\n\r\n"

    async def milliseconds(self, path: str) -> float:
        """How long it took until a page was there, which is 200."""
        started = time.perf_counter()
        self._writer.write(f"GET {API}{path} {self._head}".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        body = await self._reader.readexactly(int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]))
        spent = time.perf_counter() - started
        if not head.startswith(b"HTTP/1.1 200 "):
            raise AssertionError(head + body)
        return spent * 1000


async def rows() -> list[dict[str, Any]]:
    """Measure; some minutes, nearly all of them to write the rows."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marqetfi-bench-")))
        url = stack.enter_context(private_server())
        await asyncio.to_thread(migrations.upgrade, url)
        settings = bench_settings(url, folder)
        logging.configure(level="ERROR", style=settings.log_format, stream=sys.stderr)
        container = await stack.enter_async_context(bootstrap(settings))
        person = await create_person(container)
        sql = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1))
        stack.push_async_callback(sql.close)
        lists = await _fill(sql, container, person.id)
        reader = await stack.enter_async_context(_reading(container, person))
        measured = [await _measure(sql, reader, each, person.id) for each in lists]
        return [*(each for pair in measured for each in pair), await _measure_rare(reader)]


@asynccontextmanager
async def _reading(container: Container, person: Person) -> AsyncIterator[Reader]:
    """A server without loops, and a reader of it."""

    @asynccontextmanager
    async def ready(_: Settings) -> AsyncIterator[Container]:
        yield container

    container.loops = []
    async with serve(create_app(container.settings, build=ready)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        yield Reader(reader, writer, person)
        writer.close()


async def _fill(sql: asyncpg.Connection, container: Container, user_id: int) -> list[LongList]:
    """Write the rows of a user, without foreign keys being asked for each."""
    pair = container.directory.resolve_pair(SYMBOL, "paper")
    async with container.uow() as work:
        account = await work.venue_accounts.ensure(user_id, pair.venue)
    await sql.execute("SET session_replication_role = replica")
    for statement in FILLED.values():
        await sql.execute(statement.format(user=user_id, account=account.id, pair=pair.id, rows=ROWS))
    await sql.execute("VACUUM ANALYZE")
    last_events = ROWS - LIMIT
    return [
        await _newest_first(sql, "trades", user_id),
        await _newest_first(sql, "orders", user_id),
        LongList(
            "/events",
            f"/events?limit={LIMIT}",
            f"/events?limit={LIMIT}&after={last_events}",
            OLDEST_FIRST,
            last_events,
        ),
    ]


async def _newest_first(sql: asyncpg.Connection, table: str, user_id: int) -> LongList:
    path = f"/trading/{table}"
    before = await sql.fetchval(
        f"SELECT id FROM {table} WHERE user_id = $1 ORDER BY id LIMIT 1 OFFSET $2",  # noqa: S608 - names of our own
        user_id,
        LIMIT,
    )
    last = f"{path}?limit={LIMIT}&cursor={write_cursor(before)}"
    return LongList(path, f"{path}?limit={LIMIT}", last, NEWEST_FIRST.format(table=table), before)


async def _measure(sql: asyncpg.Connection, reader: Reader, each: LongList, user_id: int) -> list[dict[str, Any]]:
    """Ask for both pages in turn, and for the bare rows of the last."""
    measured = []
    for _ in range(WARM_UP + ROUNDS):
        first, last = await reader.milliseconds(each.first), await reader.milliseconds(each.last)
        started = time.perf_counter()
        found = await sql.fetch(each.sql, user_id, each.after, LIMIT)
        measured.append((first, last, (time.perf_counter() - started) * 1000))
        if len(found) != LIMIT:
            raise AssertionError(f"the last page of {each.path} has {len(found)} rows")
    first, last, bare = (statistics.median(values) for values in zip(*measured[WARM_UP:], strict=True))
    name = f"GET {each.path}: page {ROWS // LIMIT:,} of {ROWS:,} rows"
    return [_ratio(f"{name}, to page 1", last, first), row(f"{name}, to bare SQL", last, "ms", bare, None)]


async def _measure_rare(reader: Reader) -> dict[str, Any]:
    """Orders of a status that none has, against the first page of all."""
    paths = ("/trading/orders?status=pending&status=unknown", f"/trading/orders?limit={LIMIT}")
    measured = [[await reader.milliseconds(path) for path in paths] for _ in range(WARM_UP + ROUNDS)]
    none, first = (statistics.median(values) for values in zip(*measured[WARM_UP:], strict=True))
    name = f"GET /trading/orders: statuses that none of {ROWS:,} has, to page 1"
    return _ratio(name, none, first)


def _ratio(name: str, value: float, floor: float) -> dict[str, Any]:
    """A row whose target is one of its ratio."""
    made = row(name, value, "ms", floor, TARGET)
    return made | {"met": made["ratio"] <= TARGET}
