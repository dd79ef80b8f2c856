"""The loop that delivers webhooks: claims what is due, sends it, writes down what came of it."""

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice
from typing import NamedTuple

from loguru import logger

from app.core.broadcast import Broadcast
from app.core.clock import Clock
from app.core.database import DatabaseError, is_passing
from app.core.faults import buggify
from app.core.security import DecryptionFailed
from app.domain.webhooks import Failure, Message, Reply, failing_room, free_slots
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.repositories.webhook_delivery_repository import DueDelivery, Room
from app.services.webhook_fan_out import WEBHOOKS_TOPIC
from app.services.webhook_outcomes import Outcome, are_taken, record
from app.services.webhook_secrets import WebhookSecrets

BATCH = 100
# How many are begun in a row, before whatever else is ready: the database would wait for all of them.
BEGUN_AT_ONCE = 8
SWEEP_SECONDS = 1.0
# While every slot is taken: then attempts become slow, and give theirs up, without a word.
FULL_SECONDS = 0.25
# The longest that an outcome waits for others to be recorded with.
GATHER_SECONDS = 0.01
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


class Attempt(NamedTuple):
    """A delivery under way: claimed at an instant of the clock, and sent."""

    delivery: DueDelivery
    claimed_at: float


class WebhookDeliveryService:
    """Any number may run, in any processes: a delivery is sent under a lease, which the database keeps.

    Where one dies, its leases end and others send again, under the same ids: a delivery comes at least once.
    What came of many attempts is recorded together, just before the claim of what is sent next.
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
        self._claimed: deque[Attempt] = deque()
        self._sending: dict[asyncio.Task[Outcome], Attempt] = {}
        self._outcomes: deque[Outcome] = deque()
        self._is_wanted = asyncio.Event()
        self._is_resting = False
        self._gathering: asyncio.TimerHandle | None = None
        # The endpoint that was served last, of those that do well and of those that fail.
        self._last = {False: 0, True: 0}

    async def run(self) -> None:
        """Deliver until cancelled; then what is under way is finished, or given up for others to send at once."""
        await self._keys.get_ready()
        unsubscribe = self._broadcast.subscribe(WEBHOOKS_TOPIC, lambda _: self._is_wanted.set())
        try:
            while True:
                self._is_wanted.clear()
                if not await self._passing(self._turn()):
                    await self._rest()
        finally:
            unsubscribe()
            await self._wind_up()

    async def _passing(self, work: Awaitable[bool]) -> bool:
        """What some work with the database comes to; False, after a rest, while there is no database."""
        try:
            return await work
        except (DatabaseError, OSError) as error:
            if not is_passing(error):
                raise
            logger.warning("Webhooks wait for the database: {error}", error=type(error).__name__)
            await asyncio.sleep(REST_SECONDS)
            return False

    async def _rest(self) -> None:
        """Wait until there may be something to claim, or enough to record."""
        self._is_resting = True
        self._heed()
        with suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_SECONDS if self._free_slots() > 0 else FULL_SECONDS):
                await self._is_wanted.wait()
        self._is_resting = False
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

    def _heed(self) -> None:
        """End the rest once as many attempts have ended as are under way, or the first of them did a moment ago."""
        if not self._is_resting or not self._outcomes:
            return
        if len(self._outcomes) >= min(len(self._claimed) + len(self._sending), BATCH):
            self._is_wanted.set()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._is_wanted.set)

    def _free_slots(self) -> int:
        now, under_way = self._clock.monotonic(), chain(self._claimed, self._sending.values())
        return free_slots((now - attempt.claimed_at for attempt in under_way), self._limits.concurrency)

    def _rooms(self) -> dict[bool, Room]:
        """What there is room for now, at endpoints that do well and at those that fail.

        What one turn cannot record holds its slot until another has.
        """
        free = self._free_slots() - max(0, len(self._outcomes) - BATCH)
        failing = sum(attempt.delivery.is_failing for attempt in chain(self._claimed, self._sending.values()))
        limits = {False: free, True: failing_room(failing, free, self._limits.concurrency)}
        return {is_failing: Room(min(limit, BATCH), self._last[is_failing]) for is_failing, limit in limits.items()}

    async def _turn(self) -> bool:
        """Record what has ended, claim what there is room for, and begin to send that; whether more may wait.

        What cannot be recorded, or may not have been, is recorded in the next turn. Where both cannot be done
        together, each is done alone, so that neither is lost with the other, and nobody waits for an endpoint whose row
        is held.
        """
        rooms, count = self._rooms(), min(len(self._outcomes), BATCH)
        try:
            async with self._uow() as work:
                if are_taken(islice(self._outcomes, count)):
                    await work.stand_alone()
                await self._record(work, count)
                claimed = await self._claim(work, rooms)
        except DatabaseError as error:
            logger.info("Webhooks: recorded and claimed apart, since {error}", error=type(error).__name__)
            await self._record_what_is_free(count)
            async with self._uow() as work:
                claimed = await self._claim(work, rooms)
        else:
            self._forget(count)
        if count:
            await buggify("webhook.recorded")
        if claimed:
            await buggify("webhook.claimed")
        now = self._clock.monotonic()
        self._claimed.extend(Attempt(delivery, now) for delivery in claimed)
        self._begin_some()
        served = {is_failing: self._serve(claimed, is_failing=is_failing) for is_failing in rooms}
        is_full = any(0 < rooms[is_failing].limit == served[is_failing] for is_failing in rooms)
        # The room of those that have ended meanwhile is claimed when they are recorded.
        return len(self._outcomes) >= BATCH or (is_full and self._free_slots() > len(self._outcomes))

    async def _claim(self, work: UnitOfWork, rooms: Mapping[bool, Room]) -> Sequence[DueDelivery]:
        return await work.deliveries.claim(
            self._holder,
            self._lease,
            well=rooms[False],
            failing=rooms[True],
            per_endpoint=self._limits.per_endpoint,
        )

    async def _record(self, work: UnitOfWork, count: int) -> None:
        """Record the oldest outcomes."""
        if count:
            await record(work, list(islice(self._outcomes, count)))

    async def _record_what_is_free(self, count: int) -> None:
        """Record of the oldest outcomes those whose endpoints nobody holds; the others go to the end."""
        ended = list(islice(self._outcomes, count))
        async with self._uow() as work:
            held = set(await work.webhooks.held({outcome.delivery.endpoint.id for outcome in ended}))
            free = [outcome for outcome in ended if outcome.delivery.endpoint.id not in held]
            if free:
                await record(work, free)
        self._forget(count)
        self._outcomes.extend(outcome for outcome in ended if outcome.delivery.endpoint.id in held)

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._outcomes.popleft()

    def _serve(self, claimed: Sequence[DueDelivery], *, is_failing: bool) -> int:
        """Begin the next turn of endpoints, of those that do well or fail, where this claim ended; how many it took."""
        endpoints = [delivery.endpoint.id for delivery in claimed if delivery.is_failing is is_failing]
        self._last[is_failing] = _last_served(self._last[is_failing], endpoints)
        return len(endpoints)

    def _begin_some(self) -> None:
        """Begin to send what was claimed, a few at once and the others when it is their turn."""
        for _ in range(min(len(self._claimed), BEGUN_AT_ONCE)):
            attempt = self._claimed.popleft()
            task = asyncio.create_task(self._send(attempt.delivery))
            self._sending[task] = attempt
            task.add_done_callback(self._end)
        if self._claimed:
            asyncio.get_running_loop().call_soon(self._begin_some)

    def _end(self, task: asyncio.Task[Outcome]) -> None:
        attempt = self._sending.pop(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            # Its slot is free again; its lease ends by itself.
            delivery_id = attempt.delivery.id
            logger.opt(exception=error).error("Webhook delivery {id} could not be sent", id=delivery_id)
            return
        self._outcomes.append(task.result())
        self._heed()

    async def _send(self, delivery: DueDelivery) -> Outcome:
        """Send once, whatever comes of it."""
        endpoint, now, begun = delivery.endpoint, self._clock.now(), self._clock.monotonic()
        headers: Mapping[str, str] = {}
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
        return Outcome(delivery, headers, reply, duration_ms)

    async def _wind_up(self) -> None:
        """Give what is under way a moment to end, record it, and let go of the rest."""
        self._claimed.clear()
        if self._sending:
            await asyncio.wait(self._sending, timeout=self._stop_seconds)
        for task in tuple(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        try:
            while count := min(len(self._outcomes), BATCH):
                async with self._uow() as work:
                    await self._record(work, count)
                self._forget(count)
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """Leave what was claimed and not recorded to others, who send it at once."""
        async with self._uow() as work:
            if await work.deliveries.let_go(self._holder):
                work.hint(WEBHOOKS_TOPIC, b"")


def _last_served(last: int, endpoints: Sequence[int]) -> int:
    """The endpoint that a claim ended with which began after `last`."""
    return max(endpoints, key=lambda webhook_id: (webhook_id <= last, webhook_id), default=last)
