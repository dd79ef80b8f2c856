"""Whether an order may be placed as asked: sizes, leverage, sides of levels, time; nothing here rounds silently."""

from datetime import datetime
from decimal import Decimal
from typing import Protocol

from app.domain.enums import OrderSide, OrderType, PositionSide
from app.domain.errors import InvalidRequest
from app.domain.money import USDC_STEP, ZERO, floor_to, is_multiple, plain
from app.domain.order_terms import ExitTerms, OpenTerms, check_open_fields
from app.domain.positions import liquidation_price, size_of

HUNDRED = Decimal(100)
ONE = Decimal(1)


class PairLimits(Protocol):
    """What a pair allows; a Pair row satisfies it."""

    symbol: str
    price_step: Decimal
    size_step: Decimal
    min_leverage: int
    max_leverage: int
    min_collateral: Decimal
    max_collateral: Decimal
    taker_fee_rate: Decimal
    maintenance_margin_rate: Decimal


def side_of(*, is_long: bool) -> PositionSide:
    """The side that the seed's `direction` means."""
    return PositionSide.LONG if is_long else PositionSide.SHORT


def entry_side(side: PositionSide) -> OrderSide:
    """The order side that opens a position."""
    return OrderSide.BUY if side is PositionSide.LONG else OrderSide.SELL


def exit_side(side: PositionSide) -> OrderSide:
    """The order side that closes a position."""
    return OrderSide.SELL if side is PositionSide.LONG else OrderSide.BUY


def check_open(terms: OpenTerms, pair: PairLimits, entry: Decimal, watched: Decimal) -> list[ExitTerms]:
    """The exits of an acceptable request; raises the first refusal.

    `entry` is the price it would open at: the limit of a LIMIT, else the quote. `watched` is the price, now, of the
    series that its exits watch.
    """
    exits = check_open_fields(terms)
    _check_step("collateral", terms.collateral, USDC_STEP)
    if terms.price is not None:
        _check_step("price", terms.price, pair.price_step)
    if not pair.min_leverage <= terms.leverage <= pair.max_leverage:
        raise InvalidRequest(
            f"{pair.symbol} takes leverage from {pair.min_leverage} to {pair.max_leverage}.",
            code="LEVERAGE_OUT_OF_RANGE",
            min=pair.min_leverage,
            max=pair.max_leverage,
        )
    _check_collateral(terms.collateral, pair)
    size = size_of(terms.collateral, terms.leverage, entry, pair.size_step)
    if size == ZERO:
        raise InvalidRequest(
            f"{plain(terms.collateral)} USDC at {terms.leverage}x buys less than one step of {pair.symbol}.",
            code="SIZE_BELOW_MINIMUM",
            size_step=pair.size_step,
        )
    side = side_of(is_long=terms.is_long)
    reference = entry if terms.order_type is OrderType.LIMIT else watched
    liquidation = liquidation_price(side, size, entry, terms.collateral, pair.maintenance_margin_rate)
    for exit_terms in exits:
        check_exit(exit_terms, side, pair, reference, liquidation)
    return exits


def check_exit(
    exit_terms: ExitTerms, side: PositionSide, pair: PairLimits, reference: Decimal, liquidation: Decimal | None
) -> None:
    """Raise unless every level lies on the price step, on its side of `reference`, and before liquidation."""
    _check_levels(exit_terms, pair)
    sign = 1 if side is PositionSide.LONG else -1
    stop, take_profit = exit_terms.stop, exit_terms.take_profit
    _check_trailing(exit_terms, sign, reference)
    if stop is not None and (reference - stop) * sign <= 0:
        raise InvalidRequest(
            f"A stop at {plain(stop)} would fire at once: the price is {plain(reference)}.",
            code="STOP_WRONG_SIDE",
            reference_price=reference,
        )
    if take_profit is not None and (take_profit - reference) * sign <= 0:
        raise InvalidRequest(
            f"A take-profit at {plain(take_profit)} would fire at once: the price is {plain(reference)}.",
            code="TAKE_PROFIT_WRONG_SIDE",
            reference_price=reference,
        )
    if stop is not None and liquidation is not None and (stop - liquidation) * sign <= 0:
        raise InvalidRequest(
            f"The position would be liquidated at about {plain(floor_to(liquidation, pair.price_step))}, "
            f"before a stop at {plain(stop)}.",
            code="STOP_BEYOND_LIQUIDATION",
            liquidation_price=liquidation,
        )


def _check_trailing(exit_terms: ExitTerms, sign: int, reference: Decimal) -> None:
    distance, activation = exit_terms.trailing_stop_distance, exit_terms.activation_price
    if distance is not None and distance >= reference:
        raise InvalidRequest(
            f"{plain(distance)} from {plain(reference)} leaves no price to stop at.",
            code="STOP_WRONG_SIDE",
            reference_price=reference,
        )
    if activation is not None and (activation - reference) * sign <= 0:
        raise InvalidRequest(
            f"A trailing stop that begins at {plain(activation)} would begin at once: the price is {plain(reference)}.",
            code="ACTIVATION_WRONG_SIDE",
            reference_price=reference,
        )


def check_times(now: datetime, **instants: datetime | None) -> None:
    """Raise EXPIRED_REQUEST when a given instant (by its field's name) has passed."""
    for name, instant in instants.items():
        if instant is not None and instant <= now:
            raise InvalidRequest(f"{name} has passed.", code="EXPIRED_REQUEST", field=name)


def close_size(size: Decimal, fraction: Decimal, size_step: Decimal) -> Decimal:
    """How much of `size` a close of `fraction` (0 < fraction <= 1) trades: whole at 1, else floored to the step."""
    if not ZERO < fraction <= ONE:
        raise InvalidRequest("fraction must be above 0 and at most 1.", field="fraction")
    part = size if fraction == ONE else floor_to(size * fraction, size_step)
    if part == ZERO:
        raise InvalidRequest(
            f"{plain(fraction)} of {plain(size)} is less than one step.", code="SIZE_BELOW_MINIMUM", size_step=size_step
        )
    return part


def _check_collateral(collateral: Decimal, pair: PairLimits) -> None:
    if collateral < pair.min_collateral:
        raise InvalidRequest(
            f"{pair.symbol} needs at least {plain(pair.min_collateral)} USDC of collateral.",
            code="SIZE_BELOW_MINIMUM",
            min_collateral=pair.min_collateral,
        )
    if collateral > pair.max_collateral:
        raise InvalidRequest(
            f"{pair.symbol} takes at most {plain(pair.max_collateral)} USDC of collateral.",
            code="SIZE_ABOVE_MAXIMUM",
            max_collateral=pair.max_collateral,
        )


def _check_levels(exit_terms: ExitTerms, pair: PairLimits) -> None:
    for name in (
        "stop_price",
        "take_profit_price",
        "trailing_stop_distance",
        "activation_price",
        "oco_stop_price",
        "oco_take_profit_price",
    ):
        value = getattr(exit_terms, name)
        if value is not None:
            _check_step(name, value, pair.price_step)
    percentage = exit_terms.trailing_stop_percentage
    if percentage is not None and not ZERO < percentage < HUNDRED:
        raise InvalidRequest(
            "trailing_stop_percentage must be above 0 and below 100.", field="trailing_stop_percentage"
        )


def _check_step(name: str, value: Decimal, step: Decimal) -> None:
    if not is_multiple(value, step):
        raise InvalidRequest(
            f"{name} must be a multiple of {plain(step)}; it is never rounded for you.",
            code="TOO_MANY_DECIMALS",
            field=name,
            step=step,
        )
