"""Broadcasts between processes through Redis: two broadcasts with clients of their own stand for two processes."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.core.broadcast import MemoryBroadcast
from app.core.clock import SystemClock
from app.core.metrics import BROADCASTS_DROPPED
from app.core.redis_broadcast import MOST_WAITING, RedisBroadcast
from app.core.redis_clients import RedisClients, redis_clients
from app.domain.channels import RESYNC_TOPIC, SESSION_REVOKED_TOPIC, is_for_gateways, price_topic, user_topic
from tests.redis_server import RedisServer, once_only, redis_server
from tests.waiting import until

pytestmark = once_only

TOPIC = user_topic(7)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


class Process:
    """What one process says, hears, and is told of gaps."""

    def __init__(self, clients: RedisClients) -> None:
        self.local, self.others = MemoryBroadcast(), MemoryBroadcast()
        self.broadcast = RedisBroadcast(
            clients, self.local, self.others, SystemClock(), carried=is_for_gateways, prefix="ours:"
        )
        self.heard: list[bytes] = []
        self.gaps = 0
        self.local.subscribe(RESYNC_TOPIC, self._count_gap)

    def _count_gap(self, _: bytes) -> None:
        self.gaps += 1


@pytest_asyncio.fixture
async def raw(server: RedisServer) -> AsyncIterator[Redis]:
    clients = redis_clients(server.url)
    yield clients.cache
    await clients.aclose()


@pytest_asyncio.fixture
async def processes(server: RedisServer) -> AsyncIterator[tuple[Process, Process]]:
    clients = [redis_clients(server.url) for _ in range(2)]
    started = [Process(each) for each in clients]
    loops = [asyncio.create_task(process.broadcast.run()) for process in started]
    yield started[0], started[1]
    for loop in loops:
        loop.cancel()
    await asyncio.wait(loops)
    for each in clients:
        await each.aclose()


async def subscribers(raw: Redis, topic: str) -> int:
    counted = await raw.pubsub_numsub(f"ours:{topic}")
    return int(counted[0][1])


async def listen(process: Process, raw: Redis) -> None:
    before = await subscribers(raw, TOPIC)
    process.broadcast.subscribe(TOPIC, process.heard.append)

    async def is_subscribed() -> bool:
        return await subscribers(raw, TOPIC) == before + 1

    await until(is_subscribed)


async def test_the_others_hear_whole_messages_once_and_in_order(processes: tuple[Process, Process], raw: Redis) -> None:
    first, second = processes
    for process in processes:
        await listen(process, raw)
    # Longer than a NOTIFY could be, and no text.
    said = [bytes([number % 256]) * 9000 for number in range(1500)]
    for message in said:
        first.broadcast.publish(TOPIC, message)

    await until(lambda: len(second.heard) == 1500)
    assert first.heard == second.heard == said


async def test_what_is_not_for_gateways_goes_the_other_way(processes: tuple[Process, Process], raw: Redis) -> None:
    first, second = processes
    await listen(second, raw)
    told: list[bytes] = []
    first.others.subscribe("exits.changed", told.append)

    first.broadcast.publish("exits.changed", b"1")
    first.broadcast.publish(TOPIC, b"2")

    await until(lambda: bool(second.heard))
    assert (told, second.heard) == ([b"1"], [b"2"])
    assert not first.broadcast.has_subscribers(price_topic(1))
    assert first.broadcast.has_subscribers(SESSION_REVOKED_TOPIC)


async def test_redis_sends_what_somebody_here_still_wants(processes: tuple[Process, Process], raw: Redis) -> None:
    first = processes[0]
    await listen(first, raw)
    leave = first.broadcast.subscribe(TOPIC, lambda _: None)
    leave()
    leave()
    assert await subscribers(raw, TOPIC) == 1

    once = first.broadcast.subscribe(user_topic(8), lambda _: None)
    await until(lambda: subscribers(raw, user_topic(8)))
    once()

    async def is_left() -> bool:
        return await subscribers(raw, user_topic(8)) == 0

    await until(is_left)
    assert await subscribers(raw, TOPIC) == 1


async def test_a_subscription_that_is_confirmed_tells_of_a_gap_before_it(
    processes: tuple[Process, Process], raw: Redis
) -> None:
    first = processes[0]
    await until(lambda: first.gaps)
    before = first.gaps
    await listen(first, raw)
    await until(lambda: first.gaps == before + 1)


async def test_after_a_restart_of_redis_it_listens_again_and_tells_of_the_gap(
    server: RedisServer, processes: tuple[Process, Process], raw: Redis
) -> None:
    first, second = processes
    await listen(second, raw)
    await until(lambda: second.gaps >= 2)
    before = second.gaps
    server.kill()
    dropped = BROADCASTS_DROPPED._value.get()
    first.broadcast.publish(TOPIC, b"while it was away")
    await until(lambda: BROADCASTS_DROPPED._value.get() > dropped)
    server.start()

    await until(lambda: second.gaps > before)
    await until(lambda: subscribers(raw, TOPIC))

    async def hears() -> bool:
        first.broadcast.publish(TOPIC, b"again")
        return b"again" in second.heard

    await until(hears)
    assert b"while it was away" not in second.heard


async def test_a_connection_that_is_cut_is_made_anew(processes: tuple[Process, Process], raw: Redis) -> None:
    first, second = processes
    await listen(second, raw)
    await until(lambda: second.gaps >= 2)
    before = second.gaps
    await raw.client_kill_filter(_type="pubsub")

    await until(lambda: second.gaps > before)

    async def is_subscribed() -> bool:
        return await subscribers(raw, TOPIC) == 1

    await until(is_subscribed)
    first.broadcast.publish(TOPIC, b"again")
    await until(lambda: second.heard == [b"again"])


async def test_what_waits_for_redis_is_bounded(server: RedisServer) -> None:
    clients = redis_clients(server.url)
    process = Process(clients)
    process.broadcast.subscribe(TOPIC, process.heard.append)
    before = BROADCASTS_DROPPED._value.get()

    # Nothing is sent: the loop does not run.
    for _ in range(MOST_WAITING + 5):
        process.broadcast.publish(TOPIC, b"")

    assert BROADCASTS_DROPPED._value.get() == before + 5
    assert len(process.heard) == MOST_WAITING + 5
    await clients.aclose()
