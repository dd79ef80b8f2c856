"""The least that trading can cost in SQL: the rows it wrote, written again to copies of the tables, by asyncpg alone.

The copies stand in a schema of their own, with the same columns, indexes and checks; there are no foreign keys, no
questions and no locks but those of the writes. `before` copies what stands; `written` reads what trading made of it;
the methods named after steps write that in the transactions that the step must have, many rows by one statement each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

SCHEMA = "floor"
TABLES = (
    "trades",
    "orders",
    "intents",
    "positions",
    "fills",
    "events",
    "event_counters",
    "account_pairs",
    "paper_accounts",
    "paper_orders",
    "paper_positions",
    "paper_fills",
    "paper_ledger",
)

type Row = Mapping[str, Any]

_FILLED = ("status", "filled_quantity", "average_price", "quantity", "fee", "updated_at")
_TRIGGERED = ("triggered_leg", "trigger_price", "trigger_source", "trigger_sequence", "triggered_at", "updated_at")
_TRADED = ("status", "size", "fees", "pnl", "entry_price", "exit_price", "current_price", "close_reason", "updated_at")
_HELD = ("size", "margin", "liquidation_price", "current_price", "unrealized_pnl", "is_open", "closed_at", "updated_at")
_TAKEN = ("sent_at", "not_after", "next_run_at", "updated_at")


@dataclass(slots=True)
class Written:
    """What trading wrote about some trades: rows by table, of events those that came since."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    def events(self, *types: str, other: bool = False) -> list[Row]:
        """The events of the types, or all the others."""
        return [event for event in self.rows["events"] if (event["type"] in types) is not other]


class BareSql:
    """Copies of the tables, and the writes."""

    def __init__(self, sql: asyncpg.Connection) -> None:
        self._sql = sql
        self._last_event = 0

    async def before(self) -> None:
        """Copy every table as it stands."""
        await self._sql.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
        for table in TABLES:
            await self._sql.execute(
                f"CREATE TABLE {SCHEMA}.{table} (LIKE public.{table} INCLUDING ALL);"  # noqa: S608
                f"INSERT INTO {SCHEMA}.{table} SELECT * FROM public.{table}"
            )
        await self._sql.execute("ANALYZE")
        self._last_event = await self._sql.fetchval("SELECT coalesce(max(id), 0) FROM public.events")

    async def written(self, trade_ids: Sequence[int], closes: bool) -> Written:
        """What was written about trades: of intents and venue orders the closing ones, or the opening ones."""
        kind = "close" if closes else "open"
        intents = await self._rows("intents", "trade_id = ANY($1) AND kind = $2", trade_ids, kind)
        client_ids = [intent["id"] for intent in intents]
        trades = await self._rows("trades", "id = ANY($1)", trade_ids)
        paper_orders = await self._rows("paper_orders", "client_id = ANY($1)", client_ids)
        order_ids = [intent["order_id"] for intent in intents]
        rows = {
            "trades": trades,
            "orders": await self._rows("orders", "id = ANY($1)", order_ids),
            "intents": intents,
            "positions": await self._rows("positions", "trade_id = ANY($1)", trade_ids),
            "fills": await self._rows("fills", "order_id = ANY($1)", order_ids),
            "events": await self._rows(
                "events",
                "user_id = ANY($1) AND id > $2",
                sorted({trade["user_id"] for trade in trades}),
                self._last_event,
            ),
            "paper_orders": paper_orders,
            "paper_positions": await self._rows(
                "paper_positions", "id = ANY($1)", [order["position_id"] for order in paper_orders]
            ),
            "paper_fills": await self._rows("paper_fills", "order_id = ANY($1)", [row["id"] for row in paper_orders]),
            "paper_ledger": await self._rows("paper_ledger", "client_id = ANY($1)", client_ids),
        }
        self._last_event = await self._sql.fetchval("SELECT max(id) FROM public.events")
        return Written(rows)

    async def claim(self, done: Written) -> None:
        """Triggered orders, closing trades, new intents."""
        rows = done.rows
        async with self._sql.transaction():
            await self._change("trades", rows["trades"], ("updated_at",), status="closing")
            await self._change("orders", rows["orders"], _TRIGGERED, status="triggered")
            await self._insert("intents", rows["intents"], status="new")
            await self._log(done.events("order.triggered", "trade.updated"))

    async def write_open(self, done: Written) -> None:
        """New trades, their entries, their intents."""
        rows = done.rows
        async with self._sql.transaction():
            await self._sql.executemany(
                f"UPDATE {SCHEMA}.account_pairs SET next_trade_index = next_trade_index + 1"  # noqa: S608
                " WHERE venue_account_id = $1 AND pair_id = $2",
                [(trade["venue_account_id"], trade["pair_id"]) for trade in rows["trades"]],
            )
            await self._insert("trades", rows["trades"], status="pending")
            await self._insert("orders", rows["orders"], status="pending")
            await self._insert("intents", rows["intents"], status="new")
            await self._log(done.events("order.created"))

    async def carry_out(self, done: Written, *, opens: bool) -> None:
        """What follows an intent: it is taken, the venue does it, and its word is booked; each committed."""
        rows = done.rows
        async with self._sql.transaction():
            await self._change("intents", rows["intents"], _TAKEN, status="sent")
            await self._change("orders", rows["orders"], ("updated_at",), status="submitted")
            if opens:
                await self._change("trades", rows["trades"], ("updated_at",), status="submitted")
            await self._log(done.events("order.updated"))
        async with self._sql.transaction():
            await self._sql.executemany(
                f"UPDATE {SCHEMA}.paper_accounts SET balance = balance + $2, margin = margin + $3"  # noqa: S608
                " WHERE id = $1",
                [(order["account_id"], order["fee"], order["fee"]) for order in rows["paper_orders"]],
            )
            if opens:
                await self._insert("paper_positions", rows["paper_positions"])
            else:
                await self._change("paper_positions", rows["paper_positions"], ("size", "margin", "status"))
            for table in ("paper_orders", "paper_fills", "paper_ledger"):
                await self._insert(table, rows[table])
        async with self._sql.transaction():
            await self._change("trades", rows["trades"], _TRADED)
            await self._change("orders", rows["orders"], _FILLED)
            await self._change("intents", rows["intents"], ("status", "next_run_at", "updated_at"))
            await self._insert("fills", rows["fills"])
            if opens:
                await self._insert("positions", rows["positions"])
            else:
                await self._change("positions", rows["positions"], _HELD)
            early = ("order.created", "order.triggered", "order.updated", "trade.updated")
            await self._log(done.events(*early, other=True))

    async def _log(self, events: Sequence[Row]) -> None:
        counts: dict[int, int] = {}
        for event in events:
            counts[event["user_id"]] = counts.get(event["user_id"], 0) + 1
        await self._sql.executemany(
            f"INSERT INTO {SCHEMA}.event_counters AS c VALUES ($1, $2)"  # noqa: S608
            " ON CONFLICT (user_id) DO UPDATE SET sequence = c.sequence + $2",
            sorted(counts.items()),
        )
        await self._insert("events", events)

    async def _rows(self, table: str, where: str, *values: object) -> list[Row]:
        query = f"SELECT * FROM public.{table} WHERE {where} ORDER BY id"  # noqa: S608
        return [dict(record) for record in await self._sql.fetch(query, *values)]

    async def _insert(self, table: str, rows: Iterable[Row], **instead: object) -> None:
        values = [tuple({**row, **instead}.values()) for row in rows]
        if values:
            slots = ", ".join(f"${i + 1}" for i in range(len(values[0])))
            await self._sql.executemany(f"INSERT INTO {SCHEMA}.{table} VALUES ({slots})", values)  # noqa: S608

    async def _change(self, table: str, rows: Iterable[Row], names: Sequence[str], **instead: object) -> None:
        columns = [*names, *instead]
        values = [(row["id"], *({**row, **instead}[name] for name in columns)) for row in rows]
        changes = ", ".join(f"{name} = ${i + 2}" for i, name in enumerate(columns))
        await self._sql.executemany(f"UPDATE {SCHEMA}.{table} SET {changes} WHERE id = $1", values)  # noqa: S608
