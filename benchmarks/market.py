"""A whole process on a PostgreSQL of its own, whose prices are moved by hand and whose claims are timed."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import asyncpg

from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core import logging, migrations
from app.core.clock import SystemClock
from app.core.supervision import Supervisor
from app.domain.enums import OrderType
from app.domain.order_terms import OpenTerms
from app.services.claim_service import Claim, ClaimService, Crossed
from app.services.trading_service import Trader
from tests.factories import Person, create_person
from tests.integration.api.trading.market import HandFeed
from tests.postgres import private_server
from tests.waiting import until

SYMBOL = "BTCUSDT"
# Copies are told from each other by how far their ids are apart; only what is named differs from one to the other.
OFFSET = 1_000_000
COPIED = {
    "trades": ("id", "trade_index", "venue_trade_index"),
    "orders": ("id", "trade_id"),
    "intents": ("id", "order_id", "trade_id"),
    "positions": ("id", "trade_id"),
    "fills": ("id", "order_id", "trade_id", "venue_fill_id"),
    "paper_positions": ("id", "opened_by"),
    "paper_orders": ("id", "client_id", "position_id"),
    "paper_fills": ("id", "order_id", "position_id"),
}
START = Decimal(50_000)
SECRET = "a secret that is known to everybody who reads the benchmarks"  # noqa: S105 - no secret
OPEN_AT_ONCE = 8
# How often it is asked whether the engine is done.
LOOK_SECONDS = 0.005
PATIENCE_SECONDS = 600.0


@dataclass(slots=True)
class ClaimLog:
    """What was claimed: the moment each claim was committed, and its outcomes; `grown` is set with each."""

    entries: list[tuple[float, Sequence[Claim]]] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)


def timed(log: ClaimLog) -> type[ClaimService]:
    """The claim service, with each commit written down."""

    class TimedClaims(ClaimService):
        async def claim(self, crossed: Sequence[Crossed]) -> list[Claim]:
            claims = await super().claim(crossed)
            log.entries.append((time.perf_counter(), claims))
            log.grown.set()
            return claims

    return TimedClaims


@dataclass(frozen=True, slots=True)
class Market:
    """The running process, a connection to its database, and the hand that moves its price."""

    container: Container
    loops: Supervisor
    sql: asyncpg.Connection
    feed: HandFeed
    claims: ClaimLog

    def move(self, price: Decimal) -> float:
        """Bring BTC to a price with a spread of one, and return at what moment."""
        self.claims.entries.clear()
        half = Decimal("0.5")
        moment = time.perf_counter()
        self.feed.put(SYMBOL, [(str(price - half), str(price + half))])
        return moment

    async def idle(self) -> None:
        """Return once the engine has nothing more to claim and no close is on its way."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.container.monitor.is_idle:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(LOOK_SECONDS)

    async def claimed(self, order_ids: Sequence[int]) -> None:
        """Return once exits are claimed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while set(order_ids) - {claim.order_id for _, claims in self.claims.entries for claim in claims}:
                self.claims.grown.clear()
                await self.claims.grown.wait()

    async def people(self, count: int) -> list[Person]:
        """So many new users."""
        return [await create_person(self.container) for _ in range(count)]

    async def open_all(self, leverages: Iterable[int], users: int, copies: int) -> list[int]:
        """Have each of `users` open a long with a stop, and copy all so often; the ids of the stops, in their order.

        The stops are where no price comes to; `watch_stops` puts them where they are to be.
        """
        gate = asyncio.Semaphore(OPEN_AT_ONCE)

        async def one(person: Person, leverage: int) -> None:
            terms = OpenTerms(
                asset="BTC",
                is_long=True,
                collateral=Decimal(20),
                leverage=leverage,
                order_type=OrderType.MARKET,
                stop_price=START - 1500,
            )
            async with gate:
                await self.container.trading.open_trade(
                    Trader(person.id, may_trade=True, is_sandbox=False), terms, None
                )

        owners = zip(await self.people(users), leverages, strict=False)
        await asyncio.gather(*(one(person, leverage) for person, leverage in owners))
        await self.idle()
        await self.loops.stop()
        await multiply(self.sql, copies)
        records = await self.sql.fetch("SELECT id FROM orders WHERE role = 'exit' ORDER BY id")
        return [record["id"] for record in records]

    async def watch_stops(self, stops: Sequence[tuple[int, Decimal]]) -> None:
        """Set the prices of stops, and let the engine load them as after a start."""
        await self.sql.executemany("UPDATE orders SET stop_price = $2 WHERE id = $1", stops)
        await self.sql.execute("ANALYZE")
        self.loops.start()
        await until(lambda: self.container.monitor.is_watching, seconds=PATIENCE_SECONDS)
        await self.seen(START)

    async def seen(self, price: Decimal) -> None:
        """Bring BTC to a price, and return once it is shown."""
        self.move(price)
        pair_id = self.feed.start.pair_ids[SYMBOL]

        def is_shown() -> bool:
            quote = self.container.board.latest(pair_id)
            return quote is not None and quote.tick.mark == price

        await until(is_shown, seconds=PATIENCE_SECONDS)


@asynccontextmanager
async def running_market() -> AsyncIterator[Market]:
    """The process with all its loops, BTC at START and every part up; without limits for any user."""
    clock, log = SystemClock(), ClaimLog()
    feed = HandFeed(clock)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marqetfi-bench-")))
        url = stack.enter_context(private_server())
        await asyncio.to_thread(migrations.upgrade, url)
        stack.enter_context(mock.patch("app.wiring.paper_feed", lambda choice, clock: feed))
        stack.enter_context(mock.patch("app.wiring.ClaimService", timed(log)))
        settings = bench_settings(url, folder)
        logging.configure(level="ERROR", style=settings.log_format, stream=sys.stderr)
        container = await stack.enter_async_context(bootstrap(settings, clock=clock))
        loops = Supervisor(container.loops)
        loops.start()
        stack.push_async_callback(loops.stop)
        sql = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1))
        stack.push_async_callback(sql.close)
        await until(lambda: feed.is_running and container.monitor.is_watching)
        market = Market(container, loops, sql, feed, log)
        await market.seen(START)
        yield market


async def multiply(sql: asyncpg.Connection, copies: int) -> None:
    """Copy every trade with all that belongs to it, here and at the venue, so often; their owners stay."""
    async with sql.transaction():
        for number in range(1, copies + 1):
            for table, changed in COPIED.items():
                columns = await sql.fetch(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
                    " AND table_schema = 'public' ORDER BY ordinal_position",
                    table,
                )
                names = [column["column_name"] for column in columns]
                values = (_copied(name, changed, number) for name in names)
                await sql.execute(
                    f"INSERT INTO {table} ({', '.join(names)}) OVERRIDING SYSTEM VALUE"  # noqa: S608 - names of our own
                    f" SELECT {', '.join(values)} FROM {table} WHERE id < {OFFSET}"
                )
        for table in COPIED:
            await sql.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}")  # noqa: S608
        await sql.execute(f"UPDATE paper_accounts SET margin = margin * {copies + 1}")  # noqa: S608
        await sql.execute(f"UPDATE account_pairs SET next_trade_index = next_trade_index * {copies + 1}")  # noqa: S608


def _copied(name: str, changed: Sequence[str], number: int) -> str:
    """A column of a copy: what refers to other copies is moved with them."""
    if name not in changed:
        return name
    if name == "venue_trade_index":
        return f"({name}::bigint + {number * OFFSET})::text"
    if name == "venue_fill_id":
        # As the venue calls the fill of the copied order: else it would be booked again.
        return f"'paper-' || (substr({name}, {len('paper-') + 1})::bigint + {number * OFFSET})"
    if name == "trade_index":
        return f"{name} + {number}"
    return f"{name} + {number * OFFSET}"


def bench_settings(url: str, folder: Path) -> Settings:
    """Settings on a database, with cheap hashes and no limits, as nobody would run in production."""
    unlimited = {name: 0 for name in Settings.model_fields if name.startswith("rate_limit_")}
    values: dict[str, Any] = {
        "environment": "test",
        "database_url": url,
        "secret_key": SECRET,
        "marqetfi_data_dir": folder,
        "password_memory_kib": 8,
        "password_time_cost": 1,
        "invariant_check_seconds": 0,
        **unlimited,
    }
    return Settings(_env_file=None, **values)


def row(name: str, value: float, unit: str, floor: float | None, target: float | None) -> dict[str, Any]:
    """A row where less is better; where a floor was measured, the ratio is to it."""
    return {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "floor": None if floor is None else round(floor, 2),
        "ratio": None if floor is None else round(value / floor, 2),
        "target": target,
        "met": None if target is None else value <= target,
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
