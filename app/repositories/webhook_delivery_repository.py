"""Webhook deliveries: written once per endpoint and event, claimed under a lease, purged when old."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Integer, String, Text, delete, func, insert, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import TypeEngine

from app.domain.enums import DeliveryStatus
from app.domain.lifecycle import DELIVERY_MOVES
from app.models.webhook import WebhookAttempt, WebhookConfiguration, WebhookDelivery
from app.repositories.base import LifecycleRepository, values_table


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """An event that is to reach an endpoint, as the text that will be sent."""

    webhook_config_id: int
    event_id: int
    event_type: str
    payload: str


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery as it was claimed; `attempts` is the number of the claim, and so its fence."""

    id: int
    webhook_config_id: int
    event_id: int
    event_type: str
    payload: str
    attempts: int


@dataclass(frozen=True, slots=True)
class SentDelivery:
    """What an outcome is held against: where a locked delivery stands. `lease_until` is None where nobody sends it."""

    id: int
    status: DeliveryStatus
    attempts: int
    attempts_before: int
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt leaves a delivery with; its lease ends."""

    id: int
    status: DeliveryStatus
    response_code: int | None
    response_body: str | None
    last_error: str | None
    next_run_at: datetime | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """One request that was sent, and what came of it; see WebhookAttempt."""

    delivery_id: int
    number: int
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

    async def schedule(self, deliveries: Sequence[NewDelivery]) -> None:
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
            func.clock_timestamp(),
        ).order_by(given.c.number)
        statement = upsert(WebhookDelivery).from_select([*_COLUMNS, "status", "next_run_at"], query)
        await self.session.execute(statement.on_conflict_do_nothing())

    async def claim(
        self, holder: str, limit: int, lease: timedelta, *, failing: bool, per_endpoint: int, after: int = 0
    ) -> Sequence[DueDelivery]:
        """Take due deliveries, at most so many under way at one endpoint, for as long as the lease lasts.

        `failing` asks for those of endpoints that failed last time, else of the others. An endpoint whose breaker is
        open has one under way, and none while it is paused. Endpoints take turns: those with an id above `after` are
        served first.
        """
        if limit < 1:
            return []
        parameters = {
            "holder": holder,
            "limit": limit,
            "lease": lease,
            "failing": failing,
            "per_endpoint": per_endpoint,
            "after": after,
        }
        rows = await self.session.execute(text(_CLAIM), parameters)
        return sorted((DueDelivery(*row) for row in rows), key=lambda due: due.id)

    async def let_go(self, holder: str, ids: Collection[int]) -> None:
        """End the leases of deliveries that their holder will not send."""
        query = update(WebhookDelivery).where(WebhookDelivery.id.in_(ids), WebhookDelivery.claimed_by == holder)
        await self.session.execute(query.values(lease_until=None), execution_options={"synchronize_session": False})

    async def repeat(self, rows: Sequence[WebhookDelivery]) -> int:
        """Make locked deliveries due at once, an ended one anew; how many. Those that are being sent are left alone."""
        now: datetime = (await self.session.scalars(select(func.clock_timestamp()))).one()
        free = [row for row in rows if row.lease_until is None or row.lease_until <= now]
        for row in free:
            if row.status is DeliveryStatus.PENDING:
                row.next_run_at = min(row.next_run_at or now, now)
            else:
                self.move_locked(
                    row, DeliveryStatus.PENDING, next_run_at=now, attempts_before=row.attempts, delivered_at=None
                )
        await self.write_together(free, ("status", "next_run_at", "attempts_before", "delivered_at"))
        return len(free)

    async def sent(self, ids: Collection[int]) -> Mapping[int, SentDelivery]:
        """Where deliveries stand now, by id; locked in ascending order."""
        query = select(*_SENT).where(WebhookDelivery.id.in_(ids)).order_by(WebhookDelivery.id).with_for_update()
        return {row[0]: SentDelivery(*row) for row in await self.session.execute(query)}

    async def settle(self, results: Sequence[Result], attempts: Sequence[NewAttempt]) -> None:
        """Write what attempts left locked deliveries with, and the attempts; rows of any number by two statements."""
        if not results:
            return
        given = values_table(_RESULT, [_result_row(result) for result in results])
        written = {name: given.c[name] for name in _RESULT if name != "id"}
        change = update(WebhookDelivery).where(WebhookDelivery.id == given.c.id).values(lease_until=None, **written)
        await self.session.execute(change, execution_options={"synchronize_session": False})
        new = values_table(_ATTEMPT, [_attempt_row(attempt) for attempt in attempts])
        await self.session.execute(insert(WebhookAttempt).from_select(list(_ATTEMPT), select(*new.c)))

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
        if statuses:
            query = query.where(WebhookDelivery.status.in_(statuses))
        return await self.page(query, before=before, limit=limit)

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
        """Delete up to `limit` deliveries of an endpoint, with their attempts; how many went."""
        some = select(WebhookDelivery.id).where(WebhookDelivery.webhook_config_id == webhook_id)
        ids = await self.session.scalars(some.order_by(WebhookDelivery.id).limit(limit).with_for_update())
        return await self._delete(ids.all())

    async def purge(self, older_than: timedelta, limit: int) -> int:
        """Delete up to `limit` deliveries, with their attempts, older than given; how many went."""
        old = select(WebhookDelivery.id).where(WebhookDelivery.created_at < func.clock_timestamp() - older_than)
        # Whose outcome is being recorded is left to the next time.
        free = old.order_by(WebhookDelivery.id).limit(limit).with_for_update(skip_locked=True)
        return await self._delete((await self.session.scalars(free)).all())

    async def _delete(self, ids: Sequence[int]) -> int:
        gone = delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids))
        await self.session.execute(gone, execution_options={"synchronize_session": False})
        return len(ids)


_NEW: Mapping[str, TypeEngine[Any]] = {
    "number": Integer(),
    "webhook_config_id": BigInteger(),
    "event_id": BigInteger(),
    "event_type": String(),
    "payload": Text(),
}
_COLUMNS = [name for name in _NEW if name != "number"]
_SENT = [getattr(WebhookDelivery, each.name) for each in fields(SentDelivery)]
_RESULT = {each.name: WebhookDelivery.__table__.c[each.name].type for each in fields(Result)}
_result_row = attrgetter(*_RESULT)
_ATTEMPT = {each.name: WebhookAttempt.__table__.c[each.name].type for each in fields(NewAttempt)}
_attempt_row = attrgetter(*_ATTEMPT)

# The endpoints with something to send are found by skipping through the index, and each gives what it has room for:
# a long queue of one costs the others nothing.
_CLAIM = """
WITH RECURSIVE waiting AS (
    (SELECT webhook_config_id AS id FROM webhook_deliveries
     WHERE status = 'pending' ORDER BY webhook_config_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.webhook_config_id FROM webhook_deliveries d
            WHERE d.status = 'pending' AND d.webhook_config_id > w.id ORDER BY d.webhook_config_id LIMIT 1)
    FROM waiting w WHERE w.id IS NOT NULL
), room AS (
    SELECT c.id,
           CASE WHEN c.paused_until IS NULL THEN CAST(:per_endpoint AS integer) ELSE 1 END - (
               SELECT count(*) FROM webhook_deliveries d
               WHERE d.webhook_config_id = c.id AND d.lease_until > clock_timestamp()
           ) AS free
    FROM waiting w JOIN webhook_configurations c ON c.id = w.id
    WHERE c.is_active
      AND (c.retry_count > 0) = CAST(:failing AS boolean)
      AND (c.paused_until IS NULL OR c.paused_until <= clock_timestamp())
), due AS (
    SELECT taken.id FROM (SELECT * FROM room ORDER BY room.id <= CAST(:after AS bigint), room.id) room
    CROSS JOIN LATERAL (
        SELECT d.id FROM webhook_deliveries d
        WHERE d.webhook_config_id = room.id AND d.status = 'pending' AND d.next_run_at <= clock_timestamp()
          AND (d.lease_until IS NULL OR d.lease_until <= clock_timestamp())
        ORDER BY d.next_run_at, d.id LIMIT GREATEST(room.free, 0) FOR UPDATE SKIP LOCKED
    ) taken
    LIMIT CAST(:limit AS integer)
)
UPDATE webhook_deliveries d
SET lease_until = clock_timestamp() + CAST(:lease AS interval), claimed_by = :holder, attempts = d.attempts + 1
FROM due WHERE d.id = due.id
RETURNING d.id, d.webhook_config_id, d.event_id, d.event_type, d.payload, d.attempts
"""
