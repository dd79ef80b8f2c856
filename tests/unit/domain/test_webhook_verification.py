"""What a receiver's verification says about what it was given."""

import json

import pytest

from app.domain.webhook_verification import Verification, verify
from app.domain.webhooks import Message

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
NOW = 1_737_460_800
BODY = json.dumps({"data": {"asset": "BTC", "price": 1.5}, "event_type": "trade.closed"}, sort_keys=True)
HEADERS = Message(123, 9, "trade.closed", BODY.encode(), 1, NOW, (SECRET,)).headers()


def codes(verification: Verification) -> list[str]:
    return [problem.code for problem in verification.problems]


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in HEADERS.items() if name not in names}


def test_what_we_send_is_valid() -> None:
    verification = verify(HEADERS, BODY, [SECRET], NOW + 299)
    assert verification == Verification(is_authentic=True, is_fresh=True, problems=())
    assert verification.is_valid


def test_names_of_headers_are_compared_as_http_does() -> None:
    assert verify({name.upper(): f" {value} " for name, value in HEADERS.items()}, BODY, [SECRET], NOW).is_valid


def test_either_signature_alone_is_enough() -> None:
    assert verify(without("X-Webhook-Signature"), BODY, [SECRET], NOW).is_valid
    only_ours = without("webhook-id", "webhook-timestamp", "webhook-signature")
    assert verify(only_ours, BODY, [SECRET], NOW).is_valid


def test_the_secret_before_is_good_while_both_sign() -> None:
    headers = Message(123, 9, "trade.closed", BODY.encode(), 1, NOW, ("a-newer-secret-of-ours", SECRET)).headers()
    assert verify(headers, BODY, [SECRET], NOW).is_valid
    assert verify(headers, BODY, ["a-newer-secret-of-ours"], NOW).is_valid


@pytest.mark.parametrize(
    ("headers", "body", "secret", "expected"),
    [
        (HEADERS, BODY, "another-secret-entirely", ["SIGNATURE_MISMATCH"] * 2),
        (HEADERS, BODY.replace("BTC", "ETH"), SECRET, ["SIGNATURE_MISMATCH"] * 2),
        (HEADERS, json.dumps(json.loads(BODY), separators=(",", ":")), SECRET, ["BODY_REWRITTEN"] * 2),
        (HEADERS, BODY + "\n", SECRET, ["BODY_PADDED"] * 2),
        (without("webhook-id"), BODY, SECRET, ["HEADER_MISSING"]),
        ({"X-Webhook-Timestamp": str(NOW)}, BODY, SECRET, ["SIGNATURE_MISSING"]),
        (HEADERS | {"webhook-id": "evt_124"}, BODY, SECRET, ["SIGNATURE_MISMATCH"]),
        (HEADERS | {"webhook-signature": "nothing"}, BODY, SECRET, ["SIGNATURE_FORM"]),
        (HEADERS | {"X-Webhook-Signature": "1234"}, BODY, SECRET, ["SIGNATURE_FORM"]),
        (HEADERS | {"webhook-signature": "v1,\u00e9"}, BODY, SECRET, ["SIGNATURE_MISMATCH"]),
        (HEADERS, "not json", SECRET, ["SIGNATURE_MISMATCH"] * 2),
        (HEADERS, "[" * 5000, SECRET, ["SIGNATURE_MISMATCH"] * 2),
    ],
)
def test_what_is_wrong_is_said(headers: dict[str, str], body: str, secret: str, expected: list[str]) -> None:
    verification = verify(headers, body, [secret], NOW)
    assert codes(verification) == expected
    assert not verification.is_authentic
    assert verification.is_fresh


@pytest.mark.parametrize(("now", "where"), [(NOW + 301, "301 s in the past;"), (NOW - 302, "302 s in the future;")])
def test_a_replay_is_told(now: int, where: str) -> None:
    verification = verify(HEADERS, BODY, [SECRET], now)
    assert codes(verification) == ["TIMESTAMP_TOO_FAR"]
    assert where in verification.problems[0].message
    assert verification.is_authentic
    assert not verification.is_valid


def test_a_timestamp_that_is_missing_or_none() -> None:
    nothing = {"X-Webhook-Signature": HEADERS["X-Webhook-Signature"]}
    assert codes(verify(nothing, BODY, [SECRET], NOW)) == ["TIMESTAMP_MISSING"]
    assert codes(verify(nothing | {"X-Webhook-Timestamp": "soon"}, BODY, [SECRET], NOW)) == ["TIMESTAMP_FORM"]
