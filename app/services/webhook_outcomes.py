"""What came of attempts at webhooks, written down: the delivery, the attempt, and how its endpoint does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import SystemRandom

from loguru import logger

from app.core.json import encode
from app.core.metrics import WEBHOOK_ATTEMPTS, WEBHOOKS_DISABLED
from app.domain.enums import DeliveryStatus
from app.domain.lifecycle import DELIVERY_MOVES, advance
from app.domain.webhooks import Health, Reply, disabled_event, kept_headers, next_delay
from app.models.webhook import WebhookConfiguration
from app.repositories.unit_of_work import UnitOfWork
from app.repositories.webhook_delivery_repository import NewAttempt, Result, SentDelivery

_ENDPOINT_COLUMNS = (
    "is_active",
    "retry_count",
    "failing_since",
    "paused_until",
    "disabled_at",
    "disabled_reason",
    "last_delivery_at",
)
_chance = SystemRandom()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt that has ended; `number` is the claim that it was made under, and so its fence."""

    delivery_id: int
    webhook_id: int
    number: int
    url: str
    headers: Mapping[str, str]
    reply: Reply
    duration_ms: int


async def record(work: UnitOfWork, outcomes: Sequence[Outcome]) -> None:
    """Write down what came of attempts, in the order in which they ended.

    One whose delivery was claimed again, or recorded before, is left out. Endpoints are locked before deliveries.
    """
    endpoints = await work.webhooks.locked({outcome.webhook_id for outcome in outcomes})
    deliveries = await work.deliveries.sent([outcome.delivery_id for outcome in outcomes])
    now = await work.webhooks.now()
    counted = []
    for outcome in outcomes:
        delivery, endpoint = deliveries.get(outcome.delivery_id), endpoints.get(outcome.webhook_id)
        if delivery is None or endpoint is None or not _is_under_way(delivery, outcome):
            continue
        WEBHOOK_ATTEMPTS.labels(outcome.reply.error or "delivered").inc()
        _log(outcome)
        counted.append((_result(delivery, outcome.reply, now), _attempt(outcome)))
        _judge(work, endpoint, outcome, now)
    await work.webhooks.write_together(list(endpoints.values()), _ENDPOINT_COLUMNS)
    await work.deliveries.settle([result for result, _ in counted], [attempt for _, attempt in counted])


def _is_under_way(delivery: SentDelivery, outcome: Outcome) -> bool:
    is_pending = delivery.status is DeliveryStatus.PENDING
    return is_pending and delivery.lease_until is not None and delivery.attempts == outcome.number


def _log(outcome: Outcome) -> None:
    """What is told to the endpoint's owner in a vaguer word is logged in its own."""
    failure = outcome.reply.failure
    if failure is not None and failure.told != failure.value:
        logger.info("Webhook delivery {id}: {failure}", id=outcome.delivery_id, failure=failure.value)


def _attempt(outcome: Outcome) -> NewAttempt:
    return NewAttempt(
        delivery_id=outcome.delivery_id,
        number=outcome.number,
        url=outcome.url,
        request_headers=encode(kept_headers(outcome.headers)).decode(),
        response_code=outcome.reply.status,
        response_body=outcome.reply.body,
        error=outcome.reply.error,
        duration_ms=outcome.duration_ms,
    )


def _result(delivery: SentDelivery, reply: Reply, now: datetime) -> Result:
    """The end of a delivery, or when it is tried again."""
    status, wait = DeliveryStatus.DELIVERED, None
    if not reply.is_success:
        wait = next_delay(delivery.attempts - delivery.attempts_before, reply, _chance.random())
        status = DeliveryStatus.FAILED if wait is None else DeliveryStatus.PENDING
    return Result(
        id=delivery.id,
        status=status if status is delivery.status else advance(DELIVERY_MOVES, delivery.status, status),
        response_code=reply.status,
        response_body=reply.body,
        last_error=reply.error,
        next_run_at=None if wait is None else now + timedelta(seconds=wait),
        delivered_at=now if reply.is_success else None,
    )


def _judge(work: UnitOfWork, endpoint: WebhookConfiguration, outcome: Outcome, now: datetime) -> None:
    """How the endpoint does after one more attempt; what was sent to where it no longer is says nothing."""
    if outcome.reply.is_success:
        endpoint.last_delivery_at = now
    if not endpoint.is_active or endpoint.url != outcome.url:
        return
    health = Health(endpoint.retry_count, endpoint.failing_since).after(outcome.reply, now)
    endpoint.retry_count, endpoint.failing_since = health.failures, health.failing_since
    endpoint.paused_until = health.paused_until
    if health.disabled_for is None:
        return
    endpoint.is_active, endpoint.disabled_at, endpoint.disabled_reason = False, now, health.disabled_for
    work.emit(disabled_event(endpoint))
    WEBHOOKS_DISABLED.labels(health.disabled_for).inc()
    logger.warning("Webhook {webhook} is switched off: {reason}", webhook=endpoint.id, reason=health.disabled_for)
