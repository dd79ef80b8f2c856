"""The order engine: judges every tick, claims what it fires, sends the closes, makes what it judged durable.

Its methods are single passes, without loops or waiting, so that a test can take them in any order; the loops are those
of OrderMonitoringService.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from loguru import logger

from app.core.database import DatabaseError, is_locked
from app.core.faults import buggify
from app.domain.enums import IntentStatus, OrderStatus
from app.domain.events import EventType, order_event
from app.domain.prices import Tick
from app.models.trading import Order
from app.repositories.engine_state_repository import EngineState, Saved
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.claim_service import ClaimService, Crossed, latched_crossing
from app.services.execution_service import ExecutionService
from app.services.lease_keeper import LeaseKeeper, LeaseLost
from app.services.pair_watch import PairWatch
from app.services.providers.base import EngineBoard, Match, MatchingVenue
from app.services.trigger_work import BATCH, TriggerWork

# A row is stamped before it is committed: a sweep begins so long before the last one.
SWEEP_OVERLAP = timedelta(seconds=30)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


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
        self._execution = execution
        self._work = TriggerWork(uow, matching, claims, execution, batch)
        self._watches: dict[int, PairWatch] = {}
        self._swept_at = _LONG_AGO
        self.queue = self._work.queue
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
            kept = self._board.kept(tick.pair_id, -1) if watch.is_armed_by(tick) else ()
            self._queue_matches(self._matching.on_tick(tick))
            self._work.push(watch, watch.on_tick(tick, kept))
            is_judged = True
        finally:
            if not is_judged:
                self.forget()
                self.failed.set()

    def forget(self) -> None:
        """Watch nothing any more, and hold the feed back."""
        self._watches.clear()
        self._work.forget()

    def stop(self) -> None:
        """Another engine watches from now on, or none."""
        self.forget()
        self._matching.unload()

    def stand_by(self) -> None:
        """Let the feed come from its checkpoints on, judged by another engine."""
        self._board.restart()
        self.queue.open()

    async def load(self, pair_ids: Sequence[int]) -> None:
        """Start every pair at its checkpoint with its orders; its feed gives again the ticks that came since."""
        self.forget()
        self.failed.clear()
        self._board.restart()
        async with self._uow() as work:
            self._swept_at = await work.intents.now()
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
        self.queue.open()
        logger.info("Order engine watches {pairs} pairs, {orders} exits", pairs=len(pair_ids), orders=len(orders))

    async def work_off(self) -> int:
        """Commit what waits at the front of the queue; how many items were settled."""
        return await self._work.work_off()

    @property
    def put_off(self) -> int:
        """How many items the last pass could not commit."""
        return self._work.put_off

    async def follow(self, order_ids: Sequence[int]) -> None:
        """Take up exits that somebody says have changed."""
        async with self._uow() as work:
            rows = await work.orders.rows(order_ids)
        self._apply(rows)

    async def catch_up(self) -> None:
        """Take up what other processes have traded at the venue."""
        await self._matching.catch_up()

    async def sweep(self) -> None:
        """Take up what hints that were lost told of, however long ago the last sweep was."""
        await self.catch_up()
        async with self._uow() as work:
            now = await work.intents.now()
            rows = await work.orders.changed_exits(list(self._watches), self._swept_at - SWEEP_OVERLAP)
        self._apply(rows)
        self._swept_at = now

    async def retry_latched(self) -> None:
        """Queue latched exits again, without a new crossing, as soon as their trades are open."""
        if not self._work.has_latched:
            return
        pair_ids = list(self._watches)
        # Whoever latches one meanwhile says so after this.
        self._work.has_latched = False
        async with self._uow() as work:
            rows = await work.orders.retryable(pair_ids)
            is_any = bool(rows) or await work.orders.any_latched(pair_ids)
        self._work.has_latched = self._work.has_latched or is_any
        for order in rows:
            if not self._work.is_queued(order.id, order.version):
                self._work.push(self._watches[order.pair_id], _latched(order))

    async def checkpoint(self, lease: LeaseKeeper, token: int) -> None:
        """Write each pair's newest savable state under the fencing token; LeaseLost where another has taken over.

        The lease itself is asked: who takes over reads the checkpoints after that, and nothing comes in between.
        """
        states = [(watch, state) for watch in self._watches.values() if (state := watch.savable_state()) is not None]
        if not states:
            return
        await buggify("checkpoint.begun")
        try:
            saved = await self._save([state for _, state in states], lease, token)
        except DatabaseError as error:
            if not is_locked(error):
                raise
            # What could not be written stays to be written.
            logger.warning("Checkpoints wait for a row that another transaction holds")
            return
        await buggify("checkpoint.committed")
        if saved.refused:
            raise LeaseLost("checkpoints were written by a newer holder")
        for watch, state in states:
            if watch.pair_id in saved.written:
                watch.saved(state)

    async def _save(self, states: Sequence[EngineState], lease: LeaseKeeper, token: int) -> Saved:
        async with self._uow() as work:
            await lease.fence(work, token)
            saved = await work.engine_state.save(states, token)
            for order in await work.orders.rows(saved.activated):
                work.emit(order_event(EventType.ORDER_UPDATED, order, "activated"))
        return saved

    def _queue_matches(self, matches: Sequence[Match]) -> None:
        for match in matches:
            watch = self._watches.get(match.pair_id)
            # Where nothing is watched yet, the venue tells of it again when the engine loads.
            if watch is not None:
                self.queue.push(watch, match.sequence, match)

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
                self._work.has_latched = True
            elif not self._work.is_queued(order.id, order.version) and not watch.knows(order):
                kept = self._board.kept(order.pair_id, (order.armed_sequence or 0) - 1)
                fired += [(watch, crossed) for crossed in watch.watch(order, kept)]
        for watch, crossed in sorted(fired, key=lambda item: item[1].by_tick):
            self._work.push(watch, [crossed])


def _latched(order: Order) -> Sequence[Crossed]:
    crossed = latched_crossing(order)
    return [] if crossed is None else [crossed]
