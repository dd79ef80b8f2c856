"""A thousand exits of many users that one tick triggers: until all are claimed, and until all are closed."""

import time
from collections.abc import Sequence
from decimal import Decimal
from itertools import batched, cycle, pairwise
from typing import Any

from app.services.trigger_work import BATCH
from benchmarks.bare_sql import BareSql
from benchmarks.market import START, Market, row, running_market

USERS = 200
COPIES = 4
EXITS = USERS * (1 + COPIES)
# Stops and the tick stand above every liquidation: what is triggered is closed, not liquidated.
FIRST_STOP, LAST_STOP, TICK = START - 600, START - 1000, START - 1100
LEVERAGES = range(5, 25)
CLAIMED_TARGET = 2.0


async def rows() -> list[dict[str, Any]]:
    """Measure; about a minute."""
    async with running_market() as market:
        ids = await market.open_all(cycle(LEVERAGES), USERS, COPIES)
        step = (FIRST_STOP - LAST_STOP) / len(ids)
        stops = [FIRST_STOP - (number * step).quantize(Decimal("0.1")) for number in range(len(ids))]
        await market.watch_stops(list(zip(ids, stops, strict=True)))
        distances = await _distances(market)
        bare = BareSql(market.sql)
        await bare.before()
        started = market.move(TICK)
        await market.claimed(ids)
        claims = list(market.claims.entries)
        await market.idle()
        closed = time.perf_counter() - started
        trade_ids = await _closed(market)
        floor_claimed, floor_closed = await _floor(bare, trade_ids)
    claimed = claims[-1][0] - started
    in_order = [[distances[claim.order_id] for claim in batch] for _, batch in claims]
    return [
        row(f"{EXITS:,} exits at once: all claimed", claimed, "s", floor_claimed, CLAIMED_TARGET),
        row(f"{EXITS:,} exits at once: all closed", closed, "s", floor_closed, None),
        _order_row(in_order),
    ]


def _order_row(batches: Sequence[Sequence[Decimal]]) -> dict[str, Any]:
    """How many batches hold none that is farther from its liquidation than any of the next batch."""
    good = 1 + sum(max(one) <= min(other) for one, other in pairwise(batches))
    return row(f"{EXITS:,} exits at once: nearest to liquidation first", good, "batches", None, len(batches)) | {
        "met": good == len(batches)
    }


async def _distances(market: Market) -> dict[int, Decimal]:
    """How far each exit's position is from its liquidation at the tick to come, as a share of the price."""
    records = await market.sql.fetch(
        "SELECT o.id, abs($1 - p.liquidation_price) / $1 AS distance FROM orders o"
        " JOIN positions p ON p.trade_id = o.trade_id WHERE o.role = 'exit'",
        TICK,
    )
    return {record["id"]: record["distance"] for record in records}


async def _closed(market: Market) -> list[int]:
    """The ids of the trades, which are all closed by their exits."""
    records = await market.sql.fetch("SELECT id, status FROM trades ORDER BY id")
    statuses = {record["status"] for record in records}
    if statuses != {"closed"} or len(records) != EXITS:
        raise AssertionError(f"{len(records)} trades ended as {statuses}")
    return [record["id"] for record in records]


async def _floor(bare: BareSql, trade_ids: Sequence[int]) -> tuple[float, float]:
    """Seconds until the bare writes have claimed all, and closed all, in batches as large as the engine's."""
    done = [await bare.written(batch, closes=True) for batch in batched(trade_ids, BATCH)]
    started = time.perf_counter()
    for batch in done:
        await bare.claim(batch)
    claimed = time.perf_counter() - started
    for batch in done:
        await bare.carry_out(batch, opens=False)
    return claimed, time.perf_counter() - started
