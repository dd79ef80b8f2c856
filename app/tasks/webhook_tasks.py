"""Jobs of what is told to others: webhooks and live updates."""

from app.bootstrap import Container
from app.services.event_relay_service import BATCH

WEBHOOKS_TOPIC = "webhooks"


async def deliver(container: Container) -> None:
    """Wake the loops that deliver webhooks; which are due, and which again, stands in their rows."""
    async with container.uow() as work:
        work.hint(WEBHOOKS_TOPIC, b"")


async def relay_events(container: Container) -> None:
    """Hand on the events that nobody has handed on yet."""
    while await container.relay.relay() == BATCH:
        continue
