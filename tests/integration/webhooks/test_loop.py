"""The delivery loop by itself: order, turns, its end, and what becomes of what others hold."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.core.outbound_http import OutboundHttp, OutboundLimits
from app.domain.enums import DeliveryStatus
from app.domain.webhooks import Reply
from app.models.event import Event
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.repositories.webhook_delivery_repository import Room
from app.services import webhook_delivery_service
from app.services.event_relay_service import EventRelayService
from app.services.webhook_delivery_service import DeliveryLimits, WebhookDeliveryService
from app.services.webhook_fan_out import fan_out
from app.services.webhook_outcomes import Outcome, record
from app.services.webhook_secrets import WebhookSecrets
from tests.factories import Person
from tests.integration.webhooks.endpoints import change, create_endpoint, deliveries_of, emit
from tests.integration.webhooks.receiver import Receiver
from tests.waiting import until

EVENTS = 40
LEASE = timedelta(seconds=40)
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture
async def http() -> AsyncIterator[OutboundHttp]:
    http = OutboundHttp(OutboundLimits(timeout_seconds=60, allow_local=True))
    yield http
    await http.aclose()


@asynccontextmanager
async def delivering(
    container: Container, http: OutboundHttp, keys: WebhookSecrets, *, per_endpoint: int = 4
) -> AsyncIterator[asyncio.Task[None]]:
    """A loop that delivers during the block, and is told to end at its end."""
    limits = DeliveryLimits(timeout_seconds=60, concurrency=20, per_endpoint=per_endpoint)
    service = WebhookDeliveryService(
        container.uow, http.post, keys, container.broadcast, container.clock, limits, stop_seconds=0.5
    )
    running = asyncio.create_task(service.run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.wait({running})


@pytest.fixture
def relays(container: Container) -> list[EventRelayService]:
    """As many processes would have them."""
    return [EventRelayService(container.uow, container.broadcast, fan_out=[fan_out]) for _ in range(4)]


async def relay_all(relays: list[EventRelayService]) -> None:
    while any(await asyncio.gather(*(relay.relay() for relay in relays))):
        continue


async def test_one_at_a_time_a_users_events_arrive_in_their_order_whoever_relays_them(
    container: Container,
    http: OutboundHttp,
    keys: WebhookSecrets,
    uow: UnitOfWorkFactory,
    user: Person,
    other_user: Person,
    receiver: Receiver,
    relays: list[EventRelayService],
) -> None:
    people = [user, other_user]
    for person in people:
        await create_endpoint(uow, keys, person.id, receiver.url(f"/{person.id}"))
    writing = [emit(uow, person.id, 5) for _ in range(EVENTS // 5) for person in people]
    async with delivering(container, http, keys, per_endpoint=1):
        await asyncio.gather(*writing, *(relay_all(relays) for _ in range(3)))
        await relay_all(relays)
        await until(lambda: len(receiver.received) == EVENTS * len(people), seconds=60)
    for person in people:
        arrived = [request.sequence for request in receiver.at(f"/{person.id}")]
        assert arrived == list(range(1, EVENTS + 1))


async def test_what_is_asked_for_while_it_is_relayed_past_an_endpoint_is_sent(
    container: Container, keys: WebhookSecrets, uow: UnitOfWorkFactory, user: Person
) -> None:
    """The relay has seen the endpoint switched off; it is switched on, and all is asked for, before the relay ends."""
    endpoint = await create_endpoint(uow, keys, user.id, "http://127.0.0.1:9/", is_active=False)
    await emit(uow, user.id, 1)

    async def ask(_work: UnitOfWork, _events: Sequence[Event]) -> None:
        await container.webhooks.change(user.id, endpoint.id, {"is_active": True})
        await container.webhooks.resend_since(user.id, endpoint.id, EPOCH, include_delivered=False)

    assert await EventRelayService(uow, container.broadcast, fan_out=[fan_out, ask]).relay()
    (row,) = await deliveries_of(uow, endpoint.id)
    assert row["status"] == DeliveryStatus.PENDING


async def test_an_endpoint_whose_row_is_held_keeps_nobody_waiting(
    container: Container,
    http: OutboundHttp,
    keys: WebhookSecrets,
    uow: UnitOfWorkFactory,
    user: Person,
    other_user: Person,
    receiver: Receiver,
    relays: list[EventRelayService],
) -> None:
    held = await create_endpoint(uow, keys, user.id, receiver.url("/held"))
    free = await create_endpoint(uow, keys, other_user.id, receiver.url("/free"))

    async def is_delivered(webhook_id: int, count: int) -> bool:
        rows = await deliveries_of(uow, webhook_id)
        return [row["status"] for row in rows] == [DeliveryStatus.DELIVERED] * count

    receiver.hang("/held")
    async with delivering(container, http, keys):
        await emit(uow, user.id)
        await relay_all(relays)
        await until(lambda: receiver.at("/held"))
        async with uow() as work:
            await work.webhooks.owned(user.id, held.id, for_update=True)
            # What comes of it finds the row held, however fast it is.
            receiver.released.set()
            for count in (1, 2):
                await emit(uow, other_user.id)
                await relay_all(relays)
                await until(partial(is_delivered, free.id, count), seconds=20)
            assert not await is_delivered(held.id, 1)
        await until(partial(is_delivered, held.id, 1))
    assert len(receiver.at("/held")) == 1


async def test_what_ends_together_is_recorded_together_and_waits_for_nobody_that_hangs(
    container: Container,
    http: OutboundHttp,
    keys: WebhookSecrets,
    uow: UnitOfWorkFactory,
    user: Person,
    other_user: Person,
    receiver: Receiver,
    relays: list[EventRelayService],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches: list[int] = []

    async def counted(work: UnitOfWork, outcomes: Sequence[Outcome]) -> None:
        batches.append(len(outcomes))
        await record(work, outcomes)

    monkeypatch.setattr(webhook_delivery_service, "record", counted)
    receiver.hang("/stuck")
    stuck = await create_endpoint(uow, keys, other_user.id, receiver.url("/stuck"))
    await emit(uow, other_user.id)
    made = [await create_endpoint(uow, keys, user.id, receiver.url(f"/{n}")) for n in range(8)]
    await emit(uow, user.id, EVENTS)

    async def are_delivered() -> bool:
        rows = [row for endpoint in made for row in await deliveries_of(uow, endpoint.id)]
        return len(rows) == EVENTS * len(made) and all(row["status"] == DeliveryStatus.DELIVERED for row in rows)

    await relay_all(relays)
    async with delivering(container, http, keys):
        await until(are_delivered, seconds=60)
        (row,) = await deliveries_of(uow, stuck.id)
        assert row["lease_until"] is not None
        receiver.released.set()
    assert sum(batches) > EVENTS * len(made)
    assert len(batches) < sum(batches) / 2


async def test_when_it_ends_what_is_under_way_is_finished(
    container: Container,
    http: OutboundHttp,
    keys: WebhookSecrets,
    uow: UnitOfWorkFactory,
    user: Person,
    receiver: Receiver,
    relays: list[EventRelayService],
) -> None:
    receiver.hang()
    endpoint = await create_endpoint(uow, keys, user.id, receiver.url())
    await emit(uow, user.id)
    async with delivering(container, http, keys) as running:
        await relay_all(relays)
        await until(lambda: receiver.received)
        running.cancel()
        receiver.released.set()
    (row,) = await deliveries_of(uow, endpoint.id)
    assert (row["status"], row["lease_until"]) == (DeliveryStatus.DELIVERED, None)


async def test_what_takes_longer_is_let_go_for_others_to_send_at_once(
    container: Container,
    http: OutboundHttp,
    keys: WebhookSecrets,
    uow: UnitOfWorkFactory,
    user: Person,
    receiver: Receiver,
    relays: list[EventRelayService],
) -> None:
    receiver.hang()
    endpoint = await create_endpoint(uow, keys, user.id, receiver.url())
    await emit(uow, user.id)
    async with delivering(container, http, keys):
        await relay_all(relays)
        await until(lambda: receiver.received)
    (row,) = await deliveries_of(uow, endpoint.id)
    assert (row["status"], row["lease_until"], row["attempts"]) == (DeliveryStatus.PENDING, None, 1)

    receiver.released.set()
    async with delivering(container, http, keys):
        await until(lambda: len(receiver.received) == 2)
    first, second = receiver.received
    assert (first.event_id, first.body) == (second.event_id, second.body)


async def test_what_was_claimed_and_not_begun_when_it_ends_is_let_go(
    container: Container,
    keys: WebhookSecrets,
    uow: UnitOfWorkFactory,
    user: Person,
    relays: list[EventRelayService],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook_delivery_service, "BEGUN_AT_ONCE", 1)
    await change(uow, "UPDATE webhook_configurations SET is_active = false")
    made = [await create_endpoint(uow, keys, user.id, f"http://127.0.0.1:9/{n}") for n in range(5)]
    await emit(uow, user.id, 4)
    await relay_all(relays)
    sent: list[str] = []

    async def post(url: str, _body: bytes, _headers: Mapping[str, str]) -> Reply:
        if not sent:
            running.cancel()
        sent.append(url)
        await asyncio.Event().wait()
        return Reply()

    limits = DeliveryLimits(timeout_seconds=60, concurrency=20, per_endpoint=4)
    service = WebhookDeliveryService(
        container.uow, post, keys, container.broadcast, container.clock, limits, stop_seconds=0.2
    )
    running = asyncio.create_task(service.run())
    await asyncio.wait({running})
    rows = [row for endpoint in made for row in await deliveries_of(uow, endpoint.id)]
    assert len(rows) == 20
    assert {(row["status"], row["lease_until"], row["attempts"]) for row in rows} == {(DeliveryStatus.PENDING, None, 1)}
    assert 1 <= len(sent) < len(rows)
    await change(uow, "UPDATE webhook_configurations SET is_active = false")


async def test_what_cannot_be_recorded_is_let_go_too(
    container: Container,
    http: OutboundHttp,
    keys: WebhookSecrets,
    uow: UnitOfWorkFactory,
    user: Person,
    receiver: Receiver,
    relays: list[EventRelayService],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(*_: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr(webhook_delivery_service, "record", broken)
    endpoint = await create_endpoint(uow, keys, user.id, receiver.url())
    await emit(uow, user.id)
    async with delivering(container, http, keys) as running:
        await relay_all(relays)
        await until(running.done)
    assert isinstance(running.exception(), ArithmeticError)
    (row,) = await deliveries_of(uow, endpoint.id)
    assert (row["status"], row["lease_until"], row["attempts"]) == (DeliveryStatus.PENDING, None, 1)


async def test_an_answer_that_comes_after_the_lease_has_gone_to_another_changes_nothing(
    container: Container,
    http: OutboundHttp,
    keys: WebhookSecrets,
    uow: UnitOfWorkFactory,
    user: Person,
    receiver: Receiver,
    relays: list[EventRelayService],
) -> None:
    receiver.hang()
    endpoint = await create_endpoint(uow, keys, user.id, receiver.url())
    await emit(uow, user.id, 1)
    async with delivering(container, http, keys):
        await relay_all(relays)
        await until(lambda: receiver.received)
        taken = "UPDATE webhook_deliveries SET attempts = attempts + 1, claimed_by = 'another'"
        await change(uow, f"{taken} WHERE webhook_config_id = :id", id=endpoint.id)
        receiver.released.set()
        quick = await create_endpoint(uow, keys, user.id, receiver.url("/quick"))
        await emit(uow, user.id, 1)
        await relay_all(relays)

        async def is_delivered() -> bool:
            rows = await deliveries_of(uow, quick.id)
            return [row["status"] for row in rows] == [DeliveryStatus.DELIVERED]

        await until(is_delivered)
    row = (await deliveries_of(uow, endpoint.id))[0]
    assert (row["status"], row["claimed_by"]) == (DeliveryStatus.PENDING, "another")
    assert row["lease_until"] is not None


async def test_endpoints_take_turns_where_there_is_room_for_few(
    uow: UnitOfWorkFactory, keys: WebhookSecrets, user: Person, container: Container, relays: list[EventRelayService]
) -> None:
    made = [await create_endpoint(uow, keys, user.id, f"http://127.0.0.1:9/{n}") for n in range(4)]
    await emit(uow, user.id, 2)
    await relay_all(relays)
    served: list[int] = []
    while len(served) < 8:
        room = Room(2, served[-1] if served else 0)
        async with uow() as work:
            rows = await work.deliveries.claim("me", LEASE, well=room, failing=Room(0), per_endpoint=1)
            served += [row.endpoint.id for row in rows]
            await work.deliveries.let_go("me")
    assert served == [endpoint.id for endpoint in made] * 2
