"""Bookings: each sums to zero, and any history of them leaves every base unit where it belongs."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import ledger
from app.domain.enums import PositionSide
from app.domain.ledger import Booking, BookingReason, Entry, LedgerAccount
from app.domain.money import ZERO
from app.domain.positions import Closing, close_at, liquidate_at
from tests.unit.domain.test_positions import Held

BALANCE, MARGIN = LedgerAccount.BALANCE, LedgerAccount.MARGIN
COUNTERPARTY, FEES = LedgerAccount.COUNTERPARTY, LedgerAccount.FEES
INSURANCE, FUNDING = LedgerAccount.INSURANCE, LedgerAccount.FUNDING_SOURCE
HELD = Held(PositionSide.LONG, Decimal(10), Decimal(100), Decimal(100))
RATE = Decimal("0.001")


def moves(booking: Booking) -> dict[LedgerAccount, Decimal]:
    return {entry.account: entry.amount for entry in booking.entries}


def test_entries_that_do_not_sum_to_zero_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sum to 0\.000001"):
        Booking(1, BookingReason.OPEN, (Entry(BALANCE, Decimal(-1)), Entry(MARGIN, Decimal("1.000001"))))


def test_deposit_and_reset() -> None:
    assert moves(ledger.deposit(1, Decimal(10000))) == {FUNDING: -10000, BALANCE: 10000}
    assert moves(ledger.reset(1, Decimal(10250), Decimal(10000))) == {FUNDING: 250, BALANCE: -250}
    assert ledger.reset(1, Decimal(10000), Decimal(10000)).entries == ()


def test_opening_locks_the_margin_and_pays_the_fee() -> None:
    opened = ledger.open_position(1, 7, Decimal(100), Decimal("0.5"))

    assert moves(opened) == {BALANCE: Decimal("-100.5"), MARGIN: 100, FEES: Decimal("0.5")}
    assert opened.client_id == 7


def test_a_reservation_is_used_first_and_its_rest_goes_back() -> None:
    assert moves(ledger.reserve(1, 7, Decimal("100.6"))) == {BALANCE: Decimal("-100.6"), MARGIN: Decimal("100.6")}
    assert moves(ledger.release(1, 7, Decimal("100.6"))) == {BALANCE: Decimal("100.6"), MARGIN: Decimal("-100.6")}

    filled = ledger.open_position(1, 7, Decimal(100), Decimal("0.5"), Decimal("100.6"))

    assert moves(filled) == {BALANCE: Decimal("0.1"), MARGIN: Decimal("-0.6"), FEES: Decimal("0.5")}


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (110, {MARGIN: -100, BALANCE: Decimal("198.9"), FEES: Decimal("1.1"), COUNTERPARTY: -100}),
        (95, {MARGIN: -100, BALANCE: Decimal("49.05"), FEES: Decimal("0.95"), COUNTERPARTY: 50}),
        (80, {MARGIN: -100, COUNTERPARTY: 200, INSURANCE: -100}),
    ],
)
def test_closing(price: int, expected: dict[LedgerAccount, Decimal]) -> None:
    closing = close_at(HELD, HELD.size, Decimal(price), RATE)

    assert moves(ledger.close_position(1, 8, closing)) == expected


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("90.5", {MARGIN: -100, COUNTERPARTY: 95, INSURANCE: 5}),
        ("88", {MARGIN: -100, COUNTERPARTY: 120, INSURANCE: -20}),
    ],
)
def test_liquidation_gives_the_rest_of_the_margin_to_the_insurance_or_takes_what_is_short(
    price: str, expected: dict[LedgerAccount, Decimal]
) -> None:
    booking = ledger.liquidate_position(1, -3, liquidate_at(HELD, Decimal(price)))
    totals = {account: booking.change_of(account) for account in expected}

    assert totals == expected
    assert booking.change_of(BALANCE) == 0


closings = st.builds(
    lambda side, size, entry, margin, price, is_liquidation: (
        liquidate_at(Held(side, size, entry, margin), price)
        if is_liquidation
        else close_at(Held(side, size, entry, margin), size, price, RATE)
    ),
    st.sampled_from(PositionSide),
    st.decimals("0.00001", "1000", places=5),
    st.decimals("0.01", "100000", places=2),
    st.decimals("1", "100000", places=6),
    st.decimals("0.01", "100000", places=2),
    st.booleans(),
)


@given(history=st.lists(st.tuples(closings, st.decimals("0", "100", places=6), st.booleans()), max_size=20))
def test_money_is_conserved_over_any_history(history: list[tuple[Closing, Decimal, bool]]) -> None:
    """Deposits + realised PnL - fees = balances, and all accounts together are always zero."""
    bookings = [ledger.deposit(1, Decimal(10_000))]
    realised = fees = ZERO
    for closing, fee, is_resting in history:
        reserved = closing.margin + fee if is_resting else ZERO
        if is_resting:
            bookings.append(ledger.reserve(1, 5, reserved))
        bookings.append(ledger.open_position(1, 5, closing.margin, fee, reserved))
        bookings.append(ledger.close_position(1, 6, closing))
        realised += closing.pnl
        fees += closing.fee + fee
    totals = {account: sum((b.change_of(account) for b in bookings), ZERO) for account in LedgerAccount}

    assert sum(totals.values()) == 0
    assert totals[BALANCE] == 10_000 + realised - fees
    assert totals[MARGIN] == 0
    assert totals[FUNDING] == -10_000


@pytest.mark.parametrize(
    ("amount", "free", "margin", "expected"),
    [
        ("3", "0", "10", ("3", "0", "0")),
        ("-3", "5", "10", ("-3", "0", "0")),
        ("-3", "1", "10", ("-1", "-2", "0")),
        ("-3", "0", "2", ("0", "-2", "1")),
        ("-3", "0", "0", ("0", "0", "3")),
    ],
)
def test_funding_comes_from_the_balance_then_the_margin_then_the_insurance(
    amount: str, free: str, margin: str, expected: tuple[str, str, str]
) -> None:
    split = ledger.split_funding(Decimal(amount), Decimal(free), Decimal(margin))
    booked = ledger.pay_funding(1, Decimal(amount), split)

    assert (split.balance, split.margin, split.shortfall) == tuple(map(Decimal, expected))
    named = {
        BALANCE: split.balance,
        MARGIN: split.margin,
        INSURANCE: -split.shortfall,
        LedgerAccount.FUNDING: -Decimal(amount),
    }
    assert moves(booked) == {account: change for account, change in named.items() if change}
