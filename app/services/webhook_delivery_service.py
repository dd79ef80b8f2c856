"""The loop that delivers webhooks: claims what is due, sends it, writes down what came of it."""

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice

from loguru import logger

from app.core.broadcast import Broadcast
from app.core.clock import Clock
from app.core.database import DatabaseError, is_passing
from app.core.faults import buggify
from app.core.security import DecryptionFailed
from app.domain.webhooks import Failure, Message, Reply, failing_room, free_slots
from app.models.webhook import WebhookConfiguration
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.repositories.webhook_delivery_repository import DueDelivery
from app.services.webhook_fan_out import WEBHOOKS_TOPIC
from app.services.webhook_outcomes import Outcome, record
from app.services.webhook_secrets import WebhookSecrets

BATCH = 100
SWEEP_SECONDS = 1.0
# While every slot is taken: then attempts become slow, and give theirs up, without a word.
FULL_SECONDS = 0.25
# What a lease outlasts the longest attempt by: the time to record it in.
LEASE_MARGIN = timedelta(seconds=30)
# Shorter than a loop is given to end.
STOP_SECONDS = 5.0
REST_SECONDS = 1.0

type Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """How long an attempt may take, how many there may be at a time, and how many of those at one endpoint."""

    timeout_seconds: float
    concurrency: int
    per_endpoint: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A delivery that was claimed, until its outcome is recorded."""

    delivery: DueDelivery
    endpoint: WebhookConfiguration
    is_failing: bool
    begun: float

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from every other: the delivery, and the claim that it was made under."""
        return self.delivery.id, self.delivery.attempts


class WebhookDeliveryService:
    """Any number may run, in any processes: a delivery is sent under a lease, which the database keeps.

    Where one dies, its leases end and others send again, under the same ids: a delivery comes at least once.
    """

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        post: Post,
        keys: WebhookSecrets,
        broadcast: Broadcast,
        clock: Clock,
        limits: DeliveryLimits,
        *,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._uow = uow
        self._post = post
        self._keys = keys
        self._broadcast = broadcast
        self._clock = clock
        self._limits = limits
        self._stop_seconds = stop_seconds
        self._lease = timedelta(seconds=limits.timeout_seconds) + LEASE_MARGIN
        self._holder = secrets.token_hex(8)
        self._under_way: dict[tuple[int, int], Attempt] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._outcomes: deque[Outcome] = deque()
        self._is_wanted = asyncio.Event()
        self._has_outcomes = asyncio.Event()
        # The endpoint that was served last, of those that do well and of those that fail.
        self._last = {False: 0, True: 0}

    async def run(self) -> None:
        """Deliver until cancelled; then what is under way is finished, or given up for others to send at once."""
        await self._keys.get_ready()
        unsubscribe = self._broadcast.subscribe(WEBHOOKS_TOPIC, lambda _: self._is_wanted.set())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_claiming())
                group.create_task(self._keep_recording())
        finally:
            unsubscribe()
            await self._wind_up()

    async def _keep_claiming(self) -> None:
        while True:
            self._is_wanted.clear()
            if await self._passing(self._claim()):
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS if self._free_slots() > 0 else FULL_SECONDS):
                    await self._is_wanted.wait()

    async def _keep_recording(self) -> None:
        while True:
            await self._has_outcomes.wait()
            self._has_outcomes.clear()
            while self._outcomes:
                await self._passing(self._record())

    async def _passing(self, work: Awaitable[int]) -> int:
        """The count that some work with the database comes to; 0, after a rest, while there is no database."""
        try:
            return await work
        except (DatabaseError, OSError) as error:
            if not is_passing(error):
                raise
            logger.warning("Webhooks wait for the database: {error}", error=type(error).__name__)
            await asyncio.sleep(REST_SECONDS)
            return 0

    def _free_slots(self) -> int:
        now = self._clock.monotonic()
        return free_slots((now - attempt.begun for attempt in self._under_way.values()), self._limits.concurrency)

    async def _claim(self) -> int:
        """Claim what there is room for, and begin to send it; how many."""
        free = self._free_slots()
        failing = sum(attempt.is_failing for attempt in self._under_way.values())
        rooms = {False: free, True: failing_room(failing, free, self._limits.concurrency)}
        async with self._uow() as work:
            claimed = {
                is_failing: await work.deliveries.claim(
                    self._holder,
                    min(room, BATCH),
                    self._lease,
                    failing=is_failing,
                    per_endpoint=self._limits.per_endpoint,
                    after=self._last[is_failing],
                )
                for is_failing, room in rooms.items()
            }
            ids = {delivery.webhook_config_id for deliveries in claimed.values() for delivery in deliveries}
            endpoints = await work.webhooks.named(ids) if ids else {}
        begun = self._clock.monotonic()
        attempts = [
            Attempt(delivery, endpoints[delivery.webhook_config_id], is_failing, begun)
            for is_failing, deliveries in claimed.items()
            for delivery in deliveries
        ]
        self._under_way |= {attempt.key: attempt for attempt in attempts}
        for is_failing, deliveries in claimed.items():
            self._last[is_failing] = _last_served(self._last[is_failing], deliveries)
        if attempts:
            await buggify("webhook.claimed")
        for attempt in attempts:
            self._begin(attempt)
        return len(attempts)

    def _begin(self, attempt: Attempt) -> None:
        task = asyncio.create_task(self._send(attempt))
        self._sending.add(task)
        task.add_done_callback(partial(self._end, attempt))

    def _end(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its slot is free again; its lease ends by itself.
            del self._under_way[attempt.key]
            logger.opt(exception=error).error("Webhook delivery {id} could not be sent", id=attempt.delivery.id)

    async def _send(self, attempt: Attempt) -> None:
        """Send once, whatever comes of it, and leave the outcome to be recorded."""
        delivery, endpoint, now = attempt.delivery, attempt.endpoint, self._clock.now()
        headers: Mapping[str, str] = {}
        begun = self._clock.monotonic()
        try:
            message = Message(
                event_id=delivery.event_id,
                delivery_id=delivery.id,
                event_type=delivery.event_type,
                body=delivery.payload.encode(),
                attempt=delivery.attempts,
                timestamp=int(now.timestamp()),
                secrets=self._keys.signing(endpoint, now),
            )
        except DecryptionFailed:
            reply = Reply(failure=Failure.UNREADABLE)
        else:
            headers = message.headers()
            reply = await self._post(endpoint.url, message.body, headers)
        await buggify("webhook.answered")
        duration_ms = round((self._clock.monotonic() - begun) * 1000)
        outcome = Outcome(delivery.id, endpoint.id, delivery.attempts, endpoint.url, headers, reply, duration_ms)
        self._outcomes.append(outcome)
        self._has_outcomes.set()

    async def _record(self) -> int:
        """Write down the oldest outcomes; how many. They are kept until that has committed."""
        batch = list(islice(self._outcomes, BATCH))
        async with self._uow() as work:
            await record(work, batch)
        for outcome in batch:
            self._outcomes.popleft()
            self._under_way.pop((outcome.delivery_id, outcome.number), None)
        self._is_wanted.set()
        await buggify("webhook.recorded")
        return len(batch)

    async def _wind_up(self) -> None:
        """Give what is under way a moment to end, record it, and let go of the rest."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=self._stop_seconds)
        for task in tuple(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        try:
            while self._outcomes:
                await self._record()
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """Leave what is still under way to others, who send it at once."""
        left = [delivery_id for delivery_id, _ in self._under_way]
        self._under_way.clear()
        if left:
            async with self._uow() as work:
                await work.deliveries.let_go(self._holder, left)
                work.hint(WEBHOOKS_TOPIC, b"")


def _last_served(last: int, deliveries: Sequence[DueDelivery]) -> int:
    """The endpoint that a claim ended with which began after `last`."""
    served = (delivery.webhook_config_id for delivery in deliveries)
    return max(served, key=lambda webhook_id: (webhook_id <= last, webhook_id), default=last)
