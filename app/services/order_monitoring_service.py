"""Runs the order engine while this process holds its lease, and stands by while another one does."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from app.core.broadcast import Broadcast
from app.core.json import decode
from app.domain.errors import Unavailable
from app.domain.prices import Tick
from app.services.booking_service import EXITS_TOPIC
from app.services.lease_keeper import LeaseKeeper
from app.services.order_engine import OrderEngine
from app.services.providers.base import VENUE_TOPIC

RETRY_SECONDS = 0.2
SWEEP_SECONDS = 5.0
CHECKPOINT_SECONDS = 0.1
# What others trade is taken up together, so often at most.
CATCH_UP_SECONDS = 0.05
# A row that another process holds for a moment is asked for again so soon.
BUSY_SECONDS = 0.02


class OrderMonitoringService:
    """The loops of one engine over the pairs of one venue; `on_tick` is synchronous."""

    def __init__(self, engine: OrderEngine, lease: LeaseKeeper, broadcast: Broadcast) -> None:
        self._engine = engine
        self._lease = lease
        self._changed: set[int] = set()
        self._reload = asyncio.Event()
        self._traded_elsewhere = asyncio.Event()
        self._is_following = False
        self.is_watching = False
        broadcast.subscribe(EXITS_TOPIC, self._on_exits_changed)
        broadcast.subscribe(VENUE_TOPIC, lambda _: self._traded_elsewhere.set())

    def on_tick(self, tick: Tick) -> None:
        """Judge a tick; what it did is committed behind it."""
        self._engine.on_tick(tick)

    async def ping(self) -> None:
        """Return while this process watches, or another one that it stands by for; Unavailable otherwise."""
        if not (self.is_watching or self._lease.is_standing_by):
            raise Unavailable("The order engine is not watching.")

    @property
    def is_idle(self) -> bool:
        """Whether nothing that ticks or users did waits here for the database or a venue."""
        return self._engine.is_idle and not self._changed

    async def keep_up(self) -> None:
        """Let the feed come while we stand by, or watch with a short backlog: it waits here between ticks."""
        await self._engine.queue.has_room.wait()

    async def run(self, pair_ids: Sequence[int]) -> None:
        """Watch the pairs while the lease is held; from the checkpoint on after every loss."""
        token = await self._lease.take(on_wait=self._engine.stand_by)
        self._changed.clear()
        self._is_following = True
        try:
            await self._engine.load(pair_ids)
            self.is_watching = True
            async with asyncio.TaskGroup() as group:
                group.create_task(self._lease.hold(token))
                group.create_task(self._drain())
                group.create_task(self._follow())
                group.create_task(self._catch_up())
                group.create_task(_every(SWEEP_SECONDS, self._engine.sweep))
                group.create_task(_every(RETRY_SECONDS, self._engine.retry_latched))
                group.create_task(_every(CHECKPOINT_SECONDS, lambda: self._engine.checkpoint(self._lease, token)))
                group.create_task(self._watch_over())
        finally:
            self.is_watching = self._is_following = False
            self._engine.stop()

    async def _watch_over(self) -> None:
        await self._engine.failed.wait()
        raise RuntimeError("a tick could not be judged")

    async def _drain(self) -> None:
        while True:
            await self._engine.queue.filled()
            settled = await self._engine.work_off()
            if self._engine.put_off:
                await asyncio.sleep(BUSY_SECONDS if settled else RETRY_SECONDS)

    def _on_exits_changed(self, message: bytes) -> None:
        if self._is_following:
            self._changed.update(decode(message))
            self._reload.set()

    async def _follow(self) -> None:
        """Take up exits that others wrote, as soon as they tell."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            ids, self._changed = sorted(self._changed), set()
            await self._engine.follow(ids)

    async def _catch_up(self) -> None:
        while True:
            await self._traded_elsewhere.wait()
            self._traded_elsewhere.clear()
            await self._engine.catch_up()
            await asyncio.sleep(CATCH_UP_SECONDS)


async def _every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await step()
