"""The relay: hands each event of the log on once it has committed, then marks it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from app.core.broadcast import Broadcast
from app.core.faults import buggify
from app.domain.channels import user_topic
from app.models.event import Event
from app.repositories.unit_of_work import EVENTS_TOPIC, UnitOfWork, UnitOfWorkFactory
from app.services.websocket.frames import encode_logged

BATCH = 100
SWEEP_SECONDS = 2.0
# Events come in bursts, such as those of one opening: what comes so soon after a batch is handed on with the next one.
GATHER_SECONDS = 0.02

# Writes the rows by which an event reaches others (webhook deliveries), in the transaction that marks it.
type FanOut = Callable[[UnitOfWork, Sequence[Event]], Awaitable[None]]


class EventRelayService:
    """Woken by whoever wrote events here, and sweeping for those that others wrote.

    Several may run: each takes events that no other holds. A relay that dies after its commit loses only hints,
    which their receivers make good from the log.
    """

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        broadcast: Broadcast,
        *,
        fan_out: Sequence[FanOut] = (),
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._uow = uow
        self._broadcast = broadcast
        self._fan_out = fan_out
        self._sweep_seconds = sweep_seconds

    async def run(self) -> None:
        """Relay until cancelled."""
        is_wanted = asyncio.Event()
        unsubscribe = self._broadcast.subscribe(EVENTS_TOPIC, lambda _: is_wanted.set())
        try:
            while True:
                is_wanted.clear()
                if await self.relay() == BATCH:
                    continue
                await asyncio.sleep(GATHER_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._sweep_seconds):
                        await is_wanted.wait()
        finally:
            unsubscribe()

    async def relay(self) -> int:
        """Hand on one batch, oldest first; how many there were."""
        async with self._uow() as work:
            events = await work.events.claim_unsent(BATCH)
            if not events:
                return 0
            await buggify("relay.read")
            for fan_out in self._fan_out:
                await fan_out(work, events)
            await work.events.mark_sent([event.id for event in events])
            for event in events:
                work.hint(user_topic(event.user_id), encode_logged(event))
        await buggify("relay.told")
        return len(events)
