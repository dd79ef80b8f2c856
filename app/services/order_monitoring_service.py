"""The order engine: judges every tick, claims what it fires, sends the closes, keeps the checkpoint."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from loguru import logger

from app.core.broadcast import Broadcast
from app.core.database import is_retryable, is_unavailable
from app.core.json import decode
from app.domain.enums import IntentStatus, OrderStatus
from app.domain.errors import Unavailable
from app.domain.prices import Tick
from app.models.trading import Order
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.booking_service import EXITS_TOPIC
from app.services.checkpoint_keeper import keep_checkpoints
from app.services.claim_service import ClaimOutcome, ClaimService, Crossed, latched_crossing
from app.services.execution_service import ExecutionService
from app.services.lease_keeper import LeaseKeeper
from app.services.pair_watch import PairWatch, Unsettled
from app.services.providers.base import EngineBoard, Match, MatchingVenue
from app.services.trigger_queue import TriggerQueue

RETRY_SECONDS = 0.2
SWEEP_SECONDS = 5.0
SWEEP_WITHIN = timedelta(seconds=30)


class OrderMonitoringService:
    """One engine over the pairs of one venue. `on_tick` is synchronous; everything else happens behind it."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        board: EngineBoard,
        matching: MatchingVenue,
        claims: ClaimService,
        execution: ExecutionService,
        broadcast: Broadcast,
        lease: LeaseKeeper,
    ) -> None:
        self._uow = uow
        self._board = board
        self._matching = matching
        self._claims = claims
        self._execution = execution
        self._lease = lease
        self._watches: dict[int, PairWatch] = {}
        self._queue = TriggerQueue()
        self._changed: set[int] = set()
        self._reload = asyncio.Event()
        self._in_flight: dict[int, int] = {}
        self._has_latched = True
        self._failed = asyncio.Event()
        self.is_watching = False
        matching.on_late_match(self._queue_matches)
        broadcast.subscribe(EXITS_TOPIC, self._on_exits_changed)

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
                self._watches.clear()
                self._queue.close()
                self._failed.set()

    async def ping(self) -> None:
        """Return while the engine watches; Unavailable otherwise."""
        if not self.is_watching:
            raise Unavailable("The order engine is not watching.")

    @property
    def is_idle(self) -> bool:
        """Whether nothing that ticks or users did waits here for the database or a venue."""
        return self._execution.is_idle and not (len(self._queue) or self._changed)

    async def keep_up(self) -> None:
        """Return once the engine watches and its backlog is short: the feed waits here between ticks."""
        await self._queue.has_room.wait()

    async def run(self, pair_ids: Sequence[int]) -> None:
        """Watch the pairs while the lease is held; from the checkpoint on after every loss."""
        token = await self._lease.take()
        try:
            await self._load(pair_ids)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._lease.hold(token))
                group.create_task(self._drain())
                group.create_task(self._follow_exits())
                group.create_task(self._sweep_exits(pair_ids))
                group.create_task(self._retry_latched(pair_ids))
                group.create_task(keep_checkpoints(self._uow, self._watches, token))
                group.create_task(self._watch_over())
        finally:
            self.is_watching = False
            self._queue.close()
            self._watches.clear()
            self._board.vouch_no_longer()

    async def _watch_over(self) -> None:
        await self._failed.wait()
        raise RuntimeError("a tick could not be judged")

    async def _load(self, pair_ids: Sequence[int]) -> None:
        """Start every pair at its checkpoint with its orders; its feed gives again the ticks that came since."""
        self._queue.close()
        self._in_flight.clear()
        self._failed.clear()
        self._board.restart()
        async with self._uow() as work:
            checkpoints = await work.engine_state.checkpoints(pair_ids)
            rows = await work.engine_state.watermarks(pair_ids)
            orders = await work.orders.watched(pair_ids)
            # A fill that was committed by the venue and not yet told here is found by asking.
            await work.intents.ask_now(self._matching.name, IntentStatus.RESTING)
        matches = await self._matching.load(pair_ids)
        for pair_id in pair_ids:
            checkpoint = checkpoints.get(pair_id)
            mine = [row for row in rows if row.pair_id == pair_id]
            self._watches[pair_id] = PairWatch(pair_id, checkpoint.sequence if checkpoint else 0, mine)
        self._apply(orders)
        self._queue_matches(matches)
        self._has_latched = True
        self.is_watching = True
        self._queue.open()
        logger.info("Order engine watches {pairs} pairs, {orders} exits", pairs=len(pair_ids), orders=len(orders))

    def _queue_matches(self, matches: Sequence[Match]) -> None:
        for match in matches:
            watch = self._watches.get(match.pair_id)
            # Where nothing is watched yet, the venue tells of it again when the engine loads.
            if watch is not None:
                self._queue.push(watch, match.sequence, match)

    def _queue_crossed(self, watch: PairWatch, crossed: Sequence[Crossed]) -> None:
        for item in crossed:
            self._in_flight[item.crossing.order_id] = item.crossing.version
            self._queue.push(watch, item.crossing.sequence, item)

    async def _drain(self) -> None:
        """Commit what ticks did, in the order they did it; nothing leaves the queue before it is committed."""
        while True:
            run = await self._queue.next_run()
            try:
                await self._commit(run)
            except Exception as error:
                if not (is_unavailable(error) or is_retryable(error)):
                    raise
                logger.warning("{n} trigger(s) wait for the database", n=len(self._queue))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._queue.settled(run)

    async def _commit(self, run: Sequence[Unsettled]) -> None:
        crossed = [item.subject for item in run if isinstance(item.subject, Crossed)]
        if crossed:
            await self._claim(crossed)
        else:
            await self._matching.book([item.subject for item in run if not isinstance(item.subject, Crossed)])

    async def _claim(self, crossed: Sequence[Crossed]) -> None:
        claims = await self._claims.claim(crossed)
        for claim in claims:
            self._in_flight.pop(claim.order_id, None)
        self._has_latched = self._has_latched or any(claim.outcome is ClaimOutcome.LATCHED for claim in claims)
        intent_ids = [claim.intent_id for claim in claims if claim.intent_id is not None]
        if intent_ids:
            # Beside the queue, so that a slow venue holds up no further claim.
            self._execution.start(intent_ids)

    def _on_exits_changed(self, message: bytes) -> None:
        self._changed.update(decode(message))
        self._reload.set()

    async def _follow_exits(self) -> None:
        """Take up exits that others wrote, as soon as they tell."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            ids, self._changed = sorted(self._changed), set()
            async with self._uow() as work:
                rows = await work.orders.rows(ids)
            self._apply(rows)

    async def _sweep_exits(self, pair_ids: Sequence[int]) -> None:
        """Take up exits whose hint was lost."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            async with self._uow() as work:
                rows = await work.orders.changed_exits(pair_ids, SWEEP_WITHIN)
            self._apply(rows)

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

    async def _retry_latched(self, pair_ids: Sequence[int]) -> None:
        """Claim latched exits again, without a new crossing, as soon as their trades are open."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if not self._has_latched:
                continue
            async with self._uow() as work:
                rows = await work.orders.retryable(pair_ids)
                self._has_latched = bool(rows) or await work.orders.any_latched(pair_ids)
            for order in rows:
                crossed = latched_crossing(order)
                if crossed is not None and self._in_flight.get(order.id) != order.version:
                    self._queue_crossed(self._watches[order.pair_id], [crossed])
