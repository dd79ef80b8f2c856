"""What came of attempts at webhooks, written down: the delivery, the attempt, and how its endpoint does."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from secrets import SystemRandom
from typing import NamedTuple

from loguru import logger

from app.core.json import encode
from app.core.metrics import WEBHOOK_ATTEMPTS, WEBHOOKS_DISABLED
from app.domain.enums import DeliveryStatus
from app.domain.lifecycle import DELIVERY_MOVES, advance
from app.domain.webhooks import Health, Reply, disabled_event, kept_headers, next_delay
from app.repositories.unit_of_work import UnitOfWork
from app.repositories.webhook_delivery_repository import DueDelivery, Settled
from app.repositories.webhook_repository import EndpointHealth

_chance = SystemRandom()


class Outcome(NamedTuple):
    """One attempt that has ended."""

    delivery: DueDelivery
    headers: Mapping[str, str]
    reply: Reply
    duration_ms: int


def are_taken(outcomes: Iterable[Outcome]) -> bool:
    """Whether every endpoint has taken what it was sent: then one statement records them."""
    return all(outcome.reply.is_success for outcome in outcomes)


async def record(work: UnitOfWork, outcomes: Sequence[Outcome]) -> None:
    """Write down what came of attempts, in the order in which they ended.

    One whose delivery was claimed again, or recorded before, is left out. Endpoints are locked before deliveries.
    """
    endpoint_ids = {outcome.delivery.endpoint.id for outcome in outcomes}
    if are_taken(outcomes):
        count = await work.deliveries.settle_taken([_settled(outcome) for outcome in outcomes], endpoint_ids)
        WEBHOOK_ATTEMPTS.labels("delivered").inc(count)
        return
    endpoints = await work.webhooks.health(endpoint_ids)
    numbers = await work.deliveries.under_way([outcome.delivery.id for outcome in outcomes])
    settled: list[Settled] = []
    judged: dict[int, EndpointHealth] = {}
    for outcome in outcomes:
        delivery, endpoint = outcome.delivery, endpoints.get(outcome.delivery.endpoint.id)
        if endpoint is None or numbers.get(delivery.id) != delivery.attempts:
            continue
        WEBHOOK_ATTEMPTS.labels(outcome.reply.error or "delivered").inc()
        _log(outcome)
        settled.append(_settled(outcome))
        _judge(work, endpoint, outcome)
        judged[endpoint.id] = endpoint
    await work.webhooks.write_health(judged.values())
    await work.deliveries.settle(settled)


def _log(outcome: Outcome) -> None:
    """What is told to the endpoint's owner in a vaguer word is logged in its own."""
    failure = outcome.reply.failure
    if failure is not None and failure.told != failure.value:
        logger.info("Webhook delivery {id}: {failure}", id=outcome.delivery.id, failure=failure.value)


def _settled(outcome: Outcome) -> Settled:
    """The end of a delivery, or how long it waits to be tried again; and the attempt."""
    delivery, reply, wait = outcome.delivery, outcome.reply, None
    if not reply.is_success:
        wait = next_delay(delivery.attempts - delivery.attempts_before, reply, _chance.random())
    status = DeliveryStatus.PENDING
    if wait is None:
        end = DeliveryStatus.DELIVERED if reply.is_success else DeliveryStatus.FAILED
        status = advance(DELIVERY_MOVES, status, end)
    return Settled(
        id=delivery.id,
        number=delivery.attempts,
        status=status,
        wait=None if wait is None else timedelta(seconds=wait),
        url=delivery.endpoint.url,
        request_headers=encode(kept_headers(outcome.headers)).decode(),
        response_code=reply.status,
        response_body=reply.body,
        error=reply.error,
        duration_ms=outcome.duration_ms,
    )


def _judge(work: UnitOfWork, endpoint: EndpointHealth, outcome: Outcome) -> None:
    """How the endpoint does after one more attempt; what was sent to where it no longer is says nothing."""
    now = endpoint.now
    if outcome.reply.is_success:
        endpoint.last_delivery_at = now
    if not endpoint.is_active or endpoint.url != outcome.delivery.endpoint.url:
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
