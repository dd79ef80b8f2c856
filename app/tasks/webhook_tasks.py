"""Jobs of webhooks."""

from datetime import timedelta

from app.bootstrap import Container
from app.services.webhook_fan_out import WEBHOOKS_TOPIC

PURGED_AT_ONCE = 1000


async def deliver(container: Container) -> None:
    """Wake the loops that deliver; what is due, and when again, stands in rows."""
    async with container.uow() as work:
        work.hint(WEBHOOKS_TOPIC, b"")


async def purge(container: Container) -> None:
    """Forget deliveries that are older than WEBHOOK_HISTORY_DAYS, with the attempts at them."""
    older_than = timedelta(days=container.settings.webhook_history_days)
    gone = PURGED_AT_ONCE
    # Some of the oldest may be held for a moment: fewer than were asked for does not mean that these were all.
    while gone:
        async with container.uow() as work:
            gone = await work.deliveries.purge(older_than, PURGED_AT_ONCE)
