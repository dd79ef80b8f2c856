"""Endpoints as rows, and events for them, where no route is asked."""

from typing import Any

from sqlalchemy import text

from app.domain.events import Event, EventType
from app.models.webhook import WebhookConfiguration
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.webhook_secrets import WebhookSecrets

SECRET = "a secret of sixteen or more letters".replace(" ", "-")


async def create_endpoint(
    uow: UnitOfWorkFactory, keys: WebhookSecrets, user_id: int, url: str, **values: Any
) -> WebhookConfiguration:
    """An endpoint of a user that wants everything, but for what is given."""
    given = {"event_types": ["*"], "secret": "", **values}
    async with uow() as work:
        endpoint = await work.webhooks.add(WebhookConfiguration(user_id=user_id, url=url, **given))
        await work.webhooks.set(endpoint, **keys.sealed(endpoint.id, SECRET))
    return endpoint


async def emit(uow: UnitOfWorkFactory, user_id: int, times: int = 1, **data: Any) -> None:
    """Write events to a user's log."""
    async with uow() as work:
        work.emit(*(Event(user_id, EventType.TRADE_UPDATED, {"number": n, **data}) for n in range(times)))


async def deliveries_of(uow: UnitOfWorkFactory, webhook_id: int) -> list[dict[str, Any]]:
    """The deliveries of an endpoint as the database has them, oldest first."""
    query = text("SELECT * FROM webhook_deliveries WHERE webhook_config_id = :id ORDER BY id")
    async with uow() as work:
        return [dict(row) for row in (await work.session.execute(query, {"id": webhook_id})).mappings()]


async def change(uow: UnitOfWorkFactory, statement: str, **values: Any) -> None:
    """Change rows as time would."""
    async with uow() as work:
        await work.session.execute(text(statement), values)
