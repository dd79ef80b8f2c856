"""Writes one-minute candles a second behind the ticks."""

import asyncio
from collections.abc import Awaitable, Callable

from loguru import logger

from app.domain.candles import fold
from app.domain.prices import Tick
from app.repositories.unit_of_work import UnitOfWorkFactory

FLUSH_SECONDS = 1.0
# Ticks that wait while the database is away; beyond these the oldest are left out of the candles.
MOST_WAITING = 500_000


class CandleWriter:
    """Collects ticks and folds them into candles; a tick that a candle holds already is never counted again."""

    def __init__(self, uow: UnitOfWorkFactory, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._uow = uow
        self._sleep = sleep
        self._waiting: list[Tick] = []
        self._written: dict[int, int] | None = None

    def on_tick(self, tick: Tick) -> None:
        """Take a tick; nothing is waited for."""
        self._waiting.append(tick)

    async def run(self) -> None:
        """Flush every second; what is waiting when it is cancelled is written before it ends."""
        try:
            while True:
                await self._sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what has been collected; what cannot be written now waits for the next time."""
        ticks, self._waiting = self._waiting, []
        if not ticks:
            return
        try:
            await self._write(ticks)
        except BaseException:
            # Whether a COMMIT that failed was done is unknown: the candles themselves know.
            self._written = None
            self._waiting = [*ticks, *self._waiting]
            if len(self._waiting) > MOST_WAITING:
                logger.error("candles leave out {count} ticks", count=len(self._waiting) - MOST_WAITING)
                del self._waiting[:-MOST_WAITING]
            raise

    async def _write(self, ticks: list[Tick]) -> None:
        async with self._uow() as work:
            if self._written is None:
                self._written = await work.candles.last_sequences()
            written = self._written
            bars = fold(tick for tick in ticks if tick.sequence > written.get(tick.pair_id, 0))
            if bars:
                await work.candles.merge(bars)
        for bar in bars:
            written[bar.pair_id] = max(written.get(bar.pair_id, 0), bar.last_sequence)
