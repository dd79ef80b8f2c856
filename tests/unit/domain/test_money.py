"""Exact decimals: no digit is lost, and what must be rounded is rounded against the user, never for them."""

import decimal
import threading
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import (
    STORED_STEP,
    USDC_STEP,
    ceil_to,
    charge_usdc,
    credit_usdc,
    floor_to,
    is_multiple,
    plain,
    stored,
)

# What NUMERIC(38,18) holds.
stored_values = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda units: Decimal(units).scaleb(-18))
steps = st.sampled_from([Decimal(step) for step in ("1", "0.1", "0.25", "0.00001", "0.000001", "1e-18", "5", "1000")])


@given(stored_values, stored_values)
def test_sums_and_products_of_stored_values_are_exact(one: Decimal, other: Decimal) -> None:
    assert Fraction(one + other) == Fraction(one) + Fraction(other)
    assert Fraction(one - other) == Fraction(one) - Fraction(other)
    assert Fraction(one * other) == Fraction(one) * Fraction(other)


def test_other_threads_calculate_exactly_too() -> None:
    products: list[Decimal] = []
    factor = Decimal("12345678901234567890.123456789012345678")
    thread = threading.Thread(target=lambda: products.append(factor * factor))

    thread.start()
    thread.join()

    assert Fraction(products[0]) == Fraction(factor) ** 2


@given(stored_values, steps)
def test_floor_and_ceiling_enclose_a_value_within_one_step(value: Decimal, step: Decimal) -> None:
    below, above = Fraction(floor_to(value, step)), Fraction(ceil_to(value, step))
    grid, exact = Fraction(step), Fraction(value)

    assert below <= exact <= above
    assert exact - below < grid
    assert above - exact < grid
    assert (below / grid).denominator == (above / grid).denominator == 1


@given(stored_values, steps)
def test_a_multiple_is_what_lies_on_the_grid(value: Decimal, step: Decimal) -> None:
    assert is_multiple(value, step) is ((Fraction(value) / Fraction(step)).denominator == 1)
    assert is_multiple(floor_to(value, step), step)


@pytest.mark.parametrize(
    ("exact", "credited", "charged"),
    [
        ("0.0000001", "0", "0.000001"),
        ("-0.0000001", "-0.000001", "0"),
        ("1.2345678", "1.234567", "1.234568"),
        ("-1.2345678", "-1.234568", "-1.234567"),
        ("7.5", "7.5", "7.5"),
    ],
)
def test_a_user_is_credited_less_and_charged_more(exact: str, credited: str, charged: str) -> None:
    assert credit_usdc(Decimal(exact)) == Decimal(credited)
    assert charge_usdc(Decimal(exact)) == Decimal(charged)


@given(stored_values)
def test_rounding_to_usdc_costs_the_user_less_than_one_base_unit(value: Decimal) -> None:
    assert 0 <= value - credit_usdc(value) < USDC_STEP
    assert 0 <= charge_usdc(value) - value < USDC_STEP


def test_a_quotient_is_cut_to_what_the_database_keeps() -> None:
    assert stored(Decimal(2) / Decimal(3)) == Decimal("0.666666666666666666")
    assert stored(Decimal(-2) / Decimal(3)) == Decimal("-0.666666666666666666")
    assert stored(Decimal("1e19")) == Decimal("1e19")
    assert stored(Decimal(1) / 7).as_tuple().exponent == STORED_STEP.as_tuple().exponent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E+5", "100000"),
        ("0.500", "0.5"),
        ("-0", "0"),
        ("0E-18", "0"),
        ("1E-18", "0.000000000000000001"),
        ("-12.3400", "-12.34"),
        ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
    ],
)
def test_plain_writes_exact_digits(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text


@given(stored_values)
def test_plain_reads_back_as_the_same_value(value: Decimal) -> None:
    text = plain(value)

    assert Decimal(text) == value
    assert "E" not in text
    assert text == plain(Decimal(text))


def test_the_context_is_wide_enough_for_two_full_columns() -> None:
    assert decimal.getcontext().prec >= 76
