"""Shares of netted positions: they sum to the whole to the last base unit, and nobody gives what they do not have."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import USDC_STEP
from app.domain.shares import FundingShare, Share, pro_rata, share_funding, split_fill

SIZES = st.lists(st.decimals("0.000001", "1000", places=6), min_size=1, max_size=8)
USDC = st.decimals("-100000", "100000", places=6)


def test_the_oldest_gives_first_and_the_last_takes_the_rest() -> None:
    shares = split_fill(
        Decimal("1.5"), Decimal("0.01"), Decimal("-1"), [(1, Decimal(1)), (2, Decimal(1)), (3, Decimal(1))]
    )

    assert shares == [
        Share(1, Decimal(1), Decimal("0.006666"), Decimal("-0.666666")),
        Share(2, Decimal("0.5"), Decimal("0.003334"), Decimal("-0.333334")),
    ]


def test_nobody_gives_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="more than"):
        split_fill(Decimal(2), Decimal(0), Decimal(0), [(1, Decimal(1)), (2, Decimal("0.9"))])


@given(sizes=SIZES, fraction=st.decimals("0.001", "1", places=3), fee=USDC.map(abs), pnl=USDC)
def test_shares_sum_to_the_whole(sizes: list[Decimal], fraction: Decimal, fee: Decimal, pnl: Decimal) -> None:
    quantity = sum(sizes, Decimal(0)) * fraction
    holders = list(enumerate(sizes))

    shares = split_fill(quantity, fee, pnl, holders)

    assert sum((share.quantity for share in shares), Decimal(0)) == quantity
    assert sum((share.fee for share in shares), Decimal(0)) == fee
    assert sum((share.pnl for share in shares), Decimal(0)) == pnl
    assert [share.trade_id for share in shares] == list(range(len(shares)))
    assert all(0 < share.quantity <= sizes[share.trade_id] for share in shares)
    # All but the last give everything: the oldest first.
    assert all(share.quantity == sizes[share.trade_id] for share in shares[:-1])
    assert all(share.fee >= 0 for share in shares)


@given(amount=USDC, weights=SIZES)
def test_parts_are_fair_to_a_base_unit_each(amount: Decimal, weights: list[Decimal]) -> None:
    parts = pro_rata(amount, weights)

    assert sum(parts, Decimal(0)) == amount
    whole = sum(weights, Decimal(0))
    for part, weight in zip(parts[:-1], weights[:-1], strict=True):
        assert part % USDC_STEP == 0
        assert abs(part - amount * weight / whole) < USDC_STEP


def test_nobody_shares_nothing() -> None:
    assert pro_rata(Decimal(1), []) == []
    assert share_funding(Decimal(1), Decimal(1), []) == []


def test_a_funding_is_of_what_was_open_then() -> None:
    shares = share_funding(Decimal("-1"), Decimal("1.5"), [(1, Decimal(1)), (2, Decimal("0.5")), (3, Decimal(7))])

    assert shares == [
        FundingShare(1, Decimal(1), Decimal("-0.666666")),
        FundingShare(2, Decimal("0.5"), Decimal("-0.333334")),
    ]


@given(amount=USDC, size=st.decimals("0.000001", "5000", places=6), sizes=SIZES)
def test_a_funding_is_shared_to_the_last_base_unit(amount: Decimal, size: Decimal, sizes: list[Decimal]) -> None:
    shares = share_funding(amount, size, list(enumerate(sizes)))

    assert sum((share.amount for share in shares), Decimal(0)) == amount
    assert sum((share.size for share in shares), Decimal(0)) == min(size, sum(sizes, Decimal(0)))
    assert all(share.size == sizes[share.trade_id] for share in shares[:-1])
