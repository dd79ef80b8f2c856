"""What an isolated position is worth: size, PnL, fees, margin, liquidation; in USDC, each rounding stated."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Protocol

from app.domain.enums import PositionSide
from app.domain.money import STORED_STEP, USDC_STEP, ZERO, charge_usdc, credit_usdc, floor_to

ONE = Decimal(1)
HUNDRED = Decimal(100)
ROI_STEP = Decimal("0.0001")


class Holding(Protocol):
    """A position as these rules see it; `size` in base units, `margin` in USDC."""

    @property
    def side(self) -> PositionSide:
        """long or short."""
        ...

    @property
    def size(self) -> Decimal:
        """What is open now."""
        ...

    @property
    def entry_price(self) -> Decimal:
        """The price it was opened at."""
        ...

    @property
    def margin(self) -> Decimal:
        """The most it can lose."""
        ...


@dataclass(frozen=True, slots=True)
class Closing:
    """What a close or a liquidation does to the money of a position, in USDC.

    `margin` is what it releases, `pnl` what the user gains by it (never below -margin), `fee` what is taken from
    the rest, `shortfall` the loss beyond the margin, which is not the user's. Nothing is left unexplained:
    margin + pnl - fee goes back to the user.
    """

    size: Decimal
    margin: Decimal
    pnl: Decimal
    fee: Decimal
    shortfall: Decimal
    size_left: Decimal
    margin_left: Decimal

    @property
    def proceeds(self) -> Decimal:
        """What goes back to the user's free balance; never negative."""
        return self.margin + self.pnl - self.fee


def size_of(collateral: Decimal, leverage: int, entry_price: Decimal, size_step: Decimal) -> Decimal:
    """collateral x leverage / entry in base units, floored to the size step; 0 where it buys less than one."""
    return collateral * leverage // (entry_price * size_step) * size_step


def part_of(size: Decimal, filled: Decimal, number: int, parts: int, size_step: Decimal) -> Decimal:
    """The size of fill `number` (0 first) of an order that fills in `parts`, after `filled` of its `size`.

    Nearly equal multiples of the step, the last takes the rest; a size too small to be parted fills at once.
    """
    each = size // (parts * size_step) * size_step
    return each if each and number < parts - 1 else size - filled


def margin_of_part(collateral: Decimal, size: Decimal, filled: Decimal, part: Decimal) -> Decimal:
    """What a part locks of an order's collateral, after `filled` of its `size`; all parts lock exactly all of it."""
    before, after = (collateral * done // (size * USDC_STEP) * USDC_STEP for done in (filled, filled + part))
    return (collateral if filled + part == size else after) - before


def average_entry(side: PositionSide, size: Decimal, entry_price: Decimal, part: Decimal, price: Decimal) -> Decimal:
    """The entry price of a position that grows by a part, rounded against it to the 18 decimals kept."""
    exact = (size * entry_price + part * price) / (size + part)
    return exact.quantize(STORED_STEP, ROUND_CEILING if side is PositionSide.LONG else ROUND_FLOOR)


def funding_of(side: PositionSide, size: Decimal, mark: Decimal, rate: Decimal) -> Decimal:
    """What one funding brings a position, in USDC: a long pays a positive rate, a short receives it.

    rate x size x mark, rounded down: against the user by less than one base unit.
    """
    paid = rate * size * mark
    return credit_usdc(-paid if side is PositionSide.LONG else paid)


def fee_of(size: Decimal, price: Decimal, rate: Decimal) -> Decimal:
    """The fee on a notional, rounded up to a base unit of USDC."""
    return charge_usdc(size * price * rate)


def pnl_of(side: PositionSide, size: Decimal, entry_price: Decimal, price: Decimal) -> Decimal:
    """size x (price - entry) x side, exact: unrealised at the mark, realised at an exit."""
    move = price - entry_price if side is PositionSide.LONG else entry_price - price
    return size * move


def unrealised_pnl(side: PositionSide, size: Decimal, entry_price: Decimal, mark: Decimal) -> Decimal:
    """What a position has gained at the mark, as people are shown it: rounded down, as the PnL of a close is."""
    return credit_usdc(pnl_of(side, size, entry_price, mark))


def roi_of(pnl: Decimal, margin: Decimal) -> Decimal:
    """The return on margin in per cent (12.5 = 12.5 %), rounded down to 0.0001; 0 without margin."""
    return floor_to(pnl / margin * HUNDRED, ROI_STEP) if margin else ZERO


def maintenance_margin(size: Decimal, mark: Decimal, rate: Decimal) -> Decimal:
    """The equity below which a position is taken over, exact."""
    return size * mark * rate


def liquidation_price(
    side: PositionSide, size: Decimal, entry_price: Decimal, margin: Decimal, maintenance_rate: Decimal
) -> Decimal:
    """The mark at which margin + pnl = size x mark x maintenance rate; 0 for a long that can never be reached.

    Rounded to the 18 decimals kept, down for a long and up for a short: away from the position.
    """
    notional = entry_price * size
    if side is PositionSide.LONG:
        price = max(notional - margin, ZERO) / (size * (ONE - maintenance_rate))
        return price.quantize(STORED_STEP, ROUND_FLOOR)
    price = (notional + margin) / (size * (ONE + maintenance_rate))
    return price.quantize(STORED_STEP, ROUND_CEILING)


def close_at(holding: Holding, size: Decimal, price: Decimal, fee_rate: Decimal) -> Closing:
    """Close `size` (0 < size <= holding.size) at a price.

    Margin is released pro rata, rounded down to a base unit; the last close releases the exact rest. The PnL is
    rounded down, against the user by less than one base unit, and ends at the margin released; the fee is rounded
    up and ends at what is left of it.
    """
    margin = _released_margin(holding, size)
    exact = credit_usdc(pnl_of(holding.side, size, holding.entry_price, price))
    pnl = max(exact, -margin)
    fee = min(fee_of(size, price, fee_rate), margin + pnl)
    return Closing(size, margin, pnl, fee, pnl - exact, holding.size - size, holding.margin - margin)


def liquidate_at(holding: Holding, price: Decimal) -> Closing:
    """Take a position over at a price: its whole margin is gone, what the loss leaves of it is the `fee`."""
    margin = holding.margin
    exact = credit_usdc(pnl_of(holding.side, holding.size, holding.entry_price, price))
    pnl = max(exact, -margin)
    return Closing(holding.size, margin, pnl, margin + pnl, pnl - exact, ZERO, ZERO)


def _released_margin(holding: Holding, size: Decimal) -> Decimal:
    if size == holding.size:
        return holding.margin
    return holding.margin * size // (holding.size * USDC_STEP) * USDC_STEP
