"""How webhooks are wired: what reaches endpoints, and the loop that delivers."""

from contextlib import AsyncExitStack

from app.config.settings import Settings
from app.core.broadcast import Broadcast
from app.core.clock import Clock
from app.core.loop_groups import Group, LoopGroups
from app.core.outbound_http import OutboundHttp, OutboundLimits
from app.core.security import Cipher
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.webhook_delivery_service import DeliveryLimits, WebhookDeliveryService
from app.services.webhook_secrets import WebhookSecrets
from app.services.webhook_service import EndpointLimits, WebhookService


def wire_webhooks(
    settings: Settings,
    loops: LoopGroups,
    stack: AsyncExitStack,
    cipher: Cipher,
    uow: UnitOfWorkFactory,
    broadcast: Broadcast,
    clock: Clock,
) -> WebhookService:
    """What owners of endpoints use; `broadcast` is where hints of this process and of others are heard."""
    http = OutboundHttp(
        OutboundLimits(timeout_seconds=settings.webhook_timeout_seconds, allow_local=settings.webhook_allow_local)
    )
    stack.push_async_callback(http.aclose)
    limits = DeliveryLimits(
        timeout_seconds=settings.webhook_timeout_seconds,
        concurrency=settings.webhook_concurrency,
        per_endpoint=settings.webhook_concurrency_per_endpoint,
    )
    keys = WebhookSecrets(cipher)
    deliveries = WebhookDeliveryService(uow, http.post, keys, broadcast, clock, limits)
    loops[Group.DELIVERY].append(deliveries.run)
    endpoints = EndpointLimits(
        per_user=settings.webhook_endpoints_per_user,
        allow_local=settings.webhook_allow_local,
        is_development=settings.environment == "development",
    )
    return WebhookService(uow, http.refusal, keys, clock, endpoints)
