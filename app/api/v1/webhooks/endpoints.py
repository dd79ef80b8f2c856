"""Webhook endpoints: make, read, change, delete, rotate the secret, test; verify what was received."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated

from fastapi import Query, Request, Response

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit
from app.api.errors import SIGNED_IN, WITH_BODY, responses
from app.api.idempotency import KEY_ERRORS, IdempotencyKey, Keep, Once
from app.api.parameters import WebhookId
from app.api.routing import StrictQueryRoute, router
from app.domain.errors import NotFound
from app.domain.events import EventType
from app.models.webhook import WebhookConfiguration
from app.repositories.unit_of_work import UnitOfWork
from app.schemas.event_catalogue import CATALOGUE
from app.schemas.webhook import (
    AmendWebhookRequest,
    CreateWebhookRequest,
    EventTypeList,
    EventTypeResponse,
    ReplaceWebhookRequest,
    RotateSecretRequest,
    TestSentResponse,
    VerifyRequest,
    VerifyResponse,
    WebhookList,
    WebhookResponse,
    WebhookSecretResponse,
)
from app.services.webhook_service import NewEndpoint

routes = router(prefix="/webhooks", tag="webhooks", route_class=StrictQueryRoute)

COUNTED = [rate_limit("default")]
READING = responses(*SIGNED_IN, "NOT_FOUND", "RATE_LIMITED")
CHANGING = responses(*WITH_BODY, *SIGNED_IN, "WEBHOOK_URL_REFUSED", "NOT_FOUND", "RATE_LIMITED")


@routes.post(
    "",
    status_code=201,
    response_model=WebhookSecretResponse,
    responses=responses(*WITH_BODY, *SIGNED_IN, "WEBHOOK_URL_REFUSED", "LIMIT_EXCEEDED", "RATE_LIMITED", *KEY_ERRORS),
    dependencies=COUNTED,
)
async def create_webhook(
    request: Request, body: CreateWebhookRequest, container: ContainerDep, user: CurrentUser, key: IdempotencyKey
) -> Response:
    """Make an endpoint. Its secret is in this answer alone: a repetition by Idempotency-Key is without it."""

    async def make(keep: Keep) -> WebhookSecretResponse:
        new = NewEndpoint(body.url, body.event_types, body.secret)
        return _with_secret(*await container.webhooks.create(user.id, new, _keeping(keep)))

    return await Once(request, container, user.id, 201).make(key, make)


@routes.get("", responses=responses(*SIGNED_IN, "RATE_LIMITED"), dependencies=COUNTED)
async def list_webhooks(
    container: ContainerDep,
    user: CurrentUser,
    event_type: Annotated[EventType | None, Query(description="Only those that get events of this type")] = None,
) -> WebhookList:
    """List the caller's endpoints."""
    if event_type is not None:
        rows = await container.webhooks.get_active_webhooks(user.id, event_type)
    else:
        async with container.uow() as work:
            rows = await work.webhooks.of_user(user.id)
    return WebhookList(webhooks=[WebhookResponse.model_validate(row) for row in rows])


@routes.get("/event-types", responses=responses(*SIGNED_IN, "RATE_LIMITED"), dependencies=COUNTED)
async def list_event_types(user: CurrentUser) -> EventTypeList:
    """List every type of event, with the JSON Schema of its data and an example."""
    return EventTypeList(event_types=[EventTypeResponse.model_validate(row) for row in CATALOGUE.values()])


@routes.post(
    "/verify",
    responses=responses(*WITH_BODY, *SIGNED_IN, "NOT_FOUND", "CONFLICT", "RATE_LIMITED"),
    dependencies=COUNTED,
)
async def verify_webhook(body: VerifyRequest, container: ContainerDep, user: CurrentUser) -> VerifyResponse:
    """Check headers and body as a receiver got them, and say what is wrong with them."""
    found = await container.webhooks.verify(user.id, body.webhook_id, body.secret, body.headers, body.body)
    return VerifyResponse.model_validate(found)


@routes.get("/{webhook_id}", responses=READING, dependencies=COUNTED)
async def get_webhook(webhook_id: WebhookId, container: ContainerDep, user: CurrentUser) -> WebhookResponse:
    """Answer one endpoint."""
    async with container.uow() as work:
        row = await work.webhooks.owned(user.id, webhook_id)
    if row is None:
        raise NotFound(webhook_id=webhook_id)
    return WebhookResponse.model_validate(row)


@routes.put("/{webhook_id}", responses=CHANGING, dependencies=COUNTED)
async def replace_webhook(
    webhook_id: WebhookId, body: ReplaceWebhookRequest, container: ContainerDep, user: CurrentUser
) -> WebhookResponse:
    """Set all that an endpoint's owner sets. `is_active` as true, or another `url`, forgets its failures."""
    return WebhookResponse.model_validate(await container.webhooks.change(user.id, webhook_id, body.model_dump()))


@routes.patch("/{webhook_id}", responses=CHANGING, dependencies=COUNTED)
async def amend_webhook(
    webhook_id: WebhookId, body: AmendWebhookRequest, container: ContainerDep, user: CurrentUser
) -> WebhookResponse:
    """Change some of it. Setting `is_active` to true, or another `url`, forgets its failures and ends a pause."""
    return WebhookResponse.model_validate(await container.webhooks.change(user.id, webhook_id, body.changes()))


@routes.delete("/{webhook_id}", status_code=204, responses=READING, dependencies=COUNTED)
async def delete_webhook(webhook_id: WebhookId, container: ContainerDep, user: CurrentUser) -> None:
    """Delete an endpoint with its deliveries."""
    await container.webhooks.delete(user.id, webhook_id)


@routes.post(
    "/{webhook_id}/rotate-secret",
    response_model=WebhookSecretResponse,
    responses=responses(*WITH_BODY, *SIGNED_IN, "NOT_FOUND", "RATE_LIMITED", *KEY_ERRORS),
    dependencies=COUNTED,
)
async def rotate_secret(
    request: Request,
    webhook_id: WebhookId,
    container: ContainerDep,
    user: CurrentUser,
    key: IdempotencyKey,
    body: RotateSecretRequest | None = None,
) -> Response:
    """Give an endpoint another secret, told in this answer alone; the one before signs too until the overlap ends."""
    asked = body or RotateSecretRequest()

    async def make(keep: Keep) -> WebhookSecretResponse:
        overlap = timedelta(hours=asked.overlap_hours)
        return _with_secret(
            *await container.webhooks.rotate_secret(user.id, webhook_id, asked.secret, overlap, _keeping(keep))
        )

    return await Once(request, container, user.id, 200).make(key, make)


@routes.post(
    "/{webhook_id}/test",
    status_code=202,
    responses=responses(*SIGNED_IN, "NOT_FOUND", "CONFLICT", "RATE_LIMITED"),
    dependencies=COUNTED,
)
async def send_test_webhook(webhook_id: WebhookId, container: ContainerDep, user: CurrentUser) -> TestSentResponse:
    """Send a test event to this endpoint alone at once, whatever its filters. A pause ends."""
    event = await container.webhooks.send_test(user.id, webhook_id)
    sent = {"webhook_id": webhook_id, "event_type": event.type, "event_id": event.id, "sequence": event.sequence}
    return TestSentResponse.model_validate(sent)


def _keeping(keep: Keep) -> Callable[[UnitOfWork, WebhookConfiguration], Awaitable[None]]:
    """Keeps an endpoint's answer as it is told again: without the secret."""

    async def kept(work: UnitOfWork, row: WebhookConfiguration) -> None:
        await keep(work, WebhookResponse.model_validate(row))

    return kept


def _with_secret(row: WebhookConfiguration, secret: str) -> WebhookSecretResponse:
    return WebhookSecretResponse.model_validate(row).model_copy(update={"secret": secret})
