"""Questions about candles."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import Numeric, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from app.domain.candles import Bar, CandleInterval
from app.models.market import Candle, Pair
from app.repositories.base import Repository, insert_of

# Any midnight will do: every interval divides a day.
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
_DAY_OF_MINUTES = 1440
_PRICES = ARRAY(Numeric(38, 18))


class CandleRepository(Repository[Candle]):
    """One-minute candles; longer ones are made of them when asked for."""

    model = Candle

    async def merge(self, bars: Sequence[Bar]) -> None:
        """Add one-minute bars to their candles; a bar whose ticks the candle has seen already changes nothing."""
        insert = insert_of(Candle, [asdict(bar) for bar in bars])
        new = insert.excluded
        await self.session.execute(
            insert.on_conflict_do_update(
                index_elements=[Candle.pair_id, Candle.opened_at],
                set_={
                    "high": func.greatest(Candle.high, new.high),
                    "low": func.least(Candle.low, new.low),
                    "close": new.close,
                    "ticks": Candle.ticks + new.ticks,
                    "last_sequence": new.last_sequence,
                },
                where=Candle.last_sequence < new.last_sequence,
            )
        )

    async def last_sequences(self) -> dict[int, int]:
        """The newest tick that each pair's candles hold.

        It is looked for in a day of candles, since the newest candle lacks it where the clock was set back.
        """
        recent = (
            select(Candle.last_sequence)
            .where(Candle.pair_id == Pair.id)
            .order_by(Candle.opened_at.desc())
            .limit(_DAY_OF_MINUTES)
            .lateral()
        )
        query = select(Pair.id, func.max(recent.c.last_sequence)).join(recent, true()).group_by(Pair.id)
        return dict((await self.session.execute(query)).all())

    async def bars(self, pair_id: int, interval: CandleInterval, start: datetime, end: datetime) -> list[Bar]:
        """The pair's candles that open in [start, end), oldest first; intervals without a tick are absent."""
        opened_at = func.date_bin(interval.length, Candle.opened_at, _ORIGIN)
        query = select(
            opened_at,
            func.array_agg(aggregate_order_by(Candle.open, Candle.opened_at), type_=_PRICES)[1],
            func.max(Candle.high),
            func.min(Candle.low),
            func.array_agg(aggregate_order_by(Candle.close, Candle.opened_at.desc()), type_=_PRICES)[1],
            func.sum(Candle.ticks),
            func.max(Candle.last_sequence),
        ).where(Candle.pair_id == pair_id, Candle.opened_at >= start, Candle.opened_at < end)
        rows = await self.session.execute(query.group_by(opened_at).order_by(opened_at))
        return [Bar(pair_id, *row) for row in rows]
