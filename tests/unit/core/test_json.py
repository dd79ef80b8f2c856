"""JSON with exact numbers: every digit of an answer, and of an event."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.json import decode, decode_exact, encode, encode_event, rfc3339
from app.domain.enums import OrderSide

BERLIN = timezone(timedelta(hours=1))
stored_values = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda units: Decimal(units).scaleb(-18))
event_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | stored_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(stored_values)
def test_an_answer_keeps_every_digit(value: Decimal) -> None:
    parsed = json.loads(encode({"n": value}), parse_float=Decimal, parse_int=Decimal)

    assert parsed == {"n": value}


@given(stored_values)
def test_numbers_are_strings_when_asked(value: Decimal) -> None:
    parsed = json.loads(encode({"n": value, "count": 3}, numbers_as_strings=True))

    assert isinstance(parsed["n"], str)
    assert Decimal(parsed["n"]) == value
    assert parsed["count"] == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.500000000000000000"), b"0.5"),
        (Decimal("1E+5"), b"100000"),
        (Decimal("1E-18"), b"0.000000000000000001"),
        (Decimal("-0.000"), b"0"),
        (Decimal("12345678901234567890.123456789012345678"), b"12345678901234567890.123456789012345678"),
        (datetime(2026, 1, 5, 13, 0, 0, 120000, tzinfo=BERLIN), b'"2026-01-05T13:00:00.120000+01:00"'),
        (datetime(2026, 1, 5, 12, 0, tzinfo=UTC), b'"2026-01-05T12:00:00Z"'),
        (OrderSide.BUY, b'"buy"'),
        ({5: Decimal("1.0")}, b'{"5":1}'),
    ],
)
def test_forms_of_an_answer(value: object, text: bytes) -> None:
    assert encode(value) == text


@pytest.mark.parametrize("numbers_as_strings", [False, True])
def test_what_has_no_form_is_refused(numbers_as_strings: bool) -> None:
    with pytest.raises(TypeError):
        encode({"x": {1, 2}}, numbers_as_strings=numbers_as_strings)


@given(st.dictionaries(st.text(), event_values, max_size=5))
@example({"price": Decimal("0.1"), "exact": Decimal("0.123456789012345678"), "zero": Decimal("-0.0")})
@example({"large": Decimal("1E+19"), "small": Decimal("1E-18"), "ü": "\u2028", "whole": Decimal(100)})
def test_an_event_read_and_written_again_is_the_same_text(data: Mapping[str, object]) -> None:
    written = encode_event(data)

    assert encode_event(decode_exact(written)) == written
    assert written.isascii()


@given(stored_values)
@example(Decimal("12345678901234567.123"))
@example(Decimal(2**63 + 1))
def test_a_number_of_an_event_has_all_its_digits(value: Decimal) -> None:
    read = decode_exact(encode_event({"n": value}))["n"]

    assert isinstance(read, Decimal)
    assert read == value


def test_numbers_of_everyday_are_numbers_in_events() -> None:
    data = {"price": Decimal("95123.400000000000000000"), "size": Decimal("0.05256"), "pnl": Decimal(-7)}

    assert encode_event(data) == '{"pnl": -7.0, "price": 95123.4, "size": 0.05256}'


@pytest.mark.parametrize(
    ("value", "text"),
    [("12345678901234567.123", "12345678901234567.123"), ("12345678901234567891", "12345678901234567891.0")],
)
def test_digits_that_a_float_loses_are_written_in_events(value: str, text: str) -> None:
    assert encode_event({"n": Decimal(value)}) == f'{{"n": {text}}}'


def test_forms_of_an_event() -> None:
    data = {
        "at": datetime(2026, 1, 5, 13, 0, tzinfo=BERLIN),
        "day": date(2026, 1, 5),
        "id": UUID(int=7),
        "side": OrderSide.SELL,
        "list": (1, Decimal("0.5")),
        "none": None,
    }

    assert json.loads(encode_event(data)) == {
        "at": "2026-01-05T12:00:00Z",
        "day": "2026-01-05",
        "id": "00000000-0000-0000-0000-000000000007",
        "side": "sell",
        "list": [1, 0.5],
        "none": None,
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_event_holds_no_number_that_json_lacks(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_event({"n": value})


def test_instants_are_utc_with_z() -> None:
    assert rfc3339(datetime(2026, 1, 5, 13, 0, 0, 5, tzinfo=BERLIN)) == "2026-01-05T12:00:00.000005Z"


def test_decode_reads_what_encode_wrote() -> None:
    assert decode(encode({"ids": [1, 2], "none": None})) == {"ids": [1, 2], "none": None}
