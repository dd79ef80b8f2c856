"""Double entry: every booking of the paper venue is a tuple of entries that sum to zero."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.domain.money import ZERO
from app.domain.positions import Closing


class LedgerAccount(StrEnum):
    """Where money can be: a user's free balance and locked margin, or a house account."""

    BALANCE = "balance"
    MARGIN = "margin"
    FUNDING_SOURCE = "funding_source"
    COUNTERPARTY = "counterparty"
    FEES = "fees"
    INSURANCE = "insurance"
    FUNDING = "funding"

    @property
    def is_users(self) -> bool:
        """Whether each user has one of their own."""
        return self in {LedgerAccount.BALANCE, LedgerAccount.MARGIN}


class BookingReason(StrEnum):
    """Why money moved."""

    DEPOSIT = "deposit"
    RESET = "reset"
    RESERVE = "reserve"
    RELEASE = "release"
    OPEN = "open"
    CLOSE = "close"
    LIQUIDATION = "liquidation"
    FUNDING = "funding"


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a booking in USDC: what comes into an account, or leaves it when negative."""

    account: LedgerAccount
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Booking:
    """What one event did to the money of one user (`account_id`) and the house.

    `client_id` names the order that did it. Raises ValueError when the entries do not sum to zero.
    """

    account_id: int
    reason: BookingReason
    entries: tuple[Entry, ...]
    client_id: int | None = None

    def __post_init__(self) -> None:
        total = sum((entry.amount for entry in self.entries), ZERO)
        if total != 0:
            raise ValueError(f"{self.reason}: the entries sum to {total}")

    def change_of(self, account: LedgerAccount) -> Decimal:
        """What the booking adds to one account."""
        return sum((entry.amount for entry in self.entries if entry.account is account), ZERO)


def deposit(account_id: int, amount: Decimal) -> Booking:
    """The starting balance of a new account."""
    return _fund(account_id, BookingReason.DEPOSIT, amount)


def reset(account_id: int, balance: Decimal, starting_balance: Decimal) -> Booking:
    """Bring the free balance of an account without margin back to where it began."""
    return _fund(account_id, BookingReason.RESET, starting_balance - balance)


def reserve(account_id: int, client_id: int, amount: Decimal) -> Booking:
    """Lock margin and fee of a resting order."""
    moves = {LedgerAccount.BALANCE: -amount, LedgerAccount.MARGIN: amount}
    return _booking(account_id, BookingReason.RESERVE, moves.items(), client_id)


def release(account_id: int, client_id: int, amount: Decimal) -> Booking:
    """Give a reservation back."""
    moves = {LedgerAccount.BALANCE: amount, LedgerAccount.MARGIN: -amount}
    return _booking(account_id, BookingReason.RELEASE, moves.items(), client_id)


def open_position(account_id: int, client_id: int, margin: Decimal, fee: Decimal, reserved: Decimal = ZERO) -> Booking:
    """Lock the margin and pay the fee, from a reservation first: what it has too much goes back."""
    moves = {
        LedgerAccount.BALANCE: reserved - margin - fee,
        LedgerAccount.MARGIN: margin - reserved,
        LedgerAccount.FEES: fee,
    }
    return _booking(account_id, BookingReason.OPEN, moves.items(), client_id)


def close_position(account_id: int, client_id: int, closing: Closing) -> Booking:
    """Pay out a close; the loss beyond its margin is the insurance's."""
    return _settle(account_id, BookingReason.CLOSE, LedgerAccount.FEES, closing, client_id)


def liquidate_position(account_id: int, client_id: int, closing: Closing) -> Booking:
    """Book a liquidation: what the loss leaves of the margin, or exceeds it by, is the insurance's."""
    return _settle(account_id, BookingReason.LIQUIDATION, LedgerAccount.INSURANCE, closing, client_id)


@dataclass(frozen=True, slots=True)
class FundingSplit:
    """Where one funding goes, in USDC: what it adds to the free balance and to the margin, and what nobody paid."""

    balance: Decimal
    margin: Decimal
    shortfall: Decimal


def split_funding(amount: Decimal, free: Decimal, margin: Decimal) -> FundingSplit:
    """Funding received is free; funding paid comes from the free balance, then from the position's own margin.

    Neither goes below zero: the rest is the insurance's.
    """
    if amount >= ZERO:
        return FundingSplit(amount, ZERO, ZERO)
    from_balance = min(-amount, max(free, ZERO))
    from_margin = min(-amount - from_balance, margin)
    return FundingSplit(-from_balance, -from_margin, -amount - from_balance - from_margin)


def pay_funding(account_id: int, amount: Decimal, split: FundingSplit) -> Booking:
    """Book one funding of one position; `amount` is what it brings the user, negative where they pay."""
    moves = {
        LedgerAccount.BALANCE: split.balance,
        LedgerAccount.MARGIN: split.margin,
        LedgerAccount.INSURANCE: -split.shortfall,
        LedgerAccount.FUNDING: -amount,
    }
    return _booking(account_id, BookingReason.FUNDING, moves.items(), None)


def _settle(
    account_id: int, reason: BookingReason, fee_account: LedgerAccount, closing: Closing, client_id: int
) -> Booking:
    moves = (
        (LedgerAccount.MARGIN, -closing.margin),
        (LedgerAccount.BALANCE, closing.proceeds),
        (fee_account, closing.fee),
        (LedgerAccount.COUNTERPARTY, closing.shortfall - closing.pnl),
        (LedgerAccount.INSURANCE, -closing.shortfall),
    )
    return _booking(account_id, reason, moves, client_id)


def _fund(account_id: int, reason: BookingReason, amount: Decimal) -> Booking:
    moves = {LedgerAccount.FUNDING_SOURCE: -amount, LedgerAccount.BALANCE: amount}
    return _booking(account_id, reason, moves.items(), None)


def _booking(
    account_id: int, reason: BookingReason, moves: Iterable[tuple[LedgerAccount, Decimal]], client_id: int | None
) -> Booking:
    """An account that nothing moves on has no entry."""
    entries = tuple(Entry(account, amount) for account, amount in moves if amount)
    return Booking(account_id, reason, entries, client_id)
