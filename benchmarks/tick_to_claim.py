"""From a tick to the commit of the claim that it causes, one exit a tick, against the same writes in bare SQL."""

import statistics
import time
from decimal import Decimal
from itertools import cycle
from typing import Any

from benchmarks.bare_sql import BareSql
from benchmarks.market import START, Market, percentile, row, running_market

USERS = 40
COPIES = 7
WARM_UP = 20
TARGET_MS = 20.0


async def rows() -> list[dict[str, Any]]:
    """Measure; half a minute."""
    async with running_market() as market:
        ids = await market.open_all(cycle([10]), USERS, COPIES)
        # In the order of ids the owners come in turn.
        stops = [START - 10 - number for number in range(len(ids))]
        await market.watch_stops(list(zip(ids, stops, strict=True)))
        bare = BareSql(market.sql)
        await bare.before()
        measured = [await _measure(market, bare, order_id, stop) for order_id, stop in zip(ids, stops, strict=True)]
    ours, floors = zip(*measured[WARM_UP:], strict=True)
    return [
        row("tick to claim: p50", statistics.median(ours), "ms", statistics.median(floors), None),
        row("tick to claim: p99", percentile(ours, 0.99), "ms", percentile(floors, 0.99), TARGET_MS),
    ]


async def _measure(market: Market, bare: BareSql, order_id: int, stop: Decimal) -> tuple[float, float]:
    """Milliseconds of one trigger, and of its floor once the engine is idle again."""
    started = market.move(stop)
    await market.claimed([order_id])
    spent = market.claims.entries[0][0] - started
    await market.idle()
    trade_id = await market.sql.fetchval("SELECT trade_id FROM orders WHERE id = $1", order_id)
    done = await bare.written([trade_id], closes=True)
    began = time.perf_counter()
    await bare.claim(done)
    return spent * 1000, (time.perf_counter() - began) * 1000
