"""Works off what ticks did: claims exits and books matches in batches, so that none that is stuck keeps others back."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import batched
from operator import attrgetter

from loguru import logger

from app.core.database import DatabaseError, is_locked, is_passing
from app.core.faults import buggify
from app.domain.errors import InvalidTransition
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.claim_service import ClaimOutcome, ClaimService, Crossed
from app.services.execution_service import ExecutionService
from app.services.pair_watch import PairWatch, Unsettled
from app.services.providers.base import Match, MatchingVenue
from app.services.trigger_queue import TriggerQueue

BATCH = 100
FAR = Decimal("Infinity")
# What a row that contradicts itself, or a defect of ours, raises.
MISTAKES = (InvalidTransition, LookupError, ValueError)


class TriggerWork:
    """The queue, and who empties it.

    `has_latched`: some exit may be latched on its row. An exit that is queued at a version is not queued again.
    """

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        matching: MatchingVenue,
        claims: ClaimService,
        execution: ExecutionService,
        batch: int,
    ) -> None:
        self._uow = uow
        self._matching = matching
        self._claims = claims
        self._execution = execution
        self._batch = batch
        self._in_flight: dict[int, int] = {}
        self.queue = TriggerQueue()
        self.has_latched = True
        self.put_off = 0

    def forget(self) -> None:
        """Drop everything, and hold the feed back; what was not committed is found again from the checkpoint."""
        self._in_flight.clear()
        self.queue.close()
        self.has_latched = True

    def push(self, watch: PairWatch, crossed: Sequence[Crossed]) -> None:
        """Queue exits that a tick fired."""
        for item in crossed:
            self._in_flight[item.crossing.order_id] = item.crossing.version
            self.queue.push(watch, item.crossing.sequence, item)

    def is_queued(self, order_id: int, version: int) -> bool:
        """Whether an exit waits here to be claimed as it stands."""
        return self._in_flight.get(order_id) == version

    async def work_off(self) -> int:
        """Commit what waits at the front of the queue; how many items were settled.

        One whose rows another process holds waits behind all others. Where the database fails, all wait.
        """
        left = list(self.queue.take())
        settled = self.put_off = 0
        try:
            left = await self._by_urgency(left)
            for batch in list(batched(left, self._batch)):
                done = await self._settle_batch(batch)
                left = left[len(batch) :]
                self.queue.settle(done)
                self.queue.defer(sorted(set(batch) - done, key=attrgetter("sequence")))
                settled += len(done)
                self.put_off += len(batch) - len(done)
        except Exception as error:
            if not is_passing(error):
                raise
            logger.warning("{n} trigger(s) wait for the database", n=len(left))
        finally:
            self.queue.put_back(left)
            self.put_off += len(left)
        return settled

    async def _by_urgency(self, run: list[Unsettled]) -> list[Unsettled]:
        """Of many crossings, the nearest to their liquidation first; those of one trade stay in the order of ticks."""
        prices = {
            item.subject.crossing.order_id: item.subject.crossing.price
            for item in run
            if isinstance(item.subject, Crossed)
        }
        if len(prices) <= self._batch:
            return run
        async with self._uow() as work:
            levels = await work.positions.liquidation_prices(list(prices))
        distances: dict[int, Decimal] = {}
        for order_id, price in prices.items():
            trade_id, level = levels.get(order_id, (0, None))
            # The first crossing of a trade places all of them.
            distances.setdefault(trade_id, abs(price - level) / price if level else FAR)

        def distance(item: Unsettled) -> Decimal:
            order_id = item.subject.crossing.order_id if isinstance(item.subject, Crossed) else 0
            return distances.get(levels.get(order_id, (0, None))[0], FAR)

        # Sorting is stable.
        return sorted(run, key=distance)

    async def _settle_batch(self, batch: Sequence[Unsettled]) -> set[Unsettled]:
        """Commit one batch of one kind; those that are settled now. Where one of them spoils it, each alone."""
        try:
            return await self._settle_together(batch)
        except (*MISTAKES, DatabaseError) as error:
            if is_passing(error) and not is_locked(error):
                raise
        done: set[Unsettled] = set()
        for item in batch:
            try:
                done |= await self._settle_together([item])
            except (*MISTAKES, DatabaseError) as error:
                if is_locked(error):
                    continue
                if is_passing(error):
                    raise
                await self._give_up(item, error)
                done.add(item)
        return done

    async def _settle_together(self, batch: Sequence[Unsettled]) -> set[Unsettled]:
        crossed, matches = _crossed(batch), _matches(batch)
        if crossed:
            return await self._claim(crossed)
        await self._matching.book(matches)
        return set(batch)

    async def _give_up(self, item: Unsettled, error: Exception) -> None:
        """What cannot be committed is for a person, is tried again now and then, and keeps no other from it."""
        logger.opt(exception=error).error("What tick {tick} did cannot be committed", tick=item.sequence)
        if isinstance(item.subject, Crossed):
            self._in_flight.pop(item.subject.crossing.order_id, None)
            await self._claims.put_off(item.subject)
            self.has_latched = True

    async def _claim(self, crossed: dict[Unsettled, Crossed]) -> set[Unsettled]:
        await buggify("claim.begun")
        claims = {claim.order_id: claim for claim in await self._claims.claim(list(crossed.values()))}
        if await buggify("claim.committed"):
            await self._claims.claim(list(crossed.values()))
        done = {
            item
            for item, subject in crossed.items()
            if claims[subject.crossing.order_id].outcome is not ClaimOutcome.BUSY
        }
        for item in done:
            self._in_flight.pop(crossed[item].crossing.order_id, None)
        self.has_latched = self.has_latched or any(claim.outcome is ClaimOutcome.LATCHED for claim in claims.values())
        intent_ids = [claim.intent_id for claim in claims.values() if claim.intent_id is not None]
        if intent_ids:
            # Beside the queue, so that a slow venue holds up no further claim.
            self._execution.start(intent_ids)
        return done


def _crossed(batch: Sequence[Unsettled]) -> dict[Unsettled, Crossed]:
    return {item: item.subject for item in batch if isinstance(item.subject, Crossed)}


def _matches(batch: Sequence[Unsettled]) -> list[Match]:
    return [item.subject for item in batch if not isinstance(item.subject, Crossed)]
