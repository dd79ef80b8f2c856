"""Looks, from whichever process, whether order engines do their work, and refuses openings where none does."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import timedelta

from loguru import logger

from app.core.clock import Clock
from app.core.metrics import CHECKPOINTS_STANDING, ENGINES_MISSING
from app.domain.errors import Unavailable
from app.domain.leases import HAND_OVER, SeenLease, engine_lease
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.pair_directory import PairDirectory

LOOK_SECONDS = 1.0


class EngineWatch:
    """Each venue's engine holds its lease, and a pair's checkpoint follows the ticks that its candles have seen."""

    def __init__(self, uow: UnitOfWorkFactory, directory: PairDirectory, clock: Clock, venues: Collection[str]) -> None:
        self._uow = uow
        self._directory = directory
        self._clock = clock
        self._leases = [engine_lease(venue) for venue in venues]
        # Of each pair, at the last look: the newest tick of its candles, and that of its checkpoint.
        self._seen: Mapping[int, tuple[int, int]] = {}
        self._left: Mapping[str, timedelta] = {}
        self._looked_at = 0.0

    async def ping(self) -> None:
        """Return while every engine's lease is held by some process; Unavailable otherwise."""
        if missing := await self._missing():
            raise Unavailable(f"No order engine holds {', '.join(sorted(missing))}.")

    def require(self, venue: str) -> None:
        """Raise ENGINE_UNAVAILABLE where nobody would let the exits fire of what is opened at a venue.

        By the last look, without a query: a second old while `follow` runs.
        """
        lease = SeenLease(self._left.get(engine_lease(venue)))
        if not lease.is_watched(timedelta(seconds=self._clock.monotonic() - self._looked_at)):
            raise Unavailable(
                f"No order engine watches {venue}, and exits would not fire: nothing new is opened until one does. "
                "Closes and cancels go on.",
                code="ENGINE_UNAVAILABLE",
                venue=venue,
                retry_after=round(HAND_OVER.total_seconds()),
            )

    async def look(self) -> None:
        """Note how much each engine's lease has left."""
        looked_at = self._clock.monotonic()
        async with self._uow() as work:
            left = await work.engine_state.time_left(self._leases)
        # Together: what is left of a lease means nothing but at the moment that it was looked at.
        self._left, self._looked_at = left, looked_at

    async def follow(self) -> None:
        """Look again and again, where no engine runs in this process."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def check(self) -> None:
        """Log and count engines that are missing, and pairs whose checkpoint stood still while ticks came."""
        missing = await self._missing()
        ENGINES_MISSING.set(len(missing))
        for name in sorted(missing):
            logger.error("No order engine holds {lease}: exits do not fire", lease=name)
        now = await self._read()
        standing = [pair_id for pair_id, told in now.items() if self._stands(pair_id, told)]
        self._seen = now
        CHECKPOINTS_STANDING.set(len(standing))
        for pair_id in standing:
            pair = self._directory.by_id(pair_id)
            logger.error("The order engine stands still at {pair} while prices come", pair=pair.symbol)

    def _stands(self, pair_id: int, now: tuple[int, int]) -> bool:
        before = self._seen.get(pair_id)
        return before is not None and now[0] > before[0] and now[1] == before[1]

    async def _missing(self) -> set[str]:
        async with self._uow() as work:
            return set(self._leases) - await work.engine_state.held_among(self._leases)

    async def _read(self) -> dict[int, tuple[int, int]]:
        pair_ids = [pair.id for pair in self._directory.listed()]
        async with self._uow() as work:
            newest = await work.candles.last_sequences()
            judged = await work.engine_state.checkpoints(pair_ids)
        return {one: (newest[one], judged[one].sequence) for one in pair_ids if one in newest and one in judged}
