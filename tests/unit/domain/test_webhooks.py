"""What is sent and signed, when it is tried again, and when an endpoint is given up."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.json import decode_floats, encode_event
from app.domain.webhooks import (
    SCHEDULE,
    BodyTooLarge,
    Failure,
    Health,
    Message,
    Reply,
    SecretInvalid,
    body_signature,
    checked_secret,
    failing_room,
    free_slots,
    generated_secret,
    is_known_filter,
    matches,
    next_attempt,
    next_delay,
    payload_of,
    standard_signature,
    types_matching,
)

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
DATA = {
    "trade_id": 123,
    "user_id": 456,
    "asset": "BTC",
    "direction": "long",
    "entry_price": 45000.0,
    "collateral": 1000.0,
    "leverage": 10,
    "transaction_hash": "0xabc",
}
# Made by two independent libraries, standardwebhooks and svix.
VECTORS = [
    (
        "webhook_secret_key",
        "sha256=816de55fbbafe0a6b7051f265e288b0b9ff08b34dc5ca7151c4656bc158a6fb8",
        "v1,dmehXJKw4jaU/EBtgbNCDb7bPWwwR6yfE//4xQOXwiI=",
    ),
    (
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "sha256=bb65f541250241887aa6c460a3953facc3e388ba0b02bd43b4166abeac5c6053",
        "v1,mARc5aN6hI/P8UgN3LvKl72V6Ldw6MnS9NpB+O1y8uI=",
    ),
]


def golden_body() -> bytes:
    payload = {"event_type": "trade.executed", "timestamp": "2025-01-21T12:00:00Z", "data": DATA}
    return json.dumps(payload, sort_keys=True).encode()


def sent(data: Mapping[str, object]) -> dict[str, Any]:
    """Data as the log holds it and webhooks send it."""
    read: dict[str, Any] = decode_floats(encode_event(data))
    return read


@pytest.mark.parametrize(("secret", "of_body", "standard"), VECTORS)
def test_both_signatures_are_those_of_other_libraries(secret: str, of_body: str, standard: str) -> None:
    body = golden_body()
    assert len(body) == 240
    assert body_signature(secret, body) == of_body
    assert standard_signature(secret, "evt_123", "1737460800", body) == standard


def test_the_payload_is_the_golden_body_and_the_sequence() -> None:
    text = payload_of("trade.executed", "2025-01-21T12:00:00Z", sent(DATA), 7)
    assert text.startswith('{"data": {"asset": "BTC", "collateral": 1000.0,')
    assert text.replace('"sequence": 7, ', "").encode() == golden_body()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False, places=6)
    | st.integers(-(10**38) + 1, 10**38 - 1).map(lambda units: Decimal(units).scaleb(-18)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.dictionaries(st.text(), json_values, max_size=5), sequence=st.integers(1, 2**63 - 1))
def test_a_reader_that_writes_the_json_again_gets_the_same_bytes(data: dict[str, object], sequence: int) -> None:
    text = payload_of("order.filled", "2026-01-05T12:00:00Z", sent(data), sequence)
    assert json.dumps(json.loads(text), sort_keys=True) == text
    assert text.isascii()


@pytest.mark.parametrize(
    ("value", "text_sent"),
    [
        ("45000", "45000.0"),
        ("0.0000001", "1e-07"),
        ("54577.959447567827378954", '"54577.959447567827378954"'),
        ("12345678901234567891", '"12345678901234567891"'),
    ],
)
def test_what_no_float_holds_is_sent_as_a_string(value: str, text_sent: str) -> None:
    text = payload_of("order.filled", "2026-01-05T12:00:00Z", sent({"n": Decimal(value)}), 1)
    assert text.startswith(f'{{"data": {{"n": {text_sent}, "sequence": 1}}')


def test_an_event_too_large_for_any_receiver_is_refused() -> None:
    with pytest.raises(BodyTooLarge):
        payload_of("order.filled", "2026-01-05T12:00:00Z", sent({"text": "x" * 65_536}), 1)


def test_headers_of_an_attempt() -> None:
    secret = VECTORS[1][0]
    message = Message(123, 9, "trade.executed", golden_body(), 2, 1737460800, (secret,))
    assert message.headers() == {
        "Content-Type": "application/json",
        "User-Agent": "MarqetFi-Webhooks/1",
        "X-Webhook-Signature": VECTORS[1][1],
        "X-Webhook-Event-Type": "trade.executed",
        "X-Webhook-Delivery-ID": "delivery_9",
        "X-Webhook-Timestamp": "1737460800",
        "X-Webhook-Attempt": "2",
        "webhook-id": "evt_123",
        "webhook-timestamp": "1737460800",
        "webhook-signature": VECTORS[1][2],
    }


def test_while_a_secret_is_rotated_both_sign() -> None:
    (old, old_body, old_standard), (new, new_body, new_standard) = VECTORS
    headers = Message(123, 9, "trade.executed", golden_body(), 1, 1737460800, (new, old)).headers()
    assert headers["X-Webhook-Signature"] == new_body
    assert headers["X-Webhook-Signature-Previous"] == old_body
    assert headers["webhook-signature"] == f"{new_standard} {old_standard}"


@pytest.mark.parametrize("secret", ["webhook_secret_key", "whsec_" + base64.b64encode(bytes(24)).decode(), "x" * 128])
def test_secrets_that_an_owner_may_choose(secret: str) -> None:
    assert checked_secret(secret) == secret


@pytest.mark.parametrize(
    "secret",
    ["x" * 15, "x" * 129, "with a space in it", "naïve-but-long-enough", "tab\tin-the-middle", "whsec_no base64 here",
     "whsec_AAECAwQFBgcICQoLDA0ODw==", "whsec_" + base64.b64encode(bytes(65)).decode()],
)  # fmt: skip
def test_secrets_that_are_refused(secret: str) -> None:
    with pytest.raises(SecretInvalid):
        checked_secret(secret)


def test_a_generated_secret_is_one_that_may_be_chosen() -> None:
    assert checked_secret(generated_secret(bytes(range(32)))) == VECTORS[1][0]
    with pytest.raises(ValueError, match="32"):
        generated_secret(b"short")


def test_the_schedule_of_retries() -> None:
    waits = [next_delay(tries, Reply(status=500), 0.5) for tries in range(1, 13)]
    assert waits[:-1] == [pytest.approx(wait) for wait in SCHEDULE]
    assert SCHEDULE == (5, 30, 120, 600, 1800, 7200, 18000, 36000, 50400, 72000, 72000)
    assert waits[-1] is None


@given(tries=st.integers(1, len(SCHEDULE)), chance=st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_a_fifth(tries: int, chance: float) -> None:
    wait = next_delay(tries, Reply(failure=Failure.CONNECT), chance)
    assert wait is not None
    assert 0.8 * SCHEDULE[tries - 1] - 1e-6 <= wait <= 1.2 * SCHEDULE[tries - 1] + 1e-6


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (Reply(status=503, retry_after="1"), 30),
        (Reply(status=503, retry_after="45"), 45),
        (Reply(status=503, retry_after="86400"), 60),
        (Reply(status=429, retry_after="90"), 90),
        (Reply(status=429, retry_after="1"), 60),
        (Reply(status=429), 60),
        (Reply(failure=Failure.TIMEOUT), 60),
        (Reply(status=503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), 30),
        (Reply(status=503, retry_after="-5"), 30),
        (Reply(status=503, retry_after="9" * 30), 30),
        (Reply(status=500, retry_after="45"), 30),
    ],
)
def test_what_a_busy_endpoint_asks_for_counts_within_bounds(reply: Reply, wait: float) -> None:
    assert next_delay(2, reply, 0.5) == pytest.approx(wait)


@pytest.mark.parametrize("reply", [Reply(status=410), Reply(failure=Failure.URL)])
def test_what_can_never_work_is_not_tried_again(reply: Reply) -> None:
    assert next_delay(1, reply, 0.5) is None


@pytest.mark.parametrize(("status", "is_success"), [(200, True), (204, True), (299, True), (301, False), (199, False)])
def test_which_statuses_are_success(status: int, is_success: bool) -> None:
    assert Reply(status=status).is_success is is_success


def test_an_endpoint_is_given_up_after_five_days_without_success() -> None:
    failing = Health().after(Reply(status=500), NOW)
    assert failing == Health(1, NOW, None, None)
    assert failing.after(Reply(status=500), NOW + timedelta(days=5, seconds=-1)).disabled_for is None
    assert failing.after(Reply(status=500), NOW + timedelta(days=5)).disabled_for == "failing"
    assert failing.after(Reply(status=200), NOW + timedelta(days=6)) == Health()


def test_gone_is_given_up_at_once() -> None:
    assert Health().after(Reply(status=410), NOW).disabled_for == "gone"


def test_after_ten_failures_there_is_a_probe_a_minute() -> None:
    health = Health()
    for _ in range(9):
        health = health.after(Reply(status=500), NOW)
    assert health.paused_until is None
    assert health.after(Reply(status=500), NOW).paused_until == NOW + timedelta(seconds=60)


def test_a_delivery_waits_until_it_is_due_and_its_endpoints_pause_is_over() -> None:
    later = NOW + timedelta(seconds=1)
    assert next_attempt(NOW, later) == next_attempt(later, NOW) == next_attempt(later, None) == later
    assert next_attempt(None, later) is None, "one that has ended is not tried"


def test_slow_attempts_do_not_take_the_slots_of_others() -> None:
    assert free_slots([], 200) == 200
    assert free_slots([0.1] * 200, 200) == 0
    assert free_slots([5.0] * 200, 200) == 200
    assert free_slots([5.0] * 400, 200) == 0
    assert free_slots([5.0] * 200 + [0.1] * 50, 200) == 150


def test_failing_endpoints_have_a_quarter_of_the_slots() -> None:
    assert failing_room(0, 200, 200) == 50
    assert failing_room(45, 200, 200) == 5
    assert failing_room(60, 200, 200) == 0
    assert failing_room(0, 3, 200) == 3


@pytest.mark.parametrize(
    ("patterns", "event_type", "wanted"),
    [
        (["*"], "order.filled", True),
        (["trade.*"], "trade.closed", True),
        (["trade.*"], "order.filled", False),
        (["trade.closed", "order.filled"], "order.filled", True),
        (["trade.closed"], "trade.executed", False),
        ([], "trade.executed", False),
    ],
)
def test_filters(patterns: list[str], event_type: str, wanted: bool) -> None:
    assert matches(patterns, event_type) is wanted


@pytest.mark.parametrize(
    ("pattern", "is_known"),
    [("*", True), ("trade.*", True), ("trade.closed", True), ("trade", False), ("trade.", False), ("*.closed", False),
     ("trades.*", False), ("trade.**", False), ("", False), ("TRADE.CLOSED", False)],
)  # fmt: skip
def test_which_filters_mean_something(pattern: str, is_known: bool) -> None:
    assert is_known_filter(pattern) is is_known


def test_the_types_that_filters_want() -> None:
    assert types_matching(["swap.*", "trade.closed"]) == [
        "trade.closed",
        "swap.processing",
        "swap.completed",
        "swap.failed",
    ]
