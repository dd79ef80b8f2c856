"""Webhooks as rules: what is sent, how it is signed, when it is tried again, when an endpoint is given up."""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from app.domain.events import Event, EventType

USER_AGENT = "MarqetFi-Webhooks/1"
GENERATED_PREFIX = "whsec_"
SECRET_BYTES = 32
LARGEST_BODY = 65_536
MINUTE, HOUR = 60, 3600
# Seconds from a failed attempt to the next: twelve attempts over three days.
SCHEDULE = (
    5,
    30,
    2 * MINUTE,
    10 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    20 * HOUR,
)
JITTER = 0.2
# One that is busy, or hangs, gains nothing from being asked again at once.
LEAST_WAIT_WHEN_BUSY = 60
DISABLE_AFTER = timedelta(days=5)
BREAKER_FAILURES = 10
PROBE_EVERY = timedelta(seconds=60)
BUSY_STATUSES = frozenset({429, 503})
STRUCK_OUT = "********"
NO_PUBLIC_ADDRESS = "no_public_address"

_GIVEN_SECRET = re.compile(r"[\x21-\x7e]{16,128}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_KINDS = frozenset(kind.value for kind in EventType)
_FAMILIES = frozenset(kind.value.partition(".")[0] for kind in EventType)


class SecretInvalid(ValueError):
    """A secret that an endpoint may not have; its text says why."""


class BodyTooLarge(ValueError):
    """An event that no webhook can carry: a fault of ours."""


def payload_of(event_type: str, timestamp: str, data: Mapping[str, Any], sequence: int) -> str:
    """The text that is signed and sent: JSON with sorted keys, in ASCII, the same at every attempt.

    A reader in Python that parses it and writes it again with sorted keys gets the same bytes; so `data` has floats
    where they are exact, and text where they are not.
    """
    payload = {"event_type": event_type, "timestamp": timestamp, "data": {**data, "sequence": sequence}}
    text = json.dumps(payload, sort_keys=True, ensure_ascii=True, allow_nan=False)
    if len(text) > LARGEST_BODY:
        raise BodyTooLarge(f"{event_type}: {len(text)} bytes")
    return text


def generated_secret(random: bytes) -> str:
    """A secret made of 32 random bytes, in the form that Standard Webhooks libraries read."""
    if len(random) != SECRET_BYTES:
        raise ValueError(f"a secret is made of {SECRET_BYTES} random bytes")
    return GENERATED_PREFIX + base64.b64encode(random).decode()


def checked_secret(secret: str) -> str:
    """A secret that an owner chose; SecretInvalid for one that is no good."""
    if _GIVEN_SECRET.fullmatch(secret) is None:
        raise SecretInvalid("A secret is 16 to 128 printable ASCII characters without spaces")
    if secret.startswith(GENERATED_PREFIX) and _decoded(secret) is None:
        raise SecretInvalid("After whsec_ a secret is base64 of 24 to 64 bytes")
    return secret


def standard_key(secret: str) -> bytes:
    """The key of the standard signature: the bytes behind whsec_, else the secret's own."""
    decoded = _decoded(secret) if secret.startswith(GENERATED_PREFIX) else None
    return secret.encode() if decoded is None else decoded


def _decoded(secret: str) -> bytes | None:
    try:
        key = base64.b64decode(secret.removeprefix(GENERATED_PREFIX), validate=True)
    except binascii.Error:
        return None
    return key if 24 <= len(key) <= 64 else None


def body_signature(secret: str, body: bytes) -> str:
    """The signature of X-Webhook-Signature: over the body alone, by the secret as it is written."""
    return "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()


def signing_text(message_id: str, timestamp: str, body: bytes) -> bytes:
    """What the standard signature covers: the id and the time of the attempt too."""
    return f"{message_id}.{timestamp}.".encode() + body


def standard_signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The signature of webhook-signature, by the Standard Webhooks specification."""
    digest = hmac.digest(standard_key(secret), signing_text(message_id, timestamp, body), "sha256")
    return "v1," + base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class Message:
    """One attempt at one delivery. `secrets`: the present one, then the one before while both count."""

    event_id: int
    delivery_id: int
    event_type: str
    body: bytes
    attempt: int
    timestamp: int
    secrets: tuple[str, ...]

    @property
    def message_id(self) -> str:
        """The event's id: the same to every endpoint and at every attempt."""
        return f"evt_{self.event_id}"

    def headers(self) -> dict[str, str]:
        """Everything that is sent beside the body."""
        timestamp = str(self.timestamp)
        standard = [standard_signature(secret, self.message_id, timestamp, self.body) for secret in self.secrets]
        present, *before = self.secrets
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "X-Webhook-Signature": body_signature(present, self.body),
            "X-Webhook-Event-Type": self.event_type,
            "X-Webhook-Delivery-ID": f"delivery_{self.delivery_id}",
            "X-Webhook-Timestamp": timestamp,
            "X-Webhook-Attempt": str(self.attempt),
            "webhook-id": self.message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(standard),
        }
        if before:
            headers["X-Webhook-Signature-Previous"] = body_signature(before[0], self.body)
        return headers


class Failure(StrEnum):
    """Why an attempt brought no answer."""

    TIMEOUT = "timeout"
    DNS = "dns_failed"
    CONNECT = "connect_failed"
    TLS = "tls_failed"
    BLOCKED_ADDRESS = "blocked_address"
    BROKEN = "answer_broken"
    URL = "url_invalid"
    UNREADABLE = "secret_unreadable"

    @property
    def told(self) -> str:
        """The word for who owns the endpoint.

        A name that is not known and one that leads inside are told alike: else anybody could ask which names of our
        own network there are.
        """
        return NO_PUBLIC_ADDRESS if self in {Failure.DNS, Failure.BLOCKED_ADDRESS} else self.value


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one attempt: a status with the beginning of the body, or why there is none."""

    status: int | None = None
    body: str | None = None
    failure: Failure | None = None
    retry_after: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the endpoint has taken the event."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint asks never to be called again."""
        return self.status == 410

    @property
    def is_hopeless(self) -> bool:
        """Whether the same request can never work."""
        return self.is_gone or self.failure is Failure.URL

    @property
    def error(self) -> str | None:
        """The failure in a word, for the delivery's owner."""
        if self.is_success:
            return None
        return self.failure.told if self.failure else f"status_{self.status}"


def next_delay(tries: int, reply: Reply, chance: float) -> float | None:
    """Seconds to wait after the `tries`-th failed attempt; None when there is to be no other.

    `chance` in [0, 1) spreads those that failed together. A Retry-After counts up to twice the scheduled wait.
    """
    if tries > len(SCHEDULE) or reply.is_hopeless:
        return None
    wait: float = SCHEDULE[tries - 1]
    if reply.status == 429 or reply.failure is Failure.TIMEOUT:
        wait = max(wait, LEAST_WAIT_WHEN_BUSY)
    asked = _retry_after(reply)
    if asked is not None:
        return min(max(asked, wait), 2 * wait)
    return wait * (1 - JITTER + 2 * JITTER * chance)


def _retry_after(reply: Reply) -> int | None:
    """The seconds that a busy endpoint asks for; a date, or nonsense, is not followed."""
    text = (reply.retry_after or "").strip()
    return int(text) if reply.status in BUSY_STATUSES and _SECONDS.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint has done lately: `failures` in a row, since when, and until when it is left alone."""

    failures: int = 0
    failing_since: datetime | None = None
    paused_until: datetime | None = None
    disabled_for: str | None = None

    def after(self, reply: Reply, now: datetime) -> "Health":
        """Its health after one more attempt."""
        if reply.is_success:
            return Health()
        failures, since = self.failures + 1, self.failing_since or now
        paused_until = now + PROBE_EVERY if failures >= BREAKER_FAILURES else None
        return Health(failures, since, paused_until, _disabled_for(reply, since, now))


def _disabled_for(reply: Reply, failing_since: datetime, now: datetime) -> str | None:
    if reply.is_gone:
        return "gone"
    return "failing" if now - failing_since >= DISABLE_AFTER else None


def next_attempt(due: datetime | None, paused_until: datetime | None) -> datetime | None:
    """When a delivery is tried next: once it is due, and its endpoint's pause is over; None where it has ended."""
    return due if due is None or paused_until is None else max(due, paused_until)


def free_slots(ages: Iterable[float], concurrency: int, *, slow_after: float = 1.0) -> int:
    """How many more attempts may begin, given how long those under way have taken.

    Slow ones have slots of their own, as many again: who hangs must not keep the others waiting.
    """
    under_way = list(ages)
    slow = sum(age >= slow_after for age in under_way)
    return concurrency - (len(under_way) - min(slow, concurrency))


def failing_room(failing_under_way: int, free: int, concurrency: int) -> int:
    """How many more attempts at endpoints that fail may begin: they have a quarter of all slots."""
    return max(0, min(free, concurrency // 4 - failing_under_way))


def is_known_filter(pattern: str) -> bool:
    """Whether a filter can match anything: a type, a family such as `trade.*`, or `*`."""
    family, _, rest = pattern.partition(".")
    return pattern == "*" or pattern in _KINDS or (rest == "*" and family in _FAMILIES)


def matches(patterns: Collection[str], event_type: str) -> bool:
    """Whether an endpoint with these filters wants an event of the type."""
    return any(wanted in patterns for wanted in ("*", event_type, f"{event_type.partition('.')[0]}.*"))


def types_matching(patterns: Collection[str]) -> list[str]:
    """Every event type that these filters want."""
    return [kind.value for kind in EventType if matches(patterns, kind.value)]


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an attempt as its owner reads them later: without the signatures, which could be used again."""
    return {name: STRUCK_OUT if "signature" in name.lower() else value for name, value in headers.items()}


class Endpoint(Protocol):
    """An endpoint that events can tell about."""

    id: Any
    user_id: Any
    url: Any
    failing_since: Any
    disabled_at: Any
    disabled_reason: Any


def disabled_event(endpoint: Endpoint) -> Event:
    """Tells the owner that an endpoint was switched off, and why: gone, or failing for days."""
    facts = {
        "webhook_id": endpoint.id,
        "user_id": endpoint.user_id,
        "url": endpoint.url,
        "reason": endpoint.disabled_reason,
        "failing_since": endpoint.failing_since,
        "disabled_at": endpoint.disabled_at,
    }
    return Event(endpoint.user_id, EventType.WEBHOOK_DISABLED, facts)


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case, as HTTP compares them."""
    return {name.strip().lower(): value.strip() for name, value in headers.items()}
