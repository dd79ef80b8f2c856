"""Webhook deliveries: written once per endpoint and event, claimed under a lease, purged when old."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from sqlalchemy import BigInteger, CursorResult, DateTime, Integer, String, Text, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import TypeEngine

from app.domain.enums import DeliveryStatus
from app.domain.lifecycle import DELIVERY_MOVES
from app.models.webhook import WebhookAttempt, WebhookConfiguration, WebhookDelivery
from app.repositories.base import LifecycleRepository, values_table
from app.repositories.webhook_statements import CLAIM, SETTLE, SETTLE_TAKEN, UNDER_WAY


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """An event that is to reach an endpoint, as the text that will be sent."""

    webhook_config_id: int
    event_id: int
    event_type: str
    payload: str


class DueEndpoint(NamedTuple):
    """Where a claimed delivery goes, and what signs it, sealed."""

    id: int
    url: str
    secret: str
    secret_previous: str | None
    previous_until: datetime | None


class DueDelivery(NamedTuple):
    """A delivery as it was claimed; `attempts` is the number of the claim, and so its fence."""

    id: int
    event_id: int
    event_type: str
    payload: str
    attempts: int
    attempts_before: int
    is_failing: bool
    endpoint: DueEndpoint


class Room(NamedTuple):
    """How many deliveries may be claimed, and the endpoint after which their turn begins."""

    limit: int
    after: int = 0


class Settled(NamedTuple):
    """What an attempt leaves a delivery with, whose lease ends, and what the attempt was; see WebhookAttempt.

    `number` is that of the claim: it counts only while no other was made. `wait` is for a delivery that stays pending.
    """

    id: int
    number: int
    status: DeliveryStatus
    wait: timedelta | None
    url: str
    request_headers: str
    response_code: int | None
    response_body: str | None
    error: str | None
    duration_ms: int


class WebhookDeliveryRepository(LifecycleRepository[WebhookDelivery, DeliveryStatus]):
    """Deliveries and the attempts at them."""

    model = WebhookDelivery
    moves = DELIVERY_MOVES

    async def first_turn(self, webhook_id: int) -> datetime:
        """An instant by which what is due then is sent before everything else that waits for an endpoint."""
        waiting = (WebhookDelivery.webhook_config_id == webhook_id, WebhookDelivery.status == DeliveryStatus.PENDING)
        before = func.min(WebhookDelivery.next_run_at) - timedelta(microseconds=1)
        instant: datetime = (
            await self.session.scalars(select(func.least(func.clock_timestamp(), before)).where(*waiting))
        ).one()
        return instant

    async def schedule(self, deliveries: Sequence[NewDelivery], due_at: datetime | None = None) -> None:
        """Write deliveries that are due at once, in this order; those that are there already stay as they are."""
        if not deliveries:
            return
        rows = [
            (number, new.webhook_config_id, new.event_id, new.event_type, new.payload)
            for number, new in enumerate(deliveries)
        ]
        given = values_table(_NEW, rows)
        query = select(
            *(given.c[name] for name in _COLUMNS),
            literal(DeliveryStatus.PENDING.value),
            func.clock_timestamp() if due_at is None else literal(due_at, _INSTANT),
        ).order_by(given.c.number)
        statement = upsert(WebhookDelivery).from_select([*_COLUMNS, "status", "next_run_at"], query)
        await self.session.execute(statement.on_conflict_do_nothing())

    async def claim(
        self, holder: str, lease: timedelta, *, well: Room, failing: Room, per_endpoint: int
    ) -> Sequence[DueDelivery]:
        """Take due deliveries, at most so many under way at one endpoint, for as long as the lease lasts.

        `failing` is for endpoints that failed last time, `well` for the others. An endpoint whose breaker is open has
        one under way, and none while it is paused. Endpoints take turns: those with an id above `after` are served
        first.
        """
        if well.limit < 1 and failing.limit < 1:
            return []
        parameters = {
            "holder": holder,
            "lease": lease,
            "per_endpoint": per_endpoint,
            "well_limit": max(well.limit, 0),
            "well_after": well.after,
            "failing_limit": max(failing.limit, 0),
            "failing_after": failing.after,
        }
        rows = await self.session.execute(CLAIM, parameters)
        return sorted(DueDelivery._make([*row[:7], DueEndpoint._make(row[7:])]) for row in rows)

    async def let_go(self, holder: str) -> int:
        """End the leases of deliveries that their holder will not send; how many."""
        query = update(WebhookDelivery).where(
            WebhookDelivery.lease_until.is_not(None), WebhookDelivery.claimed_by == holder
        )
        result = await self.session.execute(query.values(lease_until=None), execution_options=_NO_SYNC)
        return cast(CursorResult[Any], result).rowcount

    async def repeat(self, rows: Sequence[WebhookDelivery], due_at: datetime | None = None) -> int:
        """Make locked deliveries due at once, an ended one anew; how many. Those that are being sent are left alone."""
        now: datetime = (await self.session.scalars(select(func.clock_timestamp()))).one()
        free = [row for row in rows if row.lease_until is None or row.lease_until <= now]
        due = due_at or now
        for row in free:
            if row.status is DeliveryStatus.PENDING:
                row.next_run_at = min(row.next_run_at or due, due)
            else:
                self.move_locked(
                    row, DeliveryStatus.PENDING, next_run_at=due, attempts_before=row.attempts, delivered_at=None
                )
        await self.write_together(free, ("status", "next_run_at", "attempts_before", "delivered_at"))
        return len(free)

    async def under_way(self, ids: Collection[int]) -> Mapping[int, int]:
        """Which deliveries somebody is sending, with the number of the claim; locked in ascending order."""
        found, numbers = (await self.session.execute(UNDER_WAY, {"ids": list(ids)})).one()
        return dict(zip(found or (), numbers or (), strict=True))

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Write what attempts leave locked deliveries with, and the attempts; any number by one statement."""
        if settled:
            await self.session.execute(SETTLE, _columns(settled))

    async def settle_taken(self, settled: Sequence[Settled], endpoint_ids: Collection[int]) -> int:
        """Do all that there is to do where every endpoint has taken what it was sent, by one statement; how many count.

        One whose delivery was claimed again, or settled before, does not. Endpoints, whose failures are forgotten, are
        locked before deliveries, both in ascending order.
        """
        parameters = _columns(settled) | {"endpoint_ids": list(endpoint_ids)}
        count: int = (await self.session.execute(SETTLE_TAKEN, parameters)).scalar_one()
        return count

    async def attempts_of(self, delivery_id: int) -> Sequence[WebhookAttempt]:
        """The attempts at a delivery, oldest first."""
        query = select(WebhookAttempt).where(WebhookAttempt.delivery_id == delivery_id)
        return (await self.session.scalars(query.order_by(WebhookAttempt.id))).all()

    async def durations_of(self, ids: Collection[int]) -> Mapping[int, int]:
        """The milliseconds that the last attempt at each delivery took, by its id; none where none was made."""
        latest = select(func.max(WebhookAttempt.id)).where(WebhookAttempt.delivery_id.in_(ids))
        query = select(WebhookAttempt.delivery_id, WebhookAttempt.duration_ms).where(
            WebhookAttempt.id.in_(latest.group_by(WebhookAttempt.delivery_id))
        )
        return {row.delivery_id: row.duration_ms for row in await self.session.execute(query)}

    async def of_endpoint(
        self,
        webhook_id: int,
        *,
        statuses: Collection[DeliveryStatus] | None,
        before: int | None,
        limit: int,
    ) -> Sequence[WebhookDelivery]:
        """A page of an endpoint's deliveries, newest first."""
        query = select(WebhookDelivery).where(WebhookDelivery.webhook_config_id == webhook_id)
        return await self.page_of_statuses(query, statuses or DeliveryStatus, before=before, limit=limit)

    async def owned(self, user_id: int, delivery_id: int, *, for_update: bool = False) -> WebhookDelivery | None:
        """A delivery of a user's endpoint; None for another's."""
        query = (
            select(WebhookDelivery)
            .join(WebhookConfiguration, WebhookConfiguration.id == WebhookDelivery.webhook_config_id)
            .where(WebhookDelivery.id == delivery_id, WebhookConfiguration.user_id == user_id)
        )
        if for_update:
            query = query.with_for_update(of=WebhookDelivery)
        return await self.session.scalar(query, execution_options={"populate_existing": True})

    async def locked_for_events(self, webhook_id: int, event_ids: Collection[int]) -> Sequence[WebhookDelivery]:
        """The deliveries of some events to an endpoint, locked."""
        query = select(WebhookDelivery).where(
            WebhookDelivery.webhook_config_id == webhook_id, WebhookDelivery.event_id.in_(event_ids)
        )
        rows = await self.session.scalars(
            query.order_by(WebhookDelivery.id).with_for_update(), execution_options={"populate_existing": True}
        )
        return rows.all()

    async def delete_of(self, webhook_id: int, limit: int) -> int:
        """Delete up to `limit` deliveries of an endpoint, with their attempts; how many were found.

        Another that deletes the same may have been faster: fewer than `limit` means that no more are there, not that
        this one has deleted as many.
        """
        some = select(WebhookDelivery.id).where(WebhookDelivery.webhook_config_id == webhook_id).limit(limit)
        found = (await self.session.scalars(some)).all()
        locked = select(WebhookDelivery.id).where(WebhookDelivery.id.in_(found))
        ids = await self.session.scalars(locked.order_by(WebhookDelivery.id).with_for_update())
        await self._delete(ids.all())
        return len(found)

    async def purge(self, older_than: timedelta, limit: int) -> int:
        """Delete of the `limit` oldest deliveries those older than given, with their attempts; how many went."""
        oldest = select(WebhookDelivery.id).order_by(WebhookDelivery.id).limit(limit).scalar_subquery()
        old = select(WebhookDelivery.id).where(
            WebhookDelivery.id.in_(oldest), WebhookDelivery.created_at < func.clock_timestamp() - older_than
        )
        # Whose outcome is being recorded is left to the next time.
        free = old.order_by(WebhookDelivery.id).with_for_update(skip_locked=True)
        return await self._delete((await self.session.scalars(free)).all())

    async def _delete(self, ids: Sequence[int]) -> int:
        gone = delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids))
        await self.session.execute(gone, execution_options=_NO_SYNC)
        return len(ids)


_NEW: Mapping[str, TypeEngine[Any]] = {
    "number": Integer(),
    "webhook_config_id": BigInteger(),
    "event_id": BigInteger(),
    "event_type": String(),
    "payload": Text(),
}
_COLUMNS = [name for name in _NEW if name != "number"]
_INSTANT = DateTime(timezone=True)
_NO_SYNC = {"synchronize_session": False}


def _columns(settled: Sequence[Settled]) -> dict[str, list[Any]]:
    """An array for each column."""
    return dict(zip(Settled._fields, map(list, zip(*settled, strict=True)), strict=True))
