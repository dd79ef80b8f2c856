"""The real server, killed with -9 while it replays recorded data, and started again on what it left."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from tests.conftest import MakeDatabase
from tests.ports import free_port
from tests.replays import PlayedRow, exit_of, expected_end, marks_of, played_rows, replay_setting
from tests.waiting import until

pytestmark = [pytest.mark.recorded, pytest.mark.crash]

KILLS = 3
POSITIONS = 60
# Played slowly while positions are opened, and then fast: the files last five minutes (BTC) and most of a day.
REPLAYS = [
    pytest.param((("BTCUSDT",), 1, 20), id="btc"),
    pytest.param((("EURUSD", "XAUUSD"), 10, 600), id="forex-and-gold"),
]
MARQETFI = Path(sys.executable).with_name("marqetfi")


@dataclass
class KilledServer:
    """`marqetfi serve` as a process of its own, on a database that outlives it."""

    database_url: str
    data_dir: Path
    recorded: Path
    symbols: tuple[str, ...]
    speed: int
    full_speed: int
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rows(self) -> list[PlayedRow]:
        """The rows that it replays."""
        return played_rows(self.recorded, self.symbols)

    async def start(self) -> None:
        """Start and wait until it is ready."""
        environment = {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "MARQETFI_DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            "PAPER_FEED": "replay",
            "PAPER_REPLAY": ",".join(replay_setting(self.recorded, self.symbols)),
            "PAPER_REPLAY_SPEED": str(self.speed),
            "RATE_LIMIT_TRADE": "0",
            "RATE_LIMIT_DEFAULT": "0",
            "RATE_LIMIT_PRICE": "0",
            "LOG_LEVEL": "WARNING",
        }
        self.process = await asyncio.to_thread(lambda: subprocess.Popen([MARQETFI, "serve"], env=environment))
        async with httpx2.AsyncClient(base_url=self.url, trust_env=False, timeout=5) as client:
            await until(lambda: self._is_ready(client), seconds=60)

    async def _is_ready(self, client: httpx2.AsyncClient) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server ended by itself"
        try:
            ready = await client.get("/health/ready")
            parts = ready.json()["parts"]
        except (httpx2.HTTPError, json.JSONDecodeError, KeyError):
            return False
        return ready.status_code == 200 and all(state == "up" for state in parts.values())

    async def end(self, number: signal.Signals) -> None:
        """Send a signal and wait until the process is gone."""
        process = self.process
        assert process is not None
        process.send_signal(number)
        await asyncio.to_thread(process.wait, 60)


async def query(url: str, statement: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1))
    try:
        return [dict(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="module", params=REPLAYS)
async def survivor(
    request: pytest.FixtureRequest,
    new_database: MakeDatabase,
    tmp_path_factory: pytest.TempPathFactory,
    recorded_data: Path,
) -> AsyncIterator[KilledServer]:
    """The server at the end of its replay, after it was killed three times on the way."""
    server = KilledServer(new_database(), tmp_path_factory.mktemp("killed"), recorded_data, *request.param)
    choice = random.Random(9)
    rows = len(server.rows())
    try:
        await server.start()
        await open_positions(server, choice)
        first = await judged(server)
        for number in [first, *sorted(choice.sample(range(first, rows * 9 // 10), KILLS - 1))]:
            await until(partial(has_judged, server, number), seconds=120)
            await server.end(signal.SIGKILL)
            server.speed = server.full_speed
            await server.start()
        await until(lambda: is_over(server), seconds=180)
        yield server
    finally:
        await server.end(signal.SIGTERM)


async def judged(server: KilledServer) -> int:
    """The number of the last row that the order engine has made durable."""
    found = await query(
        server.database_url,
        "SELECT max(c.sequence) - min(f.base) AS number FROM price_checkpoints c CROSS JOIN feed_states f",
    )
    return int(found[0]["number"] or 0)


async def has_judged(server: KilledServer, number: int) -> bool:
    return await judged(server) >= number


async def is_over(server: KilledServer) -> bool:
    """Whether every market has closed and nothing is on its way any more."""
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=5) as client:
        prices = (await client.get(f"/api/v1/prices?pairs={','.join(server.symbols)}")).json()["prices"]
    moving = await query(
        server.database_url,
        """
        SELECT 1 FROM trades WHERE status NOT IN ('open', 'closed', 'liquidated')
        UNION ALL SELECT 1 FROM orders WHERE status = 'pending' AND latched_sequence IS NOT NULL
        UNION ALL SELECT 1 FROM intents WHERE status IN ('new', 'sent')
        UNION ALL SELECT 1 FROM events WHERE fanned_out_at IS NULL
        """,
    )
    return (
        not moving
        and not any(price["market_open"] for price in prices)
        and await has_judged(server, len(server.rows()))
    )


async def open_positions(server: KilledServer, choice: random.Random) -> None:
    """Open positions with stops, targets and trailing stops on all three pairs, while prices move."""
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as client:
        account = {"email": "kill@example.com", "username": "killed", "password": "a long enough phrase"}
        token = (await client.post("/api/v1/auth/register", json=account)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        for number in range(POSITIONS):
            body = await random_request(client, choice.choice(server.symbols), choice)
            answer = await client.post(
                "/api/v1/trading/trades", json=body, headers={**headers, "Idempotency-Key": f"open-{number}"}
            )
            assert answer.status_code == 201, answer.text


async def random_request(client: httpx2.AsyncClient, pair: str, choice: random.Random) -> dict[str, Any]:
    price = (await client.get(f"/api/v1/prices/{pair}")).json()["price"]
    is_long = choice.random() < 0.5
    gap = price * choice.uniform(0.0005, 0.004) * (1 if is_long else -1)
    decimals = 2 if pair == "BTCUSDT" else 3 if pair == "XAUUSD" else 5
    stop, target = round(price - gap, decimals), round(price + gap, decimals)
    levels = choice.choice(
        [
            {"order_type": "STOP_LOSS", "stop_price": stop},
            {"order_type": "TAKE_PROFIT", "take_profit_price": target},
            {"order_type": "TRAILING_STOP", "trailing_stop_percentage": round(choice.uniform(0.05, 0.4), 2)},
            {"order_type": "OCO", "oco_stop_price": stop, "oco_take_profit_price": target},
        ]
    )
    return {"asset": pair, "direction": is_long, "collateral": 50, "leverage": 10, **levels}


async def test_no_order_is_lost_or_doubled(survivor: KilledServer) -> None:
    trades = await query(survivor.database_url, "SELECT * FROM trades")
    assert len(trades) == POSITIONS
    doubled = await query(
        survivor.database_url,
        "SELECT order_id FROM fills WHERE order_id IS NOT NULL GROUP BY order_id, is_close HAVING count(*) > 1",
    )
    assert doubled == []
    unequal = await query(
        survivor.database_url,
        """
        SELECT t.id FROM trades t JOIN fills f ON f.trade_id = t.id
        GROUP BY t.id HAVING sum(CASE WHEN f.is_close THEN -f.quantity ELSE f.quantity END) <> t.size
        """,
    )
    assert unequal == []


async def test_every_stop_is_that_of_a_run_that_was_never_killed(survivor: KilledServer) -> None:
    url = survivor.database_url
    base = (await query(url, "SELECT base FROM feed_states"))[0]["base"]
    rows = survivor.rows()
    trades = await query(url, "SELECT t.*, p.symbol FROM trades t JOIN pairs p ON p.id = t.pair_id")
    exits = await query(url, "SELECT * FROM orders WHERE role = 'exit' ORDER BY id")
    positions = {str(row["id"]): row for row in await query(url, "SELECT * FROM paper_positions")}
    for trade in trades:
        (row,) = (row for row in exits if row["trade_id"] == trade["id"])
        ticks = marks_of(rows, trade["symbol"], base)
        expected = expected_end(positions[trade["venue_trade_index"]], [exit_of(row)], ticks)
        if expected.fired is None or row["released_sequence"] is not None:
            assert row["trigger_sequence"] is None
            assert trade["status"] == "open"
            assert row["status"] == "pending"
        else:
            assert (row["trigger_sequence"], row["trigger_price"]) == expected.fired[:2]
            assert row["watermark"] == expected.fired.watermark
            assert (row["status"], trade["status"]) == ("filled", "closed")


async def test_the_ledger_is_zero_and_nothing_is_unaccounted_for(survivor: KilledServer) -> None:
    url = survivor.database_url
    assert (await query(url, "SELECT coalesce(sum(amount), 0) AS total FROM paper_ledger"))[0]["total"] == 0
    held = await query(url, "SELECT id::text FROM paper_positions WHERE status = 'open' ORDER BY 1")
    known = await query(url, "SELECT venue_trade_index AS id FROM trades WHERE status = 'open' ORDER BY 1")
    assert held == known


async def test_every_event_stands_in_a_gapless_log(survivor: KilledServer) -> None:
    gaps = await query(
        survivor.database_url,
        "SELECT user_id FROM events GROUP BY user_id HAVING max(sequence) <> count(*) OR min(sequence) <> 1",
    )
    assert gaps == []
