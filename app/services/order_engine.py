"""The order engine: judges every tick, claims what it fires, sends the closes, makes what it judged durable.

Its methods are single passes, without loops or waiting, so that a test can take them in any order; the loops are those
of OrderMonitoringService.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import batched

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from app.core.database import is_locked, is_passing
from app.core.faults import buggify
from app.domain.enums import IntentStatus, OrderStatus
from app.domain.errors import InvalidTransition
from app.domain.money import ZERO
from app.domain.prices import Tick
from app.models.trading import Order
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.claim_service import ClaimOutcome, ClaimService, Crossed, latched_crossing
from app.services.execution_service import ExecutionService
from app.services.lease_keeper import LeaseKeeper, LeaseLost
from app.services.pair_watch import PairWatch, Unsettled
from app.services.providers.base import EngineBoard, Match, MatchingVenue
from app.services.trigger_queue import TriggerQueue

BATCH = 100
SWEEP_WITHIN = timedelta(seconds=30)
FAR = Decimal("Infinity")
# What a row that contradicts itself, or a defect of ours, raises.
MISTAKES = (InvalidTransition, LookupError, ValueError)


class OrderEngine:
    """The trigger books of one venue's pairs, and the queue of what ticks did to them."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        board: EngineBoard,
        matching: MatchingVenue,
        claims: ClaimService,
        execution: ExecutionService,
        *,
        batch: int = BATCH,
    ) -> None:
        self._uow = uow
        self._board = board
        self._matching = matching
        self._claims = claims
        self._execution = execution
        self._batch = batch
        self._watches: dict[int, PairWatch] = {}
        self._in_flight: dict[int, int] = {}
        self._has_latched = True
        self.queue = TriggerQueue()
        self.failed = asyncio.Event()
        matching.on_late_match(self._queue_matches)

    @property
    def is_idle(self) -> bool:
        """Whether nothing that ticks did waits for the database or a venue."""
        return self._execution.is_idle and not any(watch.unsettled for watch in self._watches.values())

    def on_tick(self, tick: Tick) -> None:
        """Show a tick to the matching venue, then to the trigger books; queue what it did.

        After a failure here nothing in memory is to be trusted: the engine ends, and loads everything anew.
        """
        watch = self._watches.get(tick.pair_id)
        if watch is None:
            return
        is_judged = False
        try:
            kept = self._board.kept(tick.pair_id, -1) if watch.is_unarmed else ()
            self._queue_matches(self._matching.on_tick(tick))
            self._queue_crossed(watch, watch.on_tick(tick, kept))
            is_judged = True
        finally:
            if not is_judged:
                self.forget()
                self.failed.set()

    def forget(self) -> None:
        """Watch nothing any more, and hold the feed back."""
        self._watches.clear()
        self.queue.close()

    def stop(self) -> None:
        """Another engine watches from now on, or none: what is shown here goes stale with its age."""
        self.forget()
        self._board.vouch_no_longer()

    def stand_by(self) -> None:
        """Let the feed come from its checkpoints on, judged by another engine."""
        self._board.restart()
        self.queue.open()

    async def load(self, pair_ids: Sequence[int]) -> None:
        """Start every pair at its checkpoint with its orders; its feed gives again the ticks that came since."""
        self.forget()
        self._in_flight.clear()
        self.failed.clear()
        self._board.restart()
        async with self._uow() as work:
            checkpoints = await work.engine_state.checkpoints(pair_ids)
            rows = await work.engine_state.watermarks(pair_ids)
            orders = await work.orders.watched(pair_ids)
            limits = await work.pairs.protect_limits(pair_ids)
            # A fill that was committed by the venue and not yet told here is found by asking.
            await work.intents.ask_now(self._matching.name, IntentStatus.RESTING)
        matches = await self._matching.load(pair_ids)
        for pair_id in pair_ids:
            checkpoint = checkpoints.get(pair_id)
            mine = [row for row in rows if row.pair_id == pair_id]
            self._watches[pair_id] = PairWatch(pair_id, checkpoint.sequence if checkpoint else 0, mine, limits[pair_id])
        self._apply(orders)
        self._queue_matches(matches)
        self._has_latched = True
        self.queue.open()
        logger.info("Order engine watches {pairs} pairs, {orders} exits", pairs=len(pair_ids), orders=len(orders))

    async def commit(self) -> int:
        """Commit what waits at the front of the queue; how many items were settled.

        One whose rows another process holds waits behind all others. Where the database fails, all wait.
        """
        left = list(self.queue.take())
        settled = 0
        try:
            left = await self._by_urgency(left)
            for batch in list(batched(left, self._batch)):
                done = await self._commit_batch(batch)
                left = left[len(batch) :]
                self.queue.settle(done)
                self.queue.defer([item for item in batch if item not in done])
                settled += len(done)
        except Exception as error:
            if not is_passing(error):
                raise
            logger.warning("{n} trigger(s) wait for the database", n=len(left))
        finally:
            self.queue.put_back(left)
        return settled

    async def follow(self, order_ids: Sequence[int]) -> None:
        """Take up exits that somebody says have changed."""
        async with self._uow() as work:
            rows = await work.orders.rows(order_ids)
        self._apply(rows)

    async def catch_up(self) -> None:
        """Take up what other processes have traded at the venue."""
        await self._matching.catch_up()

    async def sweep(self) -> None:
        """Take up what hints that were lost told of."""
        await self.catch_up()
        async with self._uow() as work:
            rows = await work.orders.changed_exits(list(self._watches), SWEEP_WITHIN)
        self._apply(rows)

    async def retry_latched(self) -> None:
        """Queue latched exits again, without a new crossing, as soon as their trades are open."""
        if not self._has_latched:
            return
        pair_ids = list(self._watches)
        async with self._uow() as work:
            rows = await work.orders.retryable(pair_ids)
            self._has_latched = bool(rows) or await work.orders.any_latched(pair_ids)
        for order in rows:
            crossed = latched_crossing(order)
            if crossed is not None and self._in_flight.get(order.id) != order.version:
                self._queue_crossed(self._watches[order.pair_id], [crossed])

    async def checkpoint(self, lease: LeaseKeeper, token: int) -> None:
        """Write each pair's newest savable state under the fencing token; LeaseLost where another has taken over.

        The lease itself is asked: who takes over reads the checkpoints after that, and nothing comes in between.
        """
        states = [(watch, state) for watch in self._watches.values() if (state := watch.savable_state()) is not None]
        if not states:
            return
        await buggify("checkpoint.begun")
        async with self._uow() as work:
            await lease.fence(work, token)
            refused = await work.engine_state.save([state for _, state in states], token)
        await buggify("checkpoint.committed")
        if refused:
            raise LeaseLost("checkpoints were written by a newer holder")
        for watch, state in states:
            watch.saved(state)

    def _queue_matches(self, matches: Sequence[Match]) -> None:
        for match in matches:
            watch = self._watches.get(match.pair_id)
            # Where nothing is watched yet, the venue tells of it again when the engine loads.
            if watch is not None:
                self.queue.push(watch, match.sequence, match)

    def _queue_crossed(self, watch: PairWatch, crossed: Sequence[Crossed]) -> None:
        for item in crossed:
            self._in_flight[item.crossing.order_id] = item.crossing.version
            self.queue.push(watch, item.crossing.sequence, item)

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

        def distance(item: Unsettled) -> Decimal:
            if not isinstance(item.subject, Crossed):
                return ZERO
            price, level = item.subject.crossing.price, levels.get(item.subject.crossing.order_id)
            return abs(price - level) / price if level else FAR

        # Sorting is stable.
        return sorted(run, key=distance)

    async def _commit_batch(self, batch: Sequence[Unsettled]) -> set[Unsettled]:
        """Commit one batch of one kind; those that are settled now. Where one of them spoils it, each alone."""
        try:
            return await self._commit_together(batch)
        except (*MISTAKES, SQLAlchemyError) as error:
            if is_passing(error) and not is_locked(error):
                raise
        done: set[Unsettled] = set()
        for item in batch:
            try:
                done |= await self._commit_together([item])
            except (*MISTAKES, SQLAlchemyError) as error:
                if is_locked(error):
                    continue
                if is_passing(error):
                    raise
                await self._give_up(item, error)
                done.add(item)
        return done

    async def _commit_together(self, batch: Sequence[Unsettled]) -> set[Unsettled]:
        crossed = {item: item.subject for item in batch if isinstance(item.subject, Crossed)}
        if crossed:
            return await self._claim(crossed)
        await self._matching.book([item.subject for item in batch if not isinstance(item.subject, Crossed)])
        return set(batch)

    async def _give_up(self, item: Unsettled, error: Exception) -> None:
        """What can never be committed is for a person, and must not keep the others from it."""
        logger.opt(exception=error).error("What tick {tick} did cannot be committed", tick=item.sequence)
        if isinstance(item.subject, Crossed):
            async with self._uow() as work:
                await work.orders.flag_for_review(item.subject.crossing.order_id)

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
        self._has_latched = self._has_latched or any(claim.outcome is ClaimOutcome.LATCHED for claim in claims.values())
        intent_ids = [claim.intent_id for claim in claims.values() if claim.intent_id is not None]
        if intent_ids:
            # Beside the queue, so that a slow venue holds up no further claim.
            self._execution.start(intent_ids)
        return done

    def _apply(self, orders: Sequence[Order]) -> None:
        """Bring the books to what the rows say; what kept ticks fired is queued in the order of those ticks."""
        fired: list[tuple[PairWatch, Crossed]] = []
        for order in orders:
            watch = self._watches.get(order.pair_id)
            if watch is None:
                continue
            if order.status is not OrderStatus.PENDING:
                watch.forget(order.id)
            elif order.latched_sequence is not None:
                watch.forget(order.id)
                self._has_latched = True
            elif self._in_flight.get(order.id) != order.version and not watch.knows(order):
                kept = self._board.kept(order.pair_id, (order.armed_sequence or 0) - 1)
                fired += [(watch, crossed) for crossed in watch.watch(order, kept)]
        for watch, crossed in sorted(fired, key=lambda item: item[1].by_tick):
            self._queue_crossed(watch, [crossed])
