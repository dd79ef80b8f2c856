"""What the owner of webhook endpoints does: makes and changes them, rotates secrets, tests, sends again, verifies."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from loguru import logger

from app.core.clock import Clock
from app.core.security import DecryptionFailed
from app.domain.addresses import UrlRefused, checked_url
from app.domain.enums import DeliveryStatus
from app.domain.errors import Conflict, InvalidRequest, NotFound
from app.domain.events import Event, EventData, EventType
from app.domain.webhook_verification import Verification, verify
from app.domain.webhooks import Failure, matches, types_matching
from app.models.event import Event as LoggedEvent
from app.models.webhook import WebhookConfiguration, WebhookDelivery
from app.repositories.unit_of_work import EVENTS_TOPIC, UnitOfWork, UnitOfWorkFactory
from app.services.webhook_fan_out import WEBHOOKS_TOPIC, deliveries_of, wants
from app.services.webhook_secrets import WebhookSecrets

BATCH = 100
# Events that one request looks at to send them again; it tells where to go on.
MOST_RESENT = 10_000
DELETED_AT_ONCE = 1000

# What keeps a URL's host from being reached, as far as that can be known now.
type Refusal = Callable[[str], Awaitable[Failure | None]]
# Keeps the answer of the request in the transaction that does what it tells of.
type Keep = Callable[[UnitOfWork, WebhookConfiguration], Awaitable[None]]

_NO_PUBLIC_ADDRESS = "The host's name leads to no address of the public internet now; check its spelling."


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """How many endpoints a user may have, and whether they may be on this machine.

    `is_development` is whether that may be set, and so is worth a word to who is refused.
    """

    per_user: int
    allow_local: bool
    is_development: bool


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """What an owner asks for; without a secret one is made."""

    url: str
    event_types: Sequence[str]
    secret: str | None


@dataclass(frozen=True, slots=True)
class Resent:
    """How many deliveries are due again, and since when to ask for the rest; None where that was all."""

    count: int
    next_since: datetime | None


class WebhookService:
    """Endpoints of one owner at a time; another's are not found."""

    def __init__(
        self, uow: UnitOfWorkFactory, refusal: Refusal, keys: WebhookSecrets, clock: Clock, limits: EndpointLimits
    ) -> None:
        self._uow = uow
        self._refusal = refusal
        self._keys = keys
        self._clock = clock
        self._limits = limits

    async def create(self, user_id: int, new: NewEndpoint, keep: Keep) -> tuple[WebhookConfiguration, str]:
        """Make an endpoint; it and its secret, which nobody is told again. LIMIT_EXCEEDED beyond so many."""
        await self._check(new.url)
        await self._keys.get_ready()
        secret = new.secret or self._keys.new()
        async with self._uow() as work:
            count = await work.webhooks.count_locked(user_id)
            if count >= self._limits.per_user:
                raise Conflict(code="LIMIT_EXCEEDED", limit="webhooks", max=self._limits.per_user, current=count)
            endpoint = await work.webhooks.add(
                WebhookConfiguration(user_id=user_id, url=new.url, event_types=list(new.event_types), secret="")
            )
            # Sealed for the row, which has its id only now.
            await work.webhooks.set(endpoint, **self._keys.sealed(endpoint.id, secret))
            await keep(work, endpoint)
        return endpoint, secret

    async def change(self, user_id: int, webhook_id: int, changes: Mapping[str, object]) -> WebhookConfiguration:
        """Change url, event_types or is_active. Another URL, or setting it active, forgets past failures."""
        if "url" in changes:
            async with self._uow() as work:
                await _owned(work, user_id, webhook_id)
            await self._check(str(changes["url"]))
        async with self._uow() as work:
            endpoint = await _owned(work, user_id, webhook_id, for_update=True)
            is_new_start = changes.get("url", endpoint.url) != endpoint.url
            is_new_start |= changes.get("is_active") is True
            await work.webhooks.set(endpoint, **changes, **(_NEW_START if is_new_start else {}))
            work.hint(WEBHOOKS_TOPIC, b"")
        return endpoint

    async def delete(self, user_id: int, webhook_id: int) -> None:
        """Delete an endpoint with its deliveries: switched off at once, then emptied, then gone."""
        await self.change(user_id, webhook_id, {"is_active": False})
        gone = DELETED_AT_ONCE
        while gone == DELETED_AT_ONCE:
            async with self._uow() as work:
                gone = await work.deliveries.delete_of(webhook_id, DELETED_AT_ONCE)
        async with self._uow() as work:
            await work.webhooks.remove(await _owned(work, user_id, webhook_id, for_update=True))

    async def rotate_secret(
        self, user_id: int, webhook_id: int, secret: str | None, overlap: timedelta, keep: Keep
    ) -> tuple[WebhookConfiguration, str]:
        """Give an endpoint another secret; until the overlap is over the one before signs too."""
        await self._keys.get_ready()
        secret = secret or self._keys.new()
        async with self._uow() as work:
            endpoint = await _owned(work, user_id, webhook_id, for_update=True)
            previous = (endpoint.secret, await work.webhooks.now() + overlap) if overlap else (None, None)
            await work.webhooks.set(
                endpoint,
                secret_previous=previous[0],
                previous_until=previous[1],
                **self._keys.sealed(endpoint.id, secret),
            )
            await keep(work, endpoint)
        logger.info("The secret of webhook {webhook} was rotated by user {user}", webhook=webhook_id, user=user_id)
        return endpoint, secret

    async def get_active_webhooks(self, user_id: int, event_type: str) -> Sequence[WebhookConfiguration]:
        """The endpoints of a user that get events of a type."""
        async with self._uow() as work:
            endpoints = await work.webhooks.of_user(user_id)
        return [row for row in endpoints if row.is_active and matches(row.event_types, event_type)]

    async def send_webhook(self, user_id: int, event_type: EventType, event_data: EventData) -> LoggedEvent:
        """Write an event to a user's log; the relay makes a delivery of it for each endpoint that wants it."""
        async with self._uow() as work:
            return await _log(work, Event(user_id, event_type, event_data))

    async def send_test(self, user_id: int, webhook_id: int) -> LoggedEvent:
        """Send a test event to an endpoint, whatever its filters, and to no other; it ends a pause. The event."""
        test = Event(user_id, EventType.WEBHOOK_TEST, {"user_id": user_id, "webhook_id": webhook_id})
        async with self._uow() as work:
            endpoint = await _active(work, user_id, webhook_id)
            due_at = await _turn_after_pause(work, webhook_id)
            logged = await _log(work, test)
            if due_at is not None:
                await work.deliveries.schedule(list(deliveries_of(logged, [endpoint])), due_at)
                work.hint(WEBHOOKS_TOPIC, b"")
        return logged

    async def resend(self, user_id: int, webhook_id: int, delivery_id: int) -> WebhookDelivery:
        """Make a delivery due again, under its ids, which ends a pause; one that is being sent is left alone."""
        async with self._uow() as work:
            await _active(work, user_id, webhook_id)
            due_at = await _turn_after_pause(work, webhook_id)
            delivery = await work.deliveries.owned(user_id, delivery_id, for_update=True)
            if delivery is None or delivery.webhook_config_id != webhook_id:
                raise NotFound(delivery_id=delivery_id)
            await work.deliveries.repeat([delivery], due_at)
            work.hint(WEBHOOKS_TOPIC, b"")
        return delivery

    async def resend_since(self, user_id: int, webhook_id: int, since: datetime, *, include_delivered: bool) -> Resent:
        """Make everything that an endpoint wants of the log since an instant due again, in order; it ends a pause.

        What was delivered is left out unless it is asked for; what was never meant for it, as it was off, is in. What
        happened before there was this endpoint is none of its events.
        """
        count = looked_at = 0
        async with self._uow() as work:
            created_at = (await _active(work, user_id, webhook_id)).created_at
            after = await work.events.last_before(user_id, max(since, created_at))
        while looked_at < MOST_RESENT:
            async with self._uow() as work:
                endpoint = await _active(work, user_id, webhook_id)
                if not looked_at:
                    await work.webhooks.end_pause(webhook_id)
                types = types_matching(endpoint.event_types)
                events = await work.events.after(user_id, after, limit=BATCH, types=types)
                count += await _resend_events(work, endpoint, events, include_delivered=include_delivered)
                work.hint(WEBHOOKS_TOPIC, b"")
            if len(events) < BATCH:
                return Resent(count, None)
            looked_at += len(events)
            after = events[-1].sequence
        return Resent(count, events[-1].created_at)

    async def verify(
        self, user_id: int, webhook_id: int | None, secret: str | None, headers: Mapping[str, str], body: str
    ) -> Verification:
        """Check what a receiver got, by an endpoint's own secrets or by one that is given."""
        now = self._clock.now()
        if secret is not None:
            return verify(headers, body, [secret], now.timestamp())
        async with self._uow() as work:
            endpoint = await _owned(work, user_id, webhook_id or 0)
        await self._keys.get_ready()
        try:
            signing = self._keys.signing(endpoint, now)
        except DecryptionFailed:
            raise Conflict("The secret of this endpoint cannot be read any more: rotate it.") from None
        return verify(headers, body, signing, now.timestamp())

    async def _check(self, url: str) -> None:
        """WEBHOOK_URL_REFUSED for a URL that no endpoint may have."""
        try:
            checked_url(url, allow_local=self._limits.allow_local)
        except UrlRefused as refused:
            hint = _LOCAL_HINT if self._limits.is_development and _is_local(url) else ""
            raise InvalidRequest(f"{refused}.{hint}", code="WEBHOOK_URL_REFUSED") from None
        refusal = await self._refusal(url)
        if refusal is not None:
            logger.info("The webhook URL {url} is refused: {reason}", url=url, reason=refusal.value)
            raise InvalidRequest(_NO_PUBLIC_ADDRESS, code="WEBHOOK_URL_REFUSED", reason=refusal.told)


_LOCAL_HINT = " While you develop, the setting WEBHOOK_ALLOW_LOCAL=true allows endpoints on this machine."


def _is_local(url: str) -> bool:
    """Whether a URL that was refused would be taken where endpoints may be on this machine."""
    try:
        checked_url(url, allow_local=True)
    except UrlRefused:
        return False
    return True


_NEW_START: Mapping[str, object] = {
    "retry_count": 0,
    "failing_since": None,
    "paused_until": None,
    "disabled_at": None,
    "disabled_reason": None,
}


async def _owned(work: UnitOfWork, user_id: int, webhook_id: int, *, for_update: bool = False) -> WebhookConfiguration:
    endpoint = await work.webhooks.owned(user_id, webhook_id, for_update=for_update)
    if endpoint is None:
        raise NotFound(webhook_id=webhook_id)
    return endpoint


async def _active(work: UnitOfWork, user_id: int, webhook_id: int) -> WebhookConfiguration:
    """An endpoint that gets events, and cannot be deleted until the end of the transaction."""
    for endpoint in await work.webhooks.active_of([user_id]):
        if endpoint.id == webhook_id:
            return endpoint
    await _owned(work, user_id, webhook_id)
    raise Conflict("This endpoint is switched off; set is_active to true first.", webhook_id=webhook_id)


async def _log(work: UnitOfWork, event: Event) -> LoggedEvent:
    # Written before the commit does it, so that it can be read: the user's counter is locked until then.
    await work.events.append([event])
    before = await work.events.last_sequence(event.user_id) - 1
    (logged,) = await work.events.after(event.user_id, before, limit=1)
    work.hint(EVENTS_TOPIC, b"")
    return logged


async def _turn_after_pause(work: UnitOfWork, webhook_id: int) -> datetime | None:
    """End the pause of an endpoint; when what was asked for is due. None where it was not paused.

    It goes before what waits, any of which may fail and begin the next pause.
    """
    if not await work.webhooks.end_pause(webhook_id):
        return None
    return await work.deliveries.first_turn(webhook_id)


async def _resend_events(
    work: UnitOfWork, endpoint: WebhookConfiguration, events: Sequence[LoggedEvent], *, include_delivered: bool
) -> int:
    # Also what the relay has not reached: it may have looked when the endpoint was off. Whoever is second writes none.
    wanted = {event.id: event for event in events if wants(endpoint, event)}
    present = await work.deliveries.locked_for_events(endpoint.id, wanted)
    again = [row for row in present if include_delivered or row.status is not DeliveryStatus.DELIVERED]
    for row in present:
        del wanted[row.event_id]
    missing = [new for event in wanted.values() for new in deliveries_of(event, [endpoint])]
    await work.deliveries.schedule(missing)
    return len(missing) + await work.deliveries.repeat(again)
