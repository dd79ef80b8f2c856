"""Verifying a webhook as its receiver does, with an explanation of what is wrong."""

import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain.webhooks import body_signature, lowered, standard_signature

TOLERANCE_SECONDS = 300
STANDARD_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a stable code, and a sentence that says what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the body is ours, whether it is fresh, and every problem that was found."""

    is_authentic: bool
    is_fresh: bool
    problems: tuple[Problem, ...]

    @property
    def is_valid(self) -> bool:
        """Whether a receiver should accept it."""
        return self.is_authentic and self.is_fresh


def verify(headers: Mapping[str, str], body: str, secrets: Sequence[str], now: float) -> Verification:
    """Check what was received against secrets (any may have signed it) at a time in unix seconds."""
    shown, raw = lowered(headers), body.encode()
    signature_problems = list(_signature_problems(shown, raw, secrets))
    time_problems = list(_time_problems(shown, now))
    return Verification(not signature_problems, not time_problems, (*signature_problems, *time_problems))


def _signature_problems(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> Iterator[Problem]:
    has_standard = any(name in headers for name in STANDARD_HEADERS)
    has_ours = "x-webhook-signature" in headers
    if has_standard:
        yield from _standard_problems(headers, body, secrets)
    if has_ours and not _body_matches(headers, body, secrets):
        yield from _why(headers, body, secrets, "X-Webhook-Signature")
    if not (has_standard or has_ours):
        yield Problem("SIGNATURE_MISSING", "Neither webhook-signature nor X-Webhook-Signature is among the headers.")


def _standard_problems(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> Iterator[Problem]:
    if missing := [name for name in STANDARD_HEADERS if name not in headers]:
        yield Problem("HEADER_MISSING", f"Missing: {', '.join(missing)}. All three are needed to verify.")
    elif not _standard_matches(headers, body, secrets):
        yield from _why(headers, body, secrets, "webhook-signature")


def _standard_matches(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    given = headers["webhook-signature"].split()
    return any(
        _same(signature, standard_signature(secret, headers["webhook-id"], headers["webhook-timestamp"], body))
        for signature in given
        for secret in secrets
    )


def _body_matches(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    names = ("x-webhook-signature", "x-webhook-signature-previous")
    given = [headers[name] for name in names if name in headers]
    return any(_same(signature, body_signature(secret, body)) for signature in given for secret in secrets)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _matches(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], header: str) -> bool:
    check = _standard_matches if header == "webhook-signature" else _body_matches
    return check(headers, body, secrets)


def _why(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], header: str) -> Iterator[Problem]:
    """The likeliest reason that a signature does not match."""
    wrong_form = _wrong_form(headers, header)
    if wrong_form is not None:
        yield wrong_form
    elif _matches(headers, body.strip(), secrets, header):
        yield Problem(
            "BODY_PADDED", f"{header} matches the body without white space around it: hash the bytes as sent."
        )
    elif any(_matches(headers, other, secrets, header) for other in _rewritten(body)):
        yield Problem(
            "BODY_REWRITTEN", f"{header} matches this JSON written another way: hash the raw body before parsing it."
        )
    else:
        yield Problem(
            "SIGNATURE_MISMATCH",
            f"{header} does not match: another secret signed it, or body, id or timestamp was changed.",
        )


def _wrong_form(headers: Mapping[str, str], header: str) -> Problem | None:
    if header == "webhook-signature":
        if any(part.startswith("v1,") for part in headers["webhook-signature"].split()):
            return None
        return Problem("SIGNATURE_FORM", "webhook-signature holds no part that begins with v1, and base64.")
    if headers["x-webhook-signature"].startswith("sha256="):
        return None
    return Problem("SIGNATURE_FORM", "X-Webhook-Signature must be sha256= and the digest in hex.")


def _rewritten(body: bytes) -> Iterator[bytes]:
    """The body as we would have written its JSON."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    yield json.dumps(value, sort_keys=True, ensure_ascii=True).encode()


def _time_problems(headers: Mapping[str, str], now: float) -> Iterator[Problem]:
    text = headers.get("webhook-timestamp", headers.get("x-webhook-timestamp"))
    if text is None:
        yield Problem("TIMESTAMP_MISSING", "webhook-timestamp is not among the headers, so a replay cannot be told.")
    elif not (text.isascii() and text.isdigit() and len(text) <= 12):
        yield Problem("TIMESTAMP_FORM", "webhook-timestamp must be whole unix seconds.")
    elif abs(now - int(text)) > TOLERANCE_SECONDS:
        apart = round(now - int(text))
        where = f"{apart} s in the past" if apart > 0 else f"{-apart} s in the future"
        yield Problem("TIMESTAMP_TOO_FAR", f"The timestamp is {where}; accept at most {TOLERANCE_SECONDS} s.")
