"""Looks, from whichever process, whether order engines do their work."""

from collections.abc import Collection, Mapping

from loguru import logger

from app.core.metrics import CHECKPOINTS_STANDING, ENGINES_MISSING
from app.domain.errors import Unavailable
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.pair_directory import PairDirectory


class EngineWatch:
    """Each venue's engine holds its lease, and a pair's checkpoint follows the ticks that its candles have seen."""

    def __init__(self, uow: UnitOfWorkFactory, directory: PairDirectory, leases: Collection[str]) -> None:
        self._uow = uow
        self._directory = directory
        self._leases = leases
        # Of each pair, at the last look: the newest tick of its candles, and that of its checkpoint.
        self._seen: Mapping[int, tuple[int, int]] = {}

    async def ping(self) -> None:
        """Return while every engine's lease is held by some process; Unavailable otherwise."""
        if missing := await self._missing():
            raise Unavailable(f"No order engine holds {', '.join(sorted(missing))}.")

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
