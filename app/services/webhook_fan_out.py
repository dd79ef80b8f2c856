"""From the log to endpoints: each event becomes a delivery for every endpoint of its user that wants it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from loguru import logger

from app.core.json import decode, decode_floats, rfc3339
from app.domain.events import EventType
from app.domain.webhooks import BodyTooLarge, matches, payload_of
from app.models.event import Event
from app.models.webhook import WebhookConfiguration
from app.repositories.unit_of_work import UnitOfWork
from app.repositories.webhook_delivery_repository import NewDelivery

# Told by whoever makes deliveries due.
WEBHOOKS_TOPIC = "webhooks"


async def fan_out(work: UnitOfWork, events: Sequence[Event]) -> None:
    """Write the deliveries of events, in their order, and wake the loops that deliver."""
    by_user: dict[int, list[WebhookConfiguration]] = defaultdict(list)
    for endpoint in await work.webhooks.active_of({event.user_id for event in events}):
        by_user[endpoint.user_id].append(endpoint)
    new = [delivery for event in events for delivery in deliveries_of(event, by_user.get(event.user_id, []))]
    if new:
        await work.deliveries.schedule(new)
        work.hint(WEBHOOKS_TOPIC, b"")


def deliveries_of(event: Event, endpoints: Sequence[WebhookConfiguration]) -> Iterator[NewDelivery]:
    """The deliveries of an event for those endpoints that want it, all with the same text."""
    wanting = [endpoint for endpoint in endpoints if wants(endpoint, event)]
    if not wanting:
        return
    try:
        payload = payload_of(event.type, rfc3339(event.created_at), decode_floats(event.data), event.sequence)
    except BodyTooLarge as error:
        # The log has it, and every other reader gets it: what comes after it must not wait for a mend.
        logger.error("Event {event} is too large for a webhook: {error}", event=event.id, error=str(error))
        return
    for endpoint in wanting:
        yield NewDelivery(endpoint.id, event.id, event.type, payload)


def wants(endpoint: WebhookConfiguration, event: Event) -> bool:
    """Whether an endpoint is to get an event: by its filters, but for a test, which is for one endpoint."""
    if event.type == EventType.WEBHOOK_TEST:
        return bool(decode(event.data).get("webhook_id") == endpoint.id)
    return matches(endpoint.event_types, event.type)
