"""A simple reading of what was shown so far, which nothing shown later may contradict."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from app.core.broadcast import MemoryBroadcast
from app.core.database import Database
from app.domain.enums import OrderStatus, TradeStatus
from app.domain.lifecycle import ORDER_MOVES, TRADE_MOVES, Moves
from app.repositories.unit_of_work import UnitOfWork
from app.services.live_stops import live_stops

UNIT = Decimal("0.000001")
_FILLS = text("""
    SELECT f.id, f.trade_id, f.quantity, f.price, f.fee, f.pnl, f.is_close, f.is_liquidation, f.side, p.taker_fee_rate,
        x.entry_price, (SELECT count(*) FROM fills e WHERE e.trade_id = f.trade_id AND NOT e.is_close) AS entries
    FROM fills f JOIN trades t ON t.id = f.trade_id JOIN pairs p ON p.id = t.pair_id
    LEFT JOIN positions x ON x.trade_id = t.id
    WHERE f.id > :after ORDER BY f.id
""")
_STATES = text("""
    SELECT 'order' AS kind, id, status, filled_quantity AS filled FROM orders
    UNION ALL SELECT 'trade', id, status, 0 FROM trades
""")
_TRAILING = text("""
    SELECT id FROM orders WHERE status = 'pending' AND armed_sequence IS NOT NULL
        AND (trailing_stop_distance IS NOT NULL OR trailing_stop_percentage IS NOT NULL)
""")


class Model:
    """States only move as their tables say, fills stay, each costs what it must, and no stop is shown looser."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last_fill = 0
        self._states: dict[tuple[str, int], tuple[str, Decimal]] = {}
        self._stops: dict[tuple[int, int, int], Decimal] = {}

    async def observe(self) -> None:
        """Compare what is shown now with what was shown before."""
        async with self._database.engine.connect() as connection:
            states = (await connection.execute(_STATES)).mappings().all()
            fills = (await connection.execute(_FILLS, {"after": self._last_fill})).mappings().all()
            trailing = (await connection.scalars(_TRAILING)).all()
        for row in states:
            self._observe_state(row)
        for row in fills:
            self._last_fill = row["id"]
            _check_fill(row)
        if trailing:
            await self._observe_stops(list(trailing))

    def _observe_state(self, row: Mapping[Any, Any]) -> None:
        key, status, filled = (row["kind"], row["id"]), row["status"], row["filled"]
        before, filled_before = self._states.get(key, (status, filled))
        assert filled >= filled_before, f"{key}: {filled} is less than {filled_before}"
        if status != before:
            moves: Moves[Any] = ORDER_MOVES if row["kind"] == "order" else TRADE_MOVES
            states: type[OrderStatus] | type[TradeStatus] = OrderStatus if row["kind"] == "order" else TradeStatus
            assert states(status) in _reachable(moves, states(before)), f"{key}: {before} became {status}"
        self._states[key] = status, filled

    async def _observe_stops(self, ids: list[int]) -> None:
        async with UnitOfWork(self._database, MemoryBroadcast()) as work:
            orders = await work.orders.rows(ids)
            stops = await live_stops(work, orders)
        for order in orders:
            if order.id not in stops:
                continue
            key = order.id, order.version, order.armed_sequence or 0
            shown, sign = stops[order.id].stop_price, 1 if order.side.value == "sell" else -1
            before = self._stops.get(key, shown)
            assert (shown - before) * sign >= 0, f"order {order.id}: the stop was {before} and is {shown}"
            self._stops[key] = shown


def _reachable(moves: Moves[Any], start: Any) -> set[Any]:
    """Every state that may follow, however many moves a step took."""
    reached: set[Any] = set()
    ahead = [start]
    while ahead:
        for state in moves[ahead.pop()]:
            if state not in reached:
                reached.add(state)
                ahead.append(state)
    return reached


def _check_fill(row: Mapping[Any, Any]) -> None:
    """Rounded by less than one base unit; a loss ends at the margin, and the fee of a last part at what is left."""
    where = f"fill {row['id']} of trade {row['trade_id']}"
    exact_fee = row["quantity"] * row["price"] * row["taker_fee_rate"]
    if not row["is_liquidation"]:
        assert row["fee"] < exact_fee + UNIT, f"{where}: the fee {row['fee']} is more than {exact_fee}"
    if not row["is_close"]:
        assert row["pnl"] == 0
        # The parts of one order together cost no more than was reserved for it: the last pays what those before it,
        # each rounded up, have left.
        less = UNIT * max(1, row["entries"] - 1)
        assert row["fee"] > exact_fee - less, f"{where}: the fee {row['fee']} is less than {exact_fee}"
        return
    if row["entries"] != 1 or row["entry_price"] is None:
        return
    sign = 1 if row["side"] == "sell" else -1
    exact = row["quantity"] * (row["price"] - row["entry_price"]) * sign
    if exact >= 0:
        assert exact - UNIT < row["pnl"] <= exact, f"{where}: {row['pnl']} is not {exact}"
    else:
        assert exact - UNIT < row["pnl"] <= 0, f"{where}: {row['pnl']} is not {exact}"
