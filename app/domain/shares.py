"""How what a venue did to one position is shared by the trades that it nets there; shares sum to the whole, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.money import USDC_STEP, ZERO


@dataclass(frozen=True, slots=True)
class Share:
    """A trade's part of one execution: `quantity` in base units, `fee` and `pnl` in USDC."""

    trade_id: int
    quantity: Decimal
    fee: Decimal
    pnl: Decimal


def split_fill(quantity: Decimal, fee: Decimal, pnl: Decimal, sizes: Sequence[tuple[int, Decimal]]) -> list[Share]:
    """Share a reduction by trades (id, open size), in the order given: each takes what it has until all is taken.

    Fee and PnL follow the quantities in base units of USDC, with the exact rest on the last. Raises ValueError where
    the trades have less than is to be taken.
    """
    left = quantity
    taken: list[tuple[int, Decimal]] = []
    for trade_id, size in sizes:
        part = min(size, left)
        if part > ZERO:
            taken.append((trade_id, part))
            left -= part
    if left > ZERO:
        raise ValueError(f"{left} of {quantity} is more than the trades have open")
    weights = [part for _, part in taken]
    amounts = zip(taken, pro_rata(fee, weights), pro_rata(pnl, weights), strict=True)
    return [Share(trade_id, part, fee_part, pnl_part) for (trade_id, part), fee_part, pnl_part in amounts]


@dataclass(frozen=True, slots=True)
class FundingShare:
    """A trade's part of one funding: of `size` in base units, `amount` in USDC."""

    trade_id: int
    size: Decimal
    amount: Decimal


def share_funding(amount: Decimal, size: Decimal, sizes: Sequence[tuple[int, Decimal]]) -> list[FundingShare]:
    """Share a funding of a position of `size` by trades (id, open size), in the order given.

    Each takes what it has until all is taken: those after that were opened since. The amount follows the sizes in base
    units of USDC, with the exact rest on the last; [] where the trades have nothing open.
    """
    left = size
    taken: list[tuple[int, Decimal]] = []
    for trade_id, held in sizes:
        part = min(held, left)
        if part > ZERO:
            taken.append((trade_id, part))
            left -= part
    amounts = pro_rata(amount, [part for _, part in taken])
    return [FundingShare(trade_id, part, due) for (trade_id, part), due in zip(taken, amounts, strict=True)]


def pro_rata(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Share an amount of USDC by weights > 0, each part cut to base units, the exact rest on the last."""
    whole = sum(weights, ZERO)
    parts = [amount * weight // (whole * USDC_STEP) * USDC_STEP for weight in weights[:-1]]
    return [*parts, amount - sum(parts, ZERO)] if weights else []
