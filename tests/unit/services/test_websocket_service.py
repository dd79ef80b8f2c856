"""The hub and its streams, without sockets."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from app.bootstrap import Container
from app.core.broadcast import MemoryBroadcast
from app.core.cache import Cache, MemoryCache
from app.domain.channels import SESSION_REVOKED_TOPIC, Channel, live_topic, price_topic, user_topic
from app.domain.errors import Conflict, NotFound, RateLimited
from app.domain.events import Event, EventType
from app.models.market import Pair
from app.services.websocket.connections import Connection, Identity, Wish
from app.services.websocket.event_streams import EventStreams
from app.services.websocket.frames import FrameFactory, LoggedEvent, encode_logged
from app.services.websocket.outbox import Outbox
from app.services.websocket.presence import LIFE_SECONDS, place_key
from app.services.websocket.price_streams import PairStream
from app.services.websocket.snapshots import ChannelSnapshots, Snapshot, TradeFilter
from app.services.websocket.turns import Turns
from app.services.websocket_service import OLD, WebSocketLimits, WebSocketManager
from tests.factories import Person, create_person
from tests.fakes import ManualClock
from tests.unit.services.test_websocket_outbox import drained
from tests.waiting import until

TRADES = Wish(Channel.TRADES)


class ScriptedSnapshots(ChannelSnapshots):
    """Snapshots that are ready when a test says so, as of the sequence that it says."""

    def __init__(self, container: Container, frames: FrameFactory) -> None:
        super().__init__(container.uow, frames, container.clock)
        self.asked: list[asyncio.Future[int]] = []

    async def read(self, user_id: int, channel: Channel, trade_ids: TradeFilter, since: int | None) -> Snapshot:
        self.asked.append(asyncio.get_running_loop().create_future())
        return Snapshot(await self.asked[-1], [])


@pytest.fixture
async def person(container: Container) -> Person:
    return await create_person(container)


@pytest.fixture
def frames(container: Container) -> FrameFactory:
    return FrameFactory(container.board, container.clock)


def hub_of(
    container: Container, frames: FrameFactory, limits: WebSocketLimits | None = None, cache: Cache | None = None
) -> WebSocketManager:
    async def find_pair(_text: str, _is_sandbox: bool) -> Pair:
        raise NotFound

    return WebSocketManager(
        uow=container.uow,
        broadcast=container.broadcast,
        cache=cache or MemoryCache(container.clock),
        clock=container.clock,
        frames=frames,
        find_pair=find_pair,
        price_frames=lambda _: b'{"price":1}',
        limits=limits,
    )


def identity(user_id: int, session_id: UUID | None = None) -> Identity:
    return Identity(user_id, session_id or uuid4(), datetime.now(UTC) + timedelta(hours=1))


def told(connection: Connection) -> list[int]:
    """The sequences of the log that wait to be sent."""
    sent = [json.loads(frame + "}") for frame in drained(connection.outbox)]
    return [frame["sequence"] for frame in sent if "sequence" in frame]


@pytest.mark.parametrize("is_settled", [True, False])
async def test_a_snapshot_older_than_where_others_began_misses_nothing(
    container: Container, frames: FrameFactory, person: Person, is_settled: bool
) -> None:
    """Clients subscribe at once, and those whose snapshots are older come later, some while the log is being read."""
    async with container.uow() as work:
        for number in range(6):
            work.emit(Event(person.id, EventType.TRADE_UPDATED, {"number": number}))
    snapshots = ScriptedSnapshots(container, frames)
    streams = EventStreams(container.uow, MemoryBroadcast(), frames, snapshots)
    hub = hub_of(container, frames)
    clients = [await hub.connect("test", identity(person.id)) for _ in range(4)]
    asking = [asyncio.create_task(streams.subscribe(person.id, client, TRADES)) for client in clients]
    await until(lambda: len(snapshots.asked) == 4)
    for client, sequence in ((0, 5), (1, 2), (2, 4), (3, 1)):
        snapshots.asked[client].set_result(sequence)
        await asking[client]
        await streams.find_missed()
        if is_settled:
            await streams.settle()
    await streams.settle()
    assert [told(client) for client in clients] == [[6], [3, 4, 5, 6], [5, 6], [2, 3, 4, 5, 6]]


async def test_a_subscription_that_fails_leaves_all_as_it_was(
    container: Container, frames: FrameFactory, person: Person
) -> None:
    snapshots = ScriptedSnapshots(container, frames)
    streams = EventStreams(container.uow, MemoryBroadcast(), frames, snapshots)
    connection = await hub_of(container, frames).connect("test", identity(person.id))
    failing = asyncio.create_task(streams.subscribe(person.id, connection, TRADES))
    await until(lambda: snapshots.asked)
    snapshots.asked[0].set_exception(ConnectionError())
    with pytest.raises(ConnectionError):
        await failing
    assert connection.subscriptions == {}
    assert streams.users_on(Channel.TRADES) == []


async def test_a_second_subscription_that_fails_loses_nothing_of_the_first(
    container: Container, frames: FrameFactory, person: Person
) -> None:
    broadcast, snapshots = MemoryBroadcast(), ScriptedSnapshots(container, frames)
    streams = EventStreams(container.uow, broadcast, frames, snapshots)
    connection = await hub_of(container, frames).connect("test", identity(person.id))
    first, second = (asyncio.create_task(streams.subscribe(person.id, connection, TRADES)) for _ in range(2))
    await until(lambda: len(snapshots.asked) == 2)
    snapshots.asked[0].set_result(0)
    await first
    event = LoggedEvent(1, 1, "trade.updated", "{}", datetime.now(UTC))
    broadcast.publish(user_topic(person.id), encode_logged(event))
    assert told(connection) == []
    snapshots.asked[1].set_exception(ConnectionError())
    with pytest.raises(ConnectionError):
        await second
    broadcast.publish(user_topic(person.id), encode_logged(replace(event, sequence=2)))
    assert told(connection) == [1, 2]


async def test_limits_hold_for_users_and_for_addresses_and_are_given_back(
    container: Container, frames: FrameFactory
) -> None:
    hub = hub_of(container, frames, WebSocketLimits(connections_per_user=2, unknown_per_address=1))
    mine = [await hub.connect("here", identity(1)) for _ in range(2)]
    with pytest.raises(Conflict):
        await hub.connect("here", identity(1))
    stranger = await hub.connect("here")
    with pytest.raises(RateLimited):
        await hub.connect("here")
    await hub.connect("there")
    with pytest.raises(Conflict):
        await hub.identify(stranger, identity(1))
    await hub.identify(stranger, identity(2))
    await hub.connect("here")
    await hub.disconnect(mine[0])
    await hub.disconnect(mine[0])
    await hub.connect("here", identity(1))
    with pytest.raises(Conflict):
        await hub.connect("here", identity(1))


async def test_pairs_are_counted_together_and_listened_to_only_while_wanted(
    container: Container, frames: FrameFactory
) -> None:
    hub = hub_of(container, frames, WebSocketLimits(pairs=2))
    connection = await hub.connect("here", identity(1))
    await hub.subscribe(connection, Wish(Channel.PRICES, pairs={901: "A", 902: "B"}))
    with pytest.raises(Conflict):
        await hub.subscribe(connection, Wish(Channel.PRICES, pairs={902: "B", 903: "C"}))
    assert container.broadcast.has_subscribers(price_topic(901))
    hub.unsubscribe(connection, Wish(Channel.PRICES, pairs={901: "A"}))
    assert not container.broadcast.has_subscribers(price_topic(901))
    drained(connection.outbox)
    container.broadcast.publish(price_topic(902), b'{"price":2}')
    assert drained(connection.outbox) == ['{"price":2']
    await hub.disconnect(connection)
    assert not container.broadcast.has_subscribers(price_topic(902))


async def test_frames_of_other_processes_reach_those_who_are_subscribed(
    container: Container, frames: FrameFactory, person: Person
) -> None:
    hub = hub_of(container, frames)
    shown, other = [await hub.connect("here", identity(person.id)) for _ in range(2)]
    await hub.subscribe(shown, Wish(Channel.POSITIONS))
    await hub.subscribe(other, Wish(Channel.TRADES))
    for connection in (shown, other):
        drained(connection.outbox)
    for stop in (1, 2):
        container.broadcast.publish(live_topic(person.id), b'positions:7\n{"stop":%d}' % stop)
    assert drained(shown.outbox) == ['{"stop":2']
    assert drained(other.outbox) == []


async def test_who_takes_nothing_is_told_and_then_dropped(container: Container, frames: FrameFactory) -> None:
    hub = hub_of(container, frames, WebSocketLimits(stall_seconds=5, slow_grace_seconds=10))
    stuck, healthy = [await hub.connect("here", identity(1)) for _ in range(2)]
    dropped: list[str] = []
    for name, connection in (("stuck", stuck), ("healthy", healthy)):
        connection.on_drop = lambda name=name: dropped.append(name)
    stuck.sending_since = 100.0
    hub.close_stalled(104.0)
    assert stuck.outbox.closing is None
    hub.close_stalled(106.0)
    assert stuck.outbox.closing is not None
    assert (stuck.outbox.closing.code, dropped) == (4430, [])
    hub.close_stalled(116.0)
    assert dropped == ["stuck"]
    assert healthy.outbox.closing is None


async def test_an_ended_session_ends_its_connections_only(container: Container, frames: FrameFactory) -> None:
    hub = hub_of(container, frames)
    session_id = uuid4()
    ended = [await hub.connect("here", identity(1, session_id)) for _ in range(2)]
    kept = [await hub.connect("here", identity(1)), await hub.connect("here")]
    container.broadcast.publish(SESSION_REVOKED_TOPIC, str(session_id).encode())
    assert [each.outbox.closing.code if each.outbox.closing else None for each in ended] == [4401, 4401]
    assert [each.outbox.closing for each in kept] == [None, None]


async def test_a_user_has_so_many_places_over_all_processes(container: Container, frames: FrameFactory) -> None:
    cache, limits = MemoryCache(container.clock), WebSocketLimits(connections_per_user=2)
    one, other = (hub_of(container, frames, limits, cache) for _ in range(2))
    first = await one.connect("here", identity(7))
    await other.connect("there", identity(7))
    with pytest.raises(Conflict):
        await other.connect("there", identity(7))
    await one.connect("here", identity(8))
    await one.disconnect(first)
    assert (await other.connect("there", identity(7))).identity is not None


async def test_places_of_a_process_that_was_killed_are_free_again(frames: FrameFactory, container: Container) -> None:
    clock, limits = ManualClock(), WebSocketLimits(connections_per_user=1)
    cache = MemoryCache(clock)
    killed, living = (hub_of(container, frames, limits, cache) for _ in range(2))
    await killed.connect("here", identity(7))
    clock.advance(LIFE_SECONDS - 1)
    await killed.presence.renew()
    clock.advance(LIFE_SECONDS - 1)
    with pytest.raises(Conflict):
        await living.connect("there", identity(7))
    clock.advance(2)
    await living.connect("there", identity(7))


async def test_who_lost_its_place_to_another_does_not_take_it_back(frames: FrameFactory, container: Container) -> None:
    clock, limits = ManualClock(), WebSocketLimits(connections_per_user=1)
    cache = MemoryCache(clock)
    paused, living = (hub_of(container, frames, limits, cache) for _ in range(2))
    await paused.connect("here", identity(7))
    clock.advance(LIFE_SECONDS + 1)
    second = await living.connect("there", identity(7))
    kept = await cache.get(place_key(7, 0))
    await paused.presence.renew()
    assert await cache.get(place_key(7, 0)) == kept == living.presence.name_of(second).encode()
    await living.disconnect(second)
    await paused.presence.renew()
    assert await cache.get(place_key(7, 0)) not in (None, kept)


async def test_who_has_been_connected_for_the_longest_time_is_told_to_reconnect(
    container: Container, frames: FrameFactory
) -> None:
    hub = hub_of(container, frames, WebSocketLimits(life_seconds=100))
    connection = await hub.connect("here", identity(7))
    hub.close_old(connection.opened_at + 99)
    assert connection.outbox.closing is None
    hub.close_old(connection.opened_at + 101)
    assert connection.outbox.closing == OLD
    assert [json.loads(frame + "}")["type"] for frame in drained(connection.outbox)] == ["reconnect"]


async def test_of_the_prices_within_a_pause_the_last_is_shown_after_it() -> None:
    shown: list[str] = []
    outbox = Outbox(10, 10_000, Turns())
    connection = Connection(1, "here", outbox, max_held=10, opened_at=0.0)
    stream = PairStream("prices:1", pause=0.01)
    stream.connections[1] = connection
    for price in range(5):
        stream.receive(b'{"price":%d}' % price)
        shown += drained(outbox)
    assert shown == ['{"price":0']
    shown += await until(lambda: drained(outbox))
    assert shown == ['{"price":0', '{"price":4']
    stream.stop()
