"""Sizes, PnL, fees, margin and liquidation: worked examples, and what holds for every position."""

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.enums import PositionSide
from app.domain.money import USDC_STEP, ZERO
from app.domain.positions import (
    average_entry,
    close_at,
    fee_of,
    funding_of,
    liquidate_at,
    liquidation_price,
    maintenance_margin,
    margin_of_part,
    part_of,
    pnl_of,
    roi_of,
    size_of,
    unrealised_pnl,
)

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
STEP = Decimal("0.00001")


@dataclass(frozen=True)
class Held:
    side: PositionSide
    size: Decimal
    entry_price: Decimal
    margin: Decimal


prices = st.decimals(min_value="0.01", max_value="200000", places=2)
amounts = st.decimals(min_value="1", max_value="1000000", places=6)
rates = st.sampled_from([Decimal(0), Decimal("0.0005"), Decimal("0.0123")])
sides = st.sampled_from([LONG, SHORT])


@st.composite
def positions(draw: st.DrawFn) -> Held:
    entry = draw(prices)
    margin = draw(amounts)
    size = size_of(margin, draw(st.integers(1, 200)), entry, STEP)
    assume(size > 0)
    return Held(draw(sides), size, entry, margin)


@pytest.mark.parametrize(
    ("collateral", "leverage", "entry", "step", "size"),
    [
        ("500", 10, "95123.4", "0.00001", "0.05256"),
        ("100", 1, "100", "0.00001", "1"),
        ("1", 1, "100000", "0.001", "0"),
        ("99.999999", 3, "1.08509", "0.01", "276.47"),
    ],
)
def test_size_is_floored_to_the_step(collateral: str, leverage: int, entry: str, step: str, size: str) -> None:
    assert size_of(Decimal(collateral), leverage, Decimal(entry), Decimal(step)) == Decimal(size)


@given(collateral=amounts, leverage=st.integers(1, 200), entry=prices)
def test_one_more_step_would_cost_more_than_there_is(collateral: Decimal, leverage: int, entry: Decimal) -> None:
    size = size_of(collateral, leverage, entry, STEP)

    assert size * entry <= collateral * leverage < (size + STEP) * entry


def test_fee_is_rounded_up_and_zero_stays_zero() -> None:
    assert fee_of(Decimal("0.05256"), Decimal("95123.4"), Decimal("0.0005")) == Decimal("2.499843")
    assert fee_of(Decimal("0.00001"), Decimal("0.01"), Decimal("0.0005")) == USDC_STEP
    assert fee_of(Decimal(1), Decimal(100), ZERO) == ZERO


@pytest.mark.parametrize(
    ("side", "exit_price", "pnl"),
    [(LONG, "110", "20"), (LONG, "95", "-10"), (SHORT, "110", "-20"), (SHORT, "95", "10")],
)
def test_pnl(side: PositionSide, exit_price: str, pnl: str) -> None:
    assert pnl_of(side, Decimal(2), Decimal(100), Decimal(exit_price)) == Decimal(pnl)


@pytest.mark.parametrize(
    ("side", "mark", "shown"),
    [
        (LONG, "110.0000019", "1.000000"),
        (LONG, "99.9999999", "-0.000001"),
        (SHORT, "99.9999999", "0"),
        (SHORT, "110.0000019", "-1.000001"),
    ],
)
def test_what_has_not_been_realised_is_shown_in_base_units_and_never_too_good(
    side: PositionSide, mark: str, shown: str
) -> None:
    assert unrealised_pnl(side, Decimal("0.1"), Decimal(100), Decimal(mark)) == Decimal(shown)


def test_roi_is_in_per_cent_and_zero_without_margin() -> None:
    assert roi_of(Decimal("12.5"), Decimal(100)) == Decimal("12.5")
    assert roi_of(Decimal(-1), Decimal(3)) == Decimal("-33.3334")
    assert roi_of(Decimal(1), Decimal(3)) == Decimal("33.3333")
    assert roi_of(Decimal(5), ZERO) == ZERO


@pytest.mark.parametrize(
    ("side", "leverage", "price"),
    [
        (LONG, 10, "90.909090909090909090"),
        (SHORT, 10, "108.910891089108910892"),
        (LONG, 1, "0"),
        (SHORT, 1, "198.019801980198019802"),
    ],
)
def test_liquidation_price_by_example(side: PositionSide, leverage: int, price: str) -> None:
    size = size_of(Decimal(100), leverage, Decimal(100), STEP)

    assert liquidation_price(side, size, Decimal(100), Decimal(100), Decimal("0.01")) == Decimal(price)


@given(held=positions(), rate=rates)
def test_equity_meets_the_maintenance_margin_at_the_liquidation_price(held: Held, rate: Decimal) -> None:
    price = liquidation_price(held.side, held.size, held.entry_price, held.margin, rate)
    assume(price > 0)
    equity = held.margin + pnl_of(held.side, held.size, held.entry_price, price)

    # The price is cut to 18 decimals, away from the position.
    missing = maintenance_margin(held.size, price, rate) - equity
    assert ZERO <= missing <= held.size * Decimal("1e-18") * (1 + rate)


@given(held=positions(), price=prices, rate=rates)
def test_a_close_explains_every_base_unit(held: Held, price: Decimal, rate: Decimal) -> None:
    closing = close_at(held, held.size, price, rate)
    exact = Fraction(pnl_of(held.side, held.size, held.entry_price, price))

    assert closing.margin == held.margin
    assert closing.proceeds >= 0
    assert closing.pnl >= -held.margin
    assert closing.fee >= 0
    assert closing.shortfall >= 0
    assert Fraction(0) <= exact - Fraction(closing.pnl - closing.shortfall) < Fraction(USDC_STEP)
    assert (closing.size_left, closing.margin_left) == (ZERO, ZERO)


@given(held=positions(), parts=st.lists(st.integers(1, 5), min_size=1, max_size=6), price=prices, rate=rates)
def test_part_closes_release_exactly_the_margin(held: Held, parts: list[int], price: Decimal, rate: Decimal) -> None:
    released = ZERO
    left = held
    for part in parts:
        size = min(held.size // (STEP * part * 2) * STEP, left.size)
        if size in (ZERO, left.size):
            continue
        closing = close_at(left, size, price, rate)
        assert Fraction(closing.margin) <= Fraction(left.margin) * Fraction(size) / Fraction(left.size)
        released += closing.margin
        left = replace(left, size=closing.size_left, margin=closing.margin_left)
    last = close_at(left, left.size, price, rate)

    assert released + last.margin == held.margin
    assert last.size_left == 0


def test_a_loss_ends_at_the_margin_and_the_fee_at_what_is_left() -> None:
    held = Held(LONG, Decimal(10), Decimal(100), Decimal(100))

    gone = close_at(held, Decimal(10), Decimal(80), Decimal("0.001"))
    nearly = close_at(held, Decimal(10), Decimal("90.05"), Decimal("0.001"))

    assert (gone.pnl, gone.fee, gone.shortfall, gone.proceeds) == (Decimal(-100), ZERO, Decimal(100), ZERO)
    assert (nearly.pnl, nearly.fee, nearly.shortfall, nearly.proceeds) == (Decimal("-99.5"), Decimal("0.5"), ZERO, ZERO)


@given(held=positions(), price=prices)
def test_a_liquidation_takes_the_whole_margin(held: Held, price: Decimal) -> None:
    closing = liquidate_at(held, price)
    exact = Fraction(pnl_of(held.side, held.size, held.entry_price, price))

    assert closing.proceeds == 0
    assert closing.pnl - closing.fee == -held.margin
    assert (closing.size_left, closing.margin_left) == (ZERO, ZERO)
    assert Fraction(0) <= exact - Fraction(closing.pnl - closing.shortfall) < Fraction(USDC_STEP)


@given(
    size=st.integers(1, 10**7),
    parts=st.integers(1, 20),
    collateral=st.integers(1, 10**12),
)
def test_parts_add_up_to_the_size_and_lock_exactly_the_collateral(size: int, parts: int, collateral: int) -> None:
    step, whole, money = Decimal("0.001"), size * Decimal("0.001"), collateral * Decimal("0.000001")
    done: list[Decimal] = []
    margins: list[Decimal] = []
    while sum(done) < whole:
        filled = sum(done, Decimal(0))
        part = part_of(whole, filled, len(done), parts, step)
        margins.append(margin_of_part(money, whole, filled, part))
        done.append(part)

    assert (sum(done), sum(margins)) == (whole, money)
    assert len(done) in {1, parts}
    assert all(part > 0 and part % step == 0 for part in done)
    assert max(done) - min(done) < parts * step
    assert all(margin >= 0 and margin % Decimal("0.000001") == 0 for margin in margins)


@pytest.mark.parametrize(("side", "entry"), [(LONG, "1.333333333333333334"), (SHORT, "1.333333333333333333")])
def test_an_average_entry_is_rounded_against_the_position(side: PositionSide, entry: str) -> None:
    assert average_entry(side, Decimal(2), Decimal(1), Decimal(1), Decimal(2)) == Decimal(entry)


@pytest.mark.parametrize(
    ("side", "rate", "expected"),
    [
        (LONG, "0.0001", "-1.004575"),
        (SHORT, "0.0001", "1.004574"),
        (LONG, "-0.0001", "1.004574"),
        (SHORT, "-0.0001", "-1.004575"),
        (LONG, "0", "0"),
    ],
)
def test_funding_is_rounded_against_the_user_by_less_than_a_unit(side: PositionSide, rate: str, expected: str) -> None:
    amount = funding_of(side, Decimal("0.166567"), Decimal("60310.55"), Decimal(rate))

    assert amount == Decimal(expected)
