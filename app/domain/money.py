"""Exact decimal arithmetic: precision, USDC base units, steps and rounding."""

import decimal
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

# NUMERIC(38,18) times NUMERIC(38,18) has at most 76 digits, so +, - and * below never round.
PRECISION = 78
decimal.DefaultContext.prec = PRECISION
decimal.setcontext(decimal.Context(prec=PRECISION))

ZERO = Decimal(0)
USDC_DECIMALS = 6
USDC_STEP = Decimal("0.000001")
STORED_STEP = Decimal("1e-18")


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `value`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `value`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether `value` lies exactly on the grid of `step`."""
    return value % step == 0


def credit_usdc(value: Decimal) -> Decimal:
    """An amount paid to a user (or lost by one, when negative): rounded down to a base unit of USDC."""
    return value.quantize(USDC_STEP, ROUND_FLOOR)


def charge_usdc(value: Decimal) -> Decimal:
    """An amount a user pays: rounded up to a base unit of USDC."""
    return value.quantize(USDC_STEP, ROUND_CEILING)


def stored(value: Decimal) -> Decimal:
    """A quotient cut to the 18 decimals that the database keeps."""
    return value.quantize(STORED_STEP, ROUND_DOWN)


def plain(value: Decimal) -> str:
    """Exact digits without exponent or trailing zeros: 1E+5 -> 100000, 0.500 -> 0.5."""
    if value == 0:
        return "0"
    return format(value.normalize(), "f")
