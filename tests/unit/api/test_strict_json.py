"""Strict JSON: what is read, exactly, and what is refused by name."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.strict_json import load_strict
from app.domain.errors import InvalidRequest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**38), 10**38) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_what_json_is_comes_back(value: Any) -> None:
    assert load_strict(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
        ("1e5", Decimal("1e5")),
        ("-0.0", Decimal("-0.0")),
        ("12345678901234567890123456789", 12345678901234567890123456789),
        ('"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["', "[" * 40),
        ('"' + '\\\\\\"' + "{" * 40 + '"', '\\"' + "{" * 40),
        ("[" * 32 + "]" * 32, None),
        (" \n\t{} ", {}),
    ],
)
def test_what_looks_odd_but_is_json(text: str, value: object) -> None:
    found = load_strict(text.encode())
    assert value is None or (found == value and type(found) is type(value))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "character 0"),
        (b"{", "character 1"),
        (b"{'a':1}", "character 1"),
        (b'{"a":1}x', "character 7"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b'{"a":1,"b":2,"a":1}', "same key twice"),
        (b'{"x":{"a":1,"\\u0061":2}}', "same key twice"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "character 0"),
        (b"1" * 41, "40 characters"),
        (b"0." + b"1" * 63, "64 characters"),
        (b"1e" + b"9" * 63, "64 characters"),
        (b"[" * 33 + b"]" * 33, "deeper than 32"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "deeper than 32"),
        (b"[" * 60_000, "deeper than 32"),
        (b'"a\nb"', "character 2"),
        (b"01", "character 1"),
    ],
)
def test_what_is_not_strict_json_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_strict(body)

    assert caught.value.code == "INVALID_JSON"
    assert reason in str(caught.value.details["reason"])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        load_strict(body)
    except InvalidRequest as refused:
        assert refused.code == "INVALID_JSON"
