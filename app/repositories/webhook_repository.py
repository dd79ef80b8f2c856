"""Webhook endpoints: whose they are, which want an event, how they do."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, func, select, update

from app.models.user import User
from app.models.webhook import WebhookConfiguration
from app.repositories.base import Repository
from app.repositories.webhook_statements import HEALTH, HELD, WRITE_HEALTH


@dataclass(slots=True)
class EndpointHealth:
    """How a locked endpoint does, by the database's clock `now`; what is changed here, `write_health` writes."""

    id: int
    user_id: int
    url: str
    is_active: bool
    retry_count: int
    failing_since: datetime | None
    paused_until: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    last_delivery_at: datetime | None
    now: datetime


class WebhookRepository(Repository[WebhookConfiguration]):
    """Endpoints of users."""

    model = WebhookConfiguration

    async def owned(self, user_id: int, webhook_id: int, *, for_update: bool = False) -> WebhookConfiguration | None:
        """A user's endpoint, locked on request; None for another's."""
        query = select(WebhookConfiguration).where(
            WebhookConfiguration.id == webhook_id, WebhookConfiguration.user_id == user_id
        )
        if for_update:
            query = query.with_for_update(key_share=True)
        return await self.session.scalar(query, execution_options={"populate_existing": True})

    async def of_user(self, user_id: int) -> Sequence[WebhookConfiguration]:
        """A user's endpoints, oldest first."""
        query = select(WebhookConfiguration).where(WebhookConfiguration.user_id == user_id)
        return await self.all_of(query.order_by(WebhookConfiguration.id))

    async def count_locked(self, user_id: int) -> int:
        """How many endpoints a user has; nobody else can add one until the end of the transaction."""
        await self.session.scalar(select(User.id).where(User.id == user_id).with_for_update(key_share=True))
        count = select(func.count()).select_from(WebhookConfiguration).where(WebhookConfiguration.user_id == user_id)
        return await self.session.scalar(count) or 0

    async def active_of(self, user_ids: Collection[int]) -> Sequence[WebhookConfiguration]:
        """The active endpoints of some users; none of them can be deleted until the end of the transaction."""
        query = select(WebhookConfiguration).where(
            WebhookConfiguration.user_id.in_(user_ids), WebhookConfiguration.is_active
        )
        return await self.all_of(query.order_by(WebhookConfiguration.id).with_for_update(read=True, key_share=True))

    async def health(self, ids: Collection[int]) -> dict[int, EndpointHealth]:
        """How endpoints do, by id, locked in ascending order; who writes their deliveries does not wait."""
        rows = await self.session.execute(HEALTH, {"ids": list(ids)})
        return {row[0]: EndpointHealth(*row) for row in rows}

    async def held(self, ids: Collection[int]) -> Sequence[int]:
        """Those of the endpoints that other transactions have locked; the others are locked."""
        return (await self.session.scalars(HELD, {"ids": list(ids)})).all()

    async def write_health(self, endpoints: Collection[EndpointHealth]) -> None:
        """Write how locked endpoints do now; any number by one statement."""
        if endpoints:
            columns = {name: [getattr(row, name) for row in endpoints] for name in _WRITTEN}
            await self.session.execute(WRITE_HEALTH, columns)

    async def set(self, row: WebhookConfiguration, **values: object) -> None:
        """Change an endpoint that this transaction has locked, or made."""
        for name, value in values.items():
            setattr(row, name, value)
        await self.session.flush()

    async def end_pause(self, webhook_id: int) -> bool:
        """End the pause of an endpoint that failed too often; whether there was one. Its failures still count."""
        paused = update(WebhookConfiguration).where(
            WebhookConfiguration.id == webhook_id, WebhookConfiguration.paused_until.is_not(None)
        )
        result = await self.session.execute(paused.values(paused_until=None), execution_options=_NO_SYNC)
        return cast(CursorResult[Any], result).rowcount == 1

    async def paused_until(self, webhook_id: int) -> datetime | None:
        """Until when an endpoint is left alone; None where it is not."""
        query = select(WebhookConfiguration.paused_until).where(WebhookConfiguration.id == webhook_id)
        instant: datetime | None = await self.session.scalar(query)
        return instant

    async def remove(self, row: WebhookConfiguration) -> None:
        """Delete an endpoint with its deliveries."""
        await self.session.delete(row)

    async def now(self) -> datetime:
        """The database's clock, which all of an endpoint's times are by."""
        instant: datetime = (await self.session.scalars(select(func.clock_timestamp()))).one()
        return instant


_NO_SYNC = {"synchronize_session": False}
_WRITTEN = [each.name for each in fields(EndpointHealth) if each.name not in {"user_id", "url", "now"}]
