"""Asks the database whether every invariant holds; reads only."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ARRAY, BigInteger, column, distinct, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.domain.invariants import InvariantKind, Violation
from app.repositories.invariant_paper import PAPER, PAPER_WORDS
from app.repositories.invariant_queries import DEADLINES, EVENTS, ORDERS, TRADES, WORDS, Invariant

INVARIANTS: Sequence[Invariant] = (*PAPER, *TRADES, *ORDERS, *EVENTS, *DEADLINES)
LATEST = 2000
# Words of a venue may be under way for so long.
GRACE = timedelta(seconds=30)
NAMED = 5

_ALL = "9000000000000000000"
_RECENT = "t.id = ANY(CAST(:trades AS bigint[]))"
_RECENT_TRADES = text("""
    SELECT id FROM trades WHERE id > (SELECT coalesce(max(id), 0) - :latest FROM trades)
    UNION SELECT trade_id FROM fills WHERE id > (SELECT coalesce(max(id), 0) - :latest FROM fills)
    UNION SELECT trade_id FROM orders WHERE id > (SELECT coalesce(max(id), 0) - :latest FROM orders)
    UNION SELECT trade_id FROM intents WHERE id > (SELECT coalesce(max(id), 0) - :latest FROM intents)
""")
_FROZEN = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class InvariantRepository:
    """One set-based question for each invariant."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def freeze(self) -> None:
        """Let the whole transaction see the database as of its first question, read only; comes before that."""
        await self.session.connection(execution_options=_FROZEN)

    async def violations(
        self, kinds: Sequence[InvariantKind], *, latest: int | None = LATEST, grace: timedelta = GRACE
    ) -> list[Violation]:
        """The invariants of the kinds that do not hold, each with up to 5 ids of who breaks it.

        `latest`: so many rows of each growing table are looked at, from the newest; None is all of them.
        """
        values: dict[str, Any] = {"grace": grace}
        words = {**WORDS, **PAPER_WORDS, "recent": "true", "latest": _ALL}
        if latest is not None:
            recent = await self.session.scalars(_RECENT_TRADES, {"latest": latest})
            values["trades"] = [trade_id for trade_id in recent if trade_id is not None]
            words |= {"recent": _RECENT, "latest": str(latest)}
        return [
            violation
            for invariant in INVARIANTS
            if invariant.kind in kinds and (violation := await self._ask(invariant, words, values))
        ]

    async def _ask(self, invariant: Invariant, words: Mapping[str, str], values: dict[str, Any]) -> Violation | None:
        question = invariant.sql.format(**words)
        broken = text(question).columns(column("id", BigInteger())).subquery("broken")
        first = func.array_agg(distinct(broken.c.id), type_=ARRAY(BigInteger()))[1:NAMED]
        used = {name: value for name, value in values.items() if f":{name}" in question}
        count, ids = (await self.session.execute(select(func.count(), first).select_from(broken), used)).one()
        return Violation(invariant.name, invariant.kind, invariant.sentence, count, tuple(ids)) if count else None
