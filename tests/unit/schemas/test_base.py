"""Shared fields: exact numbers, bounded ids, storable text."""

from decimal import Decimal
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.schemas.base import Amount, Fraction, PathId, Percentage, RequestModel, SafeStr, exact_decimal

amount = TypeAdapter[Decimal](Amount)
path_id = TypeAdapter[int](PathId)


class Body(RequestModel):
    name: str
    tags: list[SafeStr] | None = None


def codes(caught: pytest.ExceptionInfo[ValidationError]) -> list[str]:
    return [error["type"] for error in caught.value.errors()]


@given(st.decimals(min_value="1e-18", max_value="9e19", places=18, allow_nan=False, allow_infinity=False))
def test_an_amount_keeps_every_digit_as_number_and_as_text(value: Decimal) -> None:
    assert amount.validate_python(value) == value
    assert amount.validate_python(format(value, "f")) == value


@pytest.mark.parametrize(("given_value", "value"), [(5, "5"), (Decimal("1E+5"), "100000"), ("0.50", "0.5")])
def test_integers_exponents_and_text_are_read(given_value: object, value: str) -> None:
    assert amount.validate_python(given_value) == Decimal(value)


@pytest.mark.parametrize(
    "wrong",
    [
        True,
        None,
        0.5,
        [],
        {},
        b"1",
        0,
        -1,
        "0",
        "-1",
        "",
        " 1",
        "1 ",
        "1e5",
        "1_000",
        "NaN",
        "Infinity",
        "+1",
        ".5",
        "5.",
        "٣",
        "0x10",
        "1" * 31,
        "0." + "1" * 19,
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("1e400"),
        Decimal("1e-400"),
        Decimal("1e20"),
        10**20,
        10**39,
        Decimal("0.1234567890123456789"),
    ],
)
def test_anything_else_is_no_amount(wrong: object) -> None:
    with pytest.raises(ValidationError):
        amount.validate_python(wrong)


def test_trailing_zeros_are_not_counted_as_decimals() -> None:
    assert exact_decimal(Decimal("1." + "0" * 40)) == 1


@pytest.mark.parametrize(("field", "most"), [(Fraction, "1"), (Percentage, "99.99")])
def test_shares_have_bounds(field: type, most: str) -> None:
    adapter = TypeAdapter[Decimal](field)
    assert adapter.validate_python(most) == Decimal(most)
    for wrong in ("0", "100", "-0.1"):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@pytest.mark.parametrize("right", ["1", "9223372036854775807", 7])
def test_an_id_is_a_positive_bigint(right: object) -> None:
    assert path_id.validate_python(right) == int(str(right))


@pytest.mark.parametrize(
    "wrong", ["0", "-1", "9223372036854775808", "1" * 30, "1e3", "1.0", " 1", "1_0", "٣", "", "abc", "+1"]
)
def test_anything_else_is_no_id(wrong: str) -> None:
    with pytest.raises(ValidationError):
        path_id.validate_python(wrong)


def test_unknown_fields_are_refused_by_name() -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"name": "x", "is_superuser": True})
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [
        (("is_superuser",), "extra_forbidden")
    ]


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff tail"])
def test_text_that_no_column_holds_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"name": text})
    assert codes(caught) == ["text_not_storable"]
    with pytest.raises(ValidationError):
        Body.model_validate({"name": "x", "tags": [text]})


def test_the_request_schema_takes_numbers_and_text() -> None:
    schema = TypeAdapter(Annotated[Decimal, Amount]).json_schema(mode="validation")
    assert [choice["type"] for choice in schema["anyOf"]] == ["number", "string"]
