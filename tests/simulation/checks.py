"""What must hold of a simulated world: the invariants after every step, and at the end every fact that follows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from app.core.broadcast import MemoryBroadcast
from app.core.database import Database
from app.domain.enums import PositionSide, TriggerBy
from app.domain.invariants import InvariantKind
from app.domain.prices import KEPT, Tick
from app.repositories.invariant_paper import PAPER_WORDS
from app.repositories.invariant_queries import WORDS
from app.repositories.invariant_repository import INVARIANTS
from app.repositories.unit_of_work import UnitOfWork
from app.services.invariant_service import InvariantService
from tests.oracles import Fired, oracle_order
from tests.replays import Exit, exit_of, expected_end
from tests.simulation.model import Model
from tests.simulation.users import SimulatedUser

# What is armed by an older tick than this is heard of when not all ticks since are kept (ADR 0011).
IN_TIME = KEPT - timedelta(seconds=30)
_UNSETTLED = """
    SELECT 'intent ' || id || ' ' || kind || ' ' || status FROM intents WHERE status IN ('new', 'sent')
    UNION ALL SELECT 'order ' || id || ' ' || role || ' ' || status FROM orders
        WHERE status IN ('triggered', 'submitted', 'unknown', 'pending_cancel')
            OR status = 'partially_filled' AND order_type <> 'LIMIT'
    UNION ALL SELECT 'trade ' || id || ' ' || status FROM trades WHERE status = 'closing'
    UNION ALL SELECT 'latched ' || o.id FROM orders o JOIN trades t ON t.id = o.trade_id
        WHERE o.status = 'pending' AND o.latched_sequence IS NOT NULL AND t.status IN ('open', 'closing')
"""


class Checks:
    """Asks the database, by a connection of its own: its long question is planned once."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, application_name="simulation checks", pool_size=1)
        self._model = Model(self._database)
        words = {**WORDS, **PAPER_WORDS, "recent": "true", "latest": "9000000000000000000"}
        self._always = text(
            " UNION ALL ".join(
                f"SELECT '{invariant.name}' AS name, id FROM ({invariant.sql.format(**words)}) AS q"  # noqa: S608
                for invariant in INVARIANTS
                if invariant.kind is InvariantKind.ALWAYS
            )
        )

    async def aclose(self) -> None:
        """Close the connection."""
        await self._database.aclose()

    async def always(self) -> None:
        """What holds after every commit: the invariants, and that nothing is taken back."""
        broken = await self._rows(self._always)
        assert not broken, f"the books do not hold: {broken}"
        await self._model.observe()

    async def unsettled(self) -> list[str]:
        """What is under way."""
        return [row[0] for row in await self._rows(text(_UNSETTLED))]

    async def is_settled(self) -> bool:
        """Whether nothing is under way."""
        return not await self.unsettled()

    async def at_rest(self) -> None:
        """Every invariant there is."""
        service = InvariantService(lambda: UnitOfWork(self._database, MemoryBroadcast()))
        violations = await service.check(is_full=True, has_deadlines=False, is_at_rest=True)
        assert not violations, [str(violation) for violation in violations]

    async def against_oracle(
        self, history: Sequence[Tick], users: Sequence[SimulatedUser], starting_balance: Decimal
    ) -> None:
        """Every exit ended as an independent reading of the same ticks says, and every cent is where it must be."""
        trades = await self._dicts("SELECT * FROM trades ORDER BY id")
        exits = await self._dicts("SELECT * FROM orders WHERE role = 'exit' ORDER BY id")
        positions = {str(row["id"]): row for row in await self._dicts("SELECT * FROM paper_positions")}
        for trade in trades:
            if trade["venue_trade_index"] is not None:
                mine = [row for row in exits if row["trade_id"] == trade["id"]]
                ticks = [tick for tick in history if tick.pair_id == trade["pair_id"]]
                _check_trade(trade, mine, positions[trade["venue_trade_index"]], ticks)
        await self._check_orders(users)
        await self._check_money(starting_balance)

    async def _check_orders(self, users: Sequence[SimulatedUser]) -> None:
        """Each opening that was answered is one order, and none is more than one."""
        rows = await self._dicts("SELECT id, user_id, client_order_id FROM orders WHERE client_order_id IS NOT NULL")
        written = {(row["user_id"], row["client_order_id"]): row["id"] for row in rows}
        assert len(written) == len(rows)
        for user in users:
            mine = {name: order_id for (user_id, name), order_id in written.items() if user_id == user.id}
            assert mine.keys() <= user.asked.keys()
            assert user.answered.items() <= mine.items()

    async def _check_money(self, starting_balance: Decimal) -> None:
        """Balance and margin are what came in, what was won and what was paid, to the last base unit."""
        rows = await self._dicts("""
            SELECT a.user_id, a.balance + a.margin AS has,
                (SELECT coalesce(sum(t.pnl), 0) - coalesce(sum(t.fees), 0) FROM trades t WHERE t.user_id = a.user_id)
                    AS made
            FROM paper_accounts a
        """)
        for row in rows:
            assert row["has"] == starting_balance + row["made"], f"user {row['user_id']}: {row}"

    async def _rows(self, query: Any) -> list[Any]:
        async with self._database.engine.connect() as connection:
            return list((await connection.execute(query)).all())

    async def _dicts(self, query: str) -> list[dict[str, Any]]:
        async with self._database.engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(query))).mappings()]


def _series(ticks: Sequence[Tick], trigger_by: str, side: PositionSide) -> list[tuple[int, Decimal]]:
    """The ticks as an exit sees them, that tell its price at all."""
    prices = ((tick.sequence, tick.price_by(TriggerBy(trigger_by), side)) for tick in ticks)
    return [(sequence, price) for sequence, price in prices if price is not None]


def _exit(row: dict[str, Any]) -> Exit:
    """An exit's row; one that still waits for its activation is told of it."""
    waits = row["activated_sequence"] is None
    return replace(exit_of(row), activation_price=row["activation_price"] if waits else None)


def _check_trade(
    trade: dict[str, Any], exits: Sequence[dict[str, Any]], position: dict[str, Any], history: Sequence[Tick]
) -> None:
    side = PositionSide(position["side"])
    liquidated_at = expected_end(position, [], _series(history, TriggerBy.MARK, side)).liquidated_at
    moments = {tick.sequence: tick.at for tick in history}
    for row in exits:
        if row["armed_sequence"] is None or row["released_sequence"] is not None:
            continue
        known_at = max(row["created_at"], trade["opened_at"])
        if known_at - moments[row["armed_sequence"]] > IN_TIME:
            continue
        outcome = oracle_order(_exit(row), _series(history, row["trigger_by"], side))
        fired = outcome if isinstance(outcome, Fired) else None
        if fired is not None and liquidated_at is not None and fired.sequence >= liquidated_at:
            fired = None
        where = f"trade {trade['id']} ({trade['status']}), exit {row['id']} ({row['status']})"
        if row["status"] == "filled":
            seen = Fired(
                row["trigger_sequence"], row["trigger_price"], row["triggered_leg"], row["stop_price"], row["watermark"]
            )
            assert fired is not None, f"{where}: it should not have fired"
            assert (seen.sequence, seen.price, seen.leg, seen.watermark) == (
                fired.sequence,
                fired.price,
                fired.leg,
                fired.watermark,
            ), where
            if fired.leg == "trailing":
                assert seen.stop == fired.stop, where
        elif trade["status"] == "open":
            assert row["status"] != "pending" or fired is None, f"{where}: it should have fired at {fired}"
    if trade["status"] == "liquidated":
        assert liquidated_at is not None, f"trade {trade['id']} should not have been liquidated"
    elif trade["status"] == "open":
        assert liquidated_at is None, f"trade {trade['id']} should have been liquidated at {liquidated_at}"
