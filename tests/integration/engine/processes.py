"""`marqetfi serve` and `marqetfi engine` as processes of their own, on a database that outlives them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from app.core.broadcast import MemoryBroadcast
from app.core.database import Database
from app.repositories.unit_of_work import UnitOfWork
from app.services.invariant_service import InvariantService
from scripts.run_tests import COMPILED_ONCE
from tests.conftest import TEST_SECRET
from tests.ports import free_port
from tests.waiting import until

MARQETFI = Path(sys.executable).with_name("marqetfi")
START_SECONDS = 90.0
UNDER_WAY = """
    SELECT 'trade ' || id || ' ' || status AS what FROM trades WHERE status NOT IN
        ('open', 'closed', 'liquidated', 'cancelled', 'failed', 'pending', 'submitted')
    UNION ALL SELECT 'entry ' || o.id || ' ' || o.status FROM orders o
        WHERE role <> 'exit' AND status IN ('submitted', 'unknown', 'triggered', 'pending_cancel', 'partially_filled')
    UNION ALL SELECT 'latched ' || id FROM orders WHERE status = 'pending' AND latched_sequence IS NOT NULL
    UNION ALL SELECT 'intent ' || id || ' ' || status FROM intents WHERE status IN ('new', 'sent')
    UNION ALL SELECT 'event ' || id FROM events WHERE fanned_out_at IS NULL
"""


@dataclass(kw_only=True)
class Installation:
    """What the processes of one database share: `settings` are environment variables by name."""

    database_url: str
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    _connection: "asyncpg.Connection[asyncpg.Record] | None" = None

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a process; cheap hashes and no rate limits."""
        limits = ("TRADE", "DEFAULT", "PRICE", "CLOSE", "REGISTER", "LOGIN")
        return {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "MARQETFI_DATA_DIR": str(self.folder),
            "SECRET_KEY": TEST_SECRET,
            "PASSWORD_MEMORY_KIB": "8",
            "PASSWORD_TIME_COST": "1",
            "LOG_LEVEL": "WARNING",
            **COMPILED_ONCE,
            **{f"RATE_LIMIT_{name}": "0" for name in limits},
            **self.settings,
            **more,
        }

    async def query(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """The rows of a query, as dictionaries."""
        if self._connection is None:
            url = self.database_url.replace("postgresql+asyncpg://", "postgresql://", 1)
            self._connection = await asyncpg.connect(url)
        return [dict(row) for row in await self._connection.fetch(statement, *values)]

    async def aclose(self) -> None:
        """Close the connection that queries were asked on."""
        if self._connection is not None:
            await self._connection.close()

    async def judged(self) -> int:
        """The number of the last row that the order engine has made durable."""
        found = await self.query(
            "SELECT max(c.sequence) - min(f.base) AS number FROM price_checkpoints c CROSS JOIN feed_states f"
        )
        return int(found[0]["number"] or 0)

    async def has_judged(self, number: int) -> bool:
        """Whether the order engine is so far."""
        return await self.judged() >= number

    async def is_quiet(self) -> bool:
        """Whether nothing is on its way any more."""
        return not await self.query(UNDER_WAY)

    async def expire_locks(self) -> None:
        """A request that was cut off holds its key for some seconds; they end now."""
        await self.query(
            "UPDATE idempotency_records SET locked_until = now() - interval '1 second' WHERE locked_until IS NOT NULL"
        )

    async def assert_books_hold(self) -> None:
        """Every invariant holds of every row, and nothing waits."""
        database = Database(self.database_url, application_name="checks", pool_size=1)
        try:
            service = InvariantService(lambda: UnitOfWork(database, MemoryBroadcast()))
            violations = await service.check(is_full=True, is_at_rest=True)
        finally:
            await database.aclose()
        assert not violations, [str(violation) for violation in violations]


@dataclass
class Running:
    """One process of the product; `log` is what it said."""

    installation: Installation
    name: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.installation.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def launch(self, *command: str, **settings: str) -> None:
        """Start it, without waiting for anything."""
        environment = self.installation.environment(**settings)

        def start() -> subprocess.Popen[bytes]:
            with self.log.open("ab") as log:
                return subprocess.Popen([MARQETFI, *command], env=environment, stdout=log, stderr=log)

        self.process = await asyncio.to_thread(start)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal and wait until the process is gone; how it ended, -9 for SIGKILL."""
        if self.is_alive:
            self.send(number)
        return await self.gone()

    async def gone(self) -> int:
        """Wait until the process is gone by itself; how it ended."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, 60)

    def tail(self) -> str:
        """The end of what it said, for the message of a failure."""
        return self.log.read_text(errors="replace")[-3000:]


@dataclass
class Server(Running):
    """`marqetfi serve` on a port of its own."""

    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx2.AsyncClient]:
        """A client of the API."""
        async with httpx2.AsyncClient(base_url=self.url, trust_env=False, timeout=20) as client:
            yield client

    async def start(self, **settings: str) -> None:
        """Start and wait until it is ready; one that does not get there is ended."""
        await self.launch("serve", PORT=str(self.port), **settings)
        try:
            async with self.client() as client:
                await until(lambda: self.is_ready(client), seconds=START_SECONDS)
        except BaseException:
            await self.end(signal.SIGKILL)
            raise

    async def is_ready(self, client: httpx2.AsyncClient) -> bool:
        """Whether every part of it is up; AssertionError where it has ended."""
        assert self.is_alive, f"the server ended by itself: {self.tail()}"
        try:
            ready = await client.get("/health/ready")
            parts = ready.json()["parts"]
        except (httpx2.HTTPError, json.JSONDecodeError, KeyError):
            return False
        return ready.status_code == 200 and all(state == "up" for state in parts.values())
