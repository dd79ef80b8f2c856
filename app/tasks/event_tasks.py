"""Jobs of the event log."""

from app.bootstrap import Container
from app.services.event_relay_service import BATCH


async def relay_events(container: Container) -> None:
    """Hand on the events that nobody has handed on yet."""
    while await container.relay.relay() == BATCH:
        continue
