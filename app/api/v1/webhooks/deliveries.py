"""Deliveries of a webhook endpoint: what was sent, what came of it, and sending again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import Query

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit
from app.api.errors import SIGNED_IN, WITH_BODY, responses
from app.api.paging import PageDep
from app.api.parameters import DeliveryId, WebhookId
from app.api.routing import StrictQueryRoute, router
from app.domain.enums import DeliveryStatus
from app.domain.errors import NotFound
from app.domain.webhooks import next_attempt
from app.models.webhook import WebhookDelivery
from app.repositories.unit_of_work import UnitOfWork
from app.schemas.webhook import (
    AttemptResponse,
    DeliveryDetailResponse,
    DeliveryList,
    DeliveryResponse,
    ResendRequest,
    ResendResponse,
)

routes = router(prefix="/webhooks/{webhook_id}", tag="webhooks", route_class=StrictQueryRoute)

COUNTED = [rate_limit("default")]
READING = responses(*SIGNED_IN, "NOT_FOUND", "RATE_LIMITED")


@routes.get("/deliveries", responses=READING, dependencies=COUNTED)
async def list_deliveries(
    webhook_id: WebhookId,
    container: ContainerDep,
    user: CurrentUser,
    page: PageDep,
    status: Annotated[
        list[DeliveryStatus] | None, Query(max_length=3, description="Only these; may be repeated")
    ] = None,
) -> DeliveryList:
    """List an endpoint's deliveries, newest first."""
    async with container.uow() as work:
        if await work.webhooks.owned(user.id, webhook_id) is None:
            raise NotFound(webhook_id=webhook_id)
        rows = await work.deliveries.of_endpoint(webhook_id, statuses=status, before=page.before, limit=page.wanted)
        shown, cursor = page.cut(rows)
        return DeliveryList(deliveries=await _told(work, webhook_id, shown), next_cursor=cursor)


@routes.get("/deliveries/{delivery_id}", responses=READING, dependencies=COUNTED)
async def get_delivery(
    webhook_id: WebhookId, delivery_id: DeliveryId, container: ContainerDep, user: CurrentUser
) -> DeliveryDetailResponse:
    """Answer one delivery: the exact text that is sent, and every attempt with what was answered."""
    async with container.uow() as work:
        row = await work.deliveries.owned(user.id, delivery_id)
        if row is None or row.webhook_config_id != webhook_id:
            raise NotFound(delivery_id=delivery_id)
        attempts = await work.deliveries.attempts_of(delivery_id)
        pause = await work.webhooks.paused_until(webhook_id)
    log = [AttemptResponse.model_validate(attempt) for attempt in attempts]
    took = log[-1].duration_ms if log else None
    return _shown(DeliveryDetailResponse, row, pause, took).model_copy(update={"attempt_log": log})


@routes.post(
    "/deliveries/{delivery_id}/resend",
    status_code=202,
    responses=responses(*SIGNED_IN, "NOT_FOUND", "CONFLICT", "RATE_LIMITED"),
    dependencies=COUNTED,
)
async def resend_delivery(
    webhook_id: WebhookId, delivery_id: DeliveryId, container: ContainerDep, user: CurrentUser
) -> DeliveryResponse:
    """Send one delivery again at once, under the same ids, with its retries before it anew. A pause ends."""
    row = await container.webhooks.resend(user.id, webhook_id, delivery_id)
    async with container.uow() as work:
        (told,) = await _told(work, webhook_id, [row])
    return told


@routes.post(
    "/resend",
    status_code=202,
    responses=responses(*WITH_BODY, *SIGNED_IN, "NOT_FOUND", "CONFLICT", "RATE_LIMITED"),
    dependencies=COUNTED,
)
async def resend_since(
    webhook_id: WebhookId, body: ResendRequest, container: ContainerDep, user: CurrentUser
) -> ResendResponse:
    """Send again what the endpoint wants of the log since an instant, but for what was delivered. A pause ends.

    It reaches back to when the endpoint was made, and no further: `GET /events` tells what was before.
    """
    resent = await container.webhooks.resend_since(
        user.id, webhook_id, body.since, include_delivered=body.include_delivered
    )
    return ResendResponse(scheduled=resent.count, next_since=resent.next_since)


async def _told(work: UnitOfWork, webhook_id: int, rows: Sequence[WebhookDelivery]) -> list[DeliveryResponse]:
    """Deliveries of an endpoint as they are told, each with the time that its last attempt took."""
    took = await work.deliveries.durations_of([row.id for row in rows])
    # Read after the deliveries: a failure that begins a pause is not shown without it.
    pause = await work.webhooks.paused_until(webhook_id)
    return [_shown(DeliveryResponse, row, pause, took.get(row.id)) for row in rows]


def _shown[R: DeliveryResponse](shape: type[R], row: WebhookDelivery, pause: datetime | None, took: int | None) -> R:
    next_at = next_attempt(row.next_run_at, pause)
    return shape.model_validate(row).model_copy(update={"duration_ms": took, "next_attempt_at": next_at})
