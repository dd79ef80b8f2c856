"""Carries some topics between all processes through Redis, whole and in order, to those that listen to them."""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis.asyncio.client import PubSub

from app.core.broadcast import Broadcast, Handler
from app.core.clock import Clock
from app.core.metrics import BROADCASTS_DROPPED
from app.core.outage import Outage, Resting
from app.core.redis_clients import REDIS_FAILURES, RedisClients
from app.domain.channels import RESYNC_TOPIC

RECONNECT_SECONDS = 0.5
PING_SECONDS = 5.0
# So many pings without any answer are the end of a connection that nobody has closed.
SILENT_PINGS = 2
BATCH = 500
# What waits while Redis is away: hints are not worth more memory.
MOST_WAITING = 10_000
SENDER_BYTES = 8


class RedisBroadcast:
    """A broadcast of this process whose topics that are `carried` reach the other processes by Redis.

    The other topics go the way of `others`. Subscriptions are counted, so that Redis sends what somebody here wants.
    Whenever Redis confirms one, messages may have been missed before: RESYNC_TOPIC tells it here.
    """

    def __init__(
        self,
        clients: RedisClients,
        local: Broadcast,
        others: Broadcast,
        clock: Clock,
        *,
        carried: Callable[[str], bool],
        prefix: str = "",
    ) -> None:
        self._clients = clients
        self._local = local
        self._others = others
        self._carried = carried
        self._prefix = prefix
        self._outage = Outage(
            "Redis (live updates)", clock, "other processes' updates are found by sweeps, later", REDIS_FAILURES
        )
        self._sender = secrets.token_hex(SENDER_BYTES // 2).encode()
        self._wanted: Counter[str] = Counter()
        self._asked: set[str] = set()
        # Topics whose first subscriber has come or whose last has gone since Redis was told.
        self._touched: set[str] = set()
        self._is_touched = asyncio.Event()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._is_filled = asyncio.Event()

    def publish(self, topic: str, message: bytes) -> None:
        """Hand a message to every subscriber of the topic here, and soon in the other processes."""
        if not self._carried(topic):
            self._others.publish(topic, message)
            return
        self._local.publish(topic, message)
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((topic, message))
            self._is_filled.set()
        else:
            BROADCASTS_DROPPED.inc()

    def subscribe(self, topic: str, handler: Handler) -> Callable[[], None]:
        """Call `handler` with each message, from wherever it comes, until the returned function is called."""
        leave = self._local.subscribe(topic, handler)
        if not self._carried(topic):
            return leave
        self._count(topic, 1)
        is_subscribed = True

        def unsubscribe() -> None:
            nonlocal is_subscribed
            leave()
            if is_subscribed:
                is_subscribed = False
                self._count(topic, -1)

        return unsubscribe

    def has_subscribers(self, topic: str) -> bool:
        """Whether anybody may be listening, here or elsewhere."""
        return self._carried(topic) or self._others.has_subscribers(topic)

    async def run(self) -> None:
        """Listen and tell until cancelled, over again whenever the connection is lost."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_telling())
            group.create_task(self._keep_listening())

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._clients.once.ping()

    def _count(self, topic: str, step: int) -> None:
        self._wanted[topic] += step
        if not self._wanted[topic]:
            del self._wanted[topic]
        if (topic in self._wanted) != (topic in self._asked):
            self._touched.add(topic)
            self._is_touched.set()

    async def _keep_listening(self) -> None:
        while True:
            try:
                await self._listen_once()
            except* REDIS_FAILURES as errors:
                self._outage.failed(errors.exceptions[0])
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        """Hold one connection until it is lost."""
        self._asked.clear()
        self._touched = set(self._wanted)
        self._is_touched.set()
        async with self._clients.pubsub.pubsub() as pubsub:
            # A connection that subscribes to nothing is not listened to; nobody publishes this one.
            await pubsub.subscribe(self._prefix + RESYNC_TOPIC)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear(pubsub))
                group.create_task(self._keep_asking(pubsub))

    async def _hear(self, pubsub: PubSub) -> None:
        silent = 0
        while True:
            message = await pubsub.get_message(timeout=PING_SECONDS)
            if message is not None:
                silent = 0
                self._outage.succeeded()
                self._take(message)
                continue
            silent += 1
            if silent > SILENT_PINGS:
                raise ConnectionError("Redis has fallen silent")
            await pubsub.ping()

    def _take(self, message: dict[str, Any]) -> None:
        topic = message["channel"].decode().removeprefix(self._prefix) if message["channel"] else ""
        if message["type"] == "subscribe":
            self._local.publish(RESYNC_TOPIC, b"")
        elif message["type"] == "message":
            sender, text = message["data"][:SENDER_BYTES], message["data"][SENDER_BYTES:]
            if sender != self._sender:
                self._local.publish(topic, text)

    async def _keep_asking(self, pubsub: PubSub) -> None:
        """Tell Redis what is wanted here and what no more."""
        while True:
            await self._is_touched.wait()
            self._is_touched.clear()
            touched, self._touched = self._touched, set()
            come = [topic for topic in touched if topic in self._wanted and topic not in self._asked]
            gone = [topic for topic in touched if topic not in self._wanted and topic in self._asked]
            # Noted before it is sent: what changes meanwhile is compared with how it will be.
            self._asked.update(come)
            self._asked.difference_update(gone)
            if come:
                await pubsub.subscribe(*(self._prefix + topic for topic in come))
            if gone:
                await pubsub.unsubscribe(*(self._prefix + topic for topic in gone))

    async def _keep_telling(self) -> None:
        while True:
            await self._is_filled.wait()
            self._is_filled.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                await self._tell(batch)

    async def _tell(self, batch: list[tuple[str, bytes]]) -> None:
        """Send a batch; what cannot be sent is dropped."""
        pipeline = self._clients.once.pipeline(transaction=False)
        for topic, message in batch:
            pipeline.publish(self._prefix + topic, self._sender + message)
        is_told = False
        with suppress(Resting), self._outage.noticed():
            await pipeline.execute()
            is_told = True
        if not is_told:
            BROADCASTS_DROPPED.inc(len(batch))
