"""Webhook endpoints, their deliveries, and verifying what was received."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from app.core.json import decode
from app.domain.addresses import LONGEST_URL
from app.domain.enums import DeliveryStatus
from app.domain.events import EventType
from app.domain.webhooks import SecretInvalid, checked_secret, is_known_filter
from app.schemas.base import AmendModel, Flag, PathId, RequestModel, ResponseModel, SafeStr, json_whole

MOST_FILTERS = 32
MOST_HEADERS = 64
LONGEST_HEADER = 2048
LONGEST_OVERLAP_HOURS = 168

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_FILTERS = [
    "*",
    *dict.fromkeys(f"{kind.value.partition('.')[0]}.*" for kind in EventType),
    *(kind.value for kind in EventType),
]


def _known_filter(text: str) -> str:
    if not is_known_filter(text):
        raise PydanticCustomError(
            "event_type_unknown",
            "Write an event type, a family such as trade.*, or *; /webhooks/event-types lists them",
        )
    return text


def _good_secret(secret: str) -> str:
    try:
        return checked_secret(secret)
    except SecretInvalid as error:
        raise PydanticCustomError("secret_invalid", "{reason}", {"reason": str(error)}) from None


def _rotated_elsewhere(_: object) -> None:
    raise PydanticCustomError("secret_rotated", "POST /webhooks/{id}/rotate-secret changes the secret")


def _instant(value: object) -> object:
    if not isinstance(value, str) or _INSTANT.fullmatch(value) is None:
        raise PydanticCustomError("instant", "Write an instant with its offset, such as 2026-01-05T12:00:00Z")
    return value


def _public_event_id(value: object) -> object:
    return f"evt_{value}" if isinstance(value, int) else value


def _read(value: object) -> object:
    return decode(value) if isinstance(value, str) else value


Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_URL),
    Field(description="https, a public DNS name, port 443 or 8443", examples=["https://example.com/webhook"]),
]
EventFilter = Annotated[
    str, AfterValidator(_known_filter), WithJsonSchema({"type": "string", "enum": _FILTERS}), Field(max_length=32)
]
EventFilters = Annotated[
    list[EventFilter],
    Field(
        min_length=1,
        max_length=MOST_FILTERS,
        description="Event types, families such as `trade.*`, or `*` for all",
        examples=[["trade.executed", "trade.closed"]],
    ),
]
Secret = Annotated[
    str,
    StringConstraints(min_length=16, max_length=128),
    AfterValidator(_good_secret),
    Field(
        description="16 to 128 printable ASCII characters without spaces; left out, we make one",
        json_schema_extra={"pattern": r"^[!-~]{16,128}$", "not": {"pattern": "^whsec_"}},
    ),
]
Instant = Annotated[
    datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation")
]
PublicEventId = Annotated[str, BeforeValidator(_public_event_id), Field(examples=["evt_42"])]


class CreateWebhookRequest(RequestModel):
    """An endpoint that is to get events."""

    url: Url
    secret: Secret | None = Field(default=None, description="Signs what is sent; left out, one is made")
    event_types: EventFilters


class ReplaceWebhookRequest(RequestModel):
    """An endpoint as it is to be."""

    url: Url
    event_types: EventFilters
    is_active: Flag = Field(description="Whether it is to get events")


class AmendWebhookRequest(AmendModel):
    """What is to change of an endpoint; what is absent stays."""

    url: Url | None = None
    event_types: EventFilters | None = None
    is_active: Flag | None = Field(default=None, description="Whether it is to get events")
    secret: Annotated[SkipJsonSchema[None], BeforeValidator(_rotated_elsewhere)] = None

    def changes(self) -> dict[str, object]:
        """The fields that were given."""
        return self.model_dump(exclude_unset=True)


class RotateSecretRequest(RequestModel):
    """Another secret; the one before signs too for some hours, so that receivers can change over."""

    secret: Secret | None = Field(default=None, description="Signs from now on; left out, one is made")
    overlap_hours: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP_HOURS), BeforeValidator(json_whole)] = Field(
        default=24, description="0: the one before counts no more at once", examples=[24]
    )


class ResendRequest(RequestModel):
    """Since when events are to be sent again."""

    since: Instant = Field(
        description="What happened from then on, ISO 8601 with its offset; never what was before the endpoint was made",
        examples=["2026-01-05T12:00:00Z"],
    )
    include_delivered: Flag = Field(default=False, description="Whether what was delivered is to be sent again too")


class VerifyRequest(RequestModel):
    """What a receiver got: its headers and its body, byte for byte; by whose secret it is to be checked."""

    webhook_id: PathId | None = Field(
        default=None, description="An endpoint of the caller, by whose secrets", examples=[1]
    )
    secret: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None, description="Or the secret itself"
    )
    headers: dict[
        Annotated[SafeStr, StringConstraints(max_length=128)],
        Annotated[SafeStr, StringConstraints(max_length=LONGEST_HEADER)],
    ] = Field(
        description="As they came, by name",
        max_length=MOST_HEADERS,
        examples=[{"webhook-id": "evt_42", "webhook-timestamp": "1767614400"}],
    )
    body: str = Field(description="The raw text, before anything parsed it", examples=['{"data": {}}'])

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.webhook_id is None) == (self.secret is None):
            raise PydanticCustomError("secret_choice", "Give webhook_id or secret, one of them")
        return self


class WebhookResponse(ResponseModel):
    """An endpoint as it stands. Its secret is never told again; `secret_hint` is the end of it."""

    id: int = Field(description="The endpoint's id", examples=[1])
    user_id: int = Field(description="Its owner", examples=[456])
    url: str = Field(description="Where events are sent", examples=["https://example.com/webhook"])
    event_types: list[str] = Field(description="Which events it gets", examples=[["trade.executed", "trade.closed"]])
    is_active: bool = Field(description="Whether it gets events", examples=[True])
    secret_hint: str = Field(description="The last four characters of its secret", examples=["x9Qz"])
    previous_until: datetime | None = Field(
        description="Until when the secret before signs too, UTC, ISO 8601; it may have passed"
    )
    retry_count: int = Field(description="Attempts in a row that failed", examples=[0])
    failing_since: datetime | None = Field(description="Since when every attempt has failed, UTC, ISO 8601")
    paused_until: datetime | None = Field(
        description="Until when it is left alone, UTC, ISO 8601; set while so many fail that one a minute is tried. "
        "A test, a resend, and `is_active: true` end it"
    )
    disabled_at: datetime | None = Field(description="When we switched it off, UTC, ISO 8601")
    disabled_reason: str | None = Field(description="failing: no success for 5 days; gone: it answered 410")
    last_delivery_at: datetime | None = Field(description="When it took an event last, UTC, ISO 8601")
    created_at: datetime = Field(description="When it was made, UTC, ISO 8601")
    updated_at: datetime = Field(description="When it changed last, UTC, ISO 8601")


class WebhookSecretResponse(WebhookResponse):
    """An endpoint with its new secret, this one time: an answer that is repeated is without it."""

    secret: str | None = Field(
        default=None,
        description="Its new secret; absent from every other answer",
        examples=["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="],
    )


class WebhookList(ResponseModel):
    """The caller's endpoints, oldest first."""

    webhooks: list[WebhookResponse] = Field(description="Oldest first")


class DeliveryResponse(ResponseModel):
    """One event for one endpoint; `X-Webhook-Delivery-ID` is `delivery_` and its id."""

    id: int = Field(description="The delivery's id", examples=[123])
    webhook_id: int = Field(description="The endpoint", validation_alias="webhook_config_id", examples=[1])
    event_id: PublicEventId = Field(description="`webhook-id`, and the id in /events")
    event_type: str = Field(description="What happened", examples=["trade.executed"])
    status: DeliveryStatus = Field(
        description="pending: to be tried, or tried again; failed: given up", examples=[DeliveryStatus.DELIVERED]
    )
    attempts: int = Field(description="How many were begun, those that were asked for too", examples=[1])
    response_code: int | None = Field(description="Of the last attempt", examples=[200])
    last_error: str | None = Field(
        description="Why the last attempt failed, in a word; null where it did not", examples=[None]
    )
    duration_ms: int | None = Field(default=None, description="Milliseconds that the last attempt took", examples=[87])
    next_attempt_at: datetime | None = Field(
        description="When it is tried next, UTC, ISO 8601: not while its endpoint is paused; null where it has ended",
        validation_alias="next_run_at",
    )
    delivered_at: datetime | None = Field(description="When it was taken, UTC, ISO 8601")
    created_at: datetime = Field(description="When it was written, UTC, ISO 8601")
    updated_at: datetime = Field(description="When it changed last, UTC, ISO 8601")


class AttemptResponse(ResponseModel):
    """One request that was sent; its body is the delivery's `payload`, its signatures are struck out."""

    number: int = Field(description="Counts the attempts at this delivery", examples=[1])
    url: str = Field(description="Where it was sent", examples=["https://example.com/webhook"])
    request_headers: Annotated[dict[str, str], BeforeValidator(_read)] = Field(
        description="As they were sent, without the signatures"
    )
    response_code: int | None = Field(
        description="The HTTP status that was answered; null where none was", examples=[200]
    )
    response_body: str | None = Field(description="The first 2 kB")
    error: str | None = Field(
        description="timeout, no_public_address, connect_failed, tls_failed, answer_broken, status_500 ..."
    )
    duration_ms: int = Field(description="Milliseconds that it took", examples=[87])
    created_at: datetime = Field(description="When it had ended, UTC, ISO 8601")


class DeliveryDetailResponse(DeliveryResponse):
    """A delivery with what was sent, and what came of each attempt."""

    payload: str = Field(description="The exact text that is signed and sent")
    response_body: str | None = Field(description="The first 2 kB of what the last attempt was answered")
    attempt_log: list[AttemptResponse] = Field(description="Every attempt, oldest first", default_factory=list)


class DeliveryList(ResponseModel):
    """Deliveries, newest first."""

    deliveries: list[DeliveryResponse] = Field(description="Newest first")
    next_cursor: str | None = Field(description="Asks for the next page; null on the last")


class TestSentResponse(ResponseModel):
    """A test event was written; its delivery stands in the endpoint's list in a moment."""

    webhook_id: int = Field(description="The endpoint", examples=[1])
    event_type: EventType = Field(description="Always webhook.test", examples=[EventType.WEBHOOK_TEST])
    event_id: PublicEventId = Field(description="As its delivery names it")
    sequence: int = Field(description="Its place in the log", examples=[7])


class ResendResponse(ResponseModel):
    """What is due again."""

    scheduled: int = Field(description="How many deliveries are due again", examples=[17])
    next_since: datetime | None = Field(
        description="Ask again from here for the rest, UTC, ISO 8601; null where that was all"
    )


class ProblemResponse(ResponseModel):
    """One thing that is wrong, and what to do."""

    code: str = Field(description="Stable, for programs", examples=["BODY_REWRITTEN"])
    message: str = Field(description="What is wrong and what to do, for people")


class VerifyResponse(ResponseModel):
    """Whether a receiver should take it, and every reason why not."""

    valid: bool = Field(description="Whether it is authentic and fresh", validation_alias="is_valid")
    authentic: bool = Field(validation_alias="is_authentic", description="Signed by the secret, over this body")
    fresh: bool = Field(validation_alias="is_fresh", description="Sent within the last 5 minutes")
    problems: list[ProblemResponse] = Field(description="Everything that is wrong; empty where it is valid")


class EventTypeResponse(ResponseModel):
    """One type of event: what it means, the JSON Schema of its data, and an example."""

    type: EventType = Field(description="The type")
    description: str = Field(description="What has happened then")
    json_schema: dict[str, Any] = Field(description="The JSON Schema of its data")
    example: dict[str, Any] = Field(description="Data of such an event")


class EventTypeList(ResponseModel):
    """Every type of event that an endpoint can get."""

    event_types: Sequence[EventTypeResponse] = Field(description="Every type there is")
