"""The rule for one protective order: what a tick does to it, and what its trailing stop is, exactly."""

import decimal
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from app.domain.enums import PositionSide, TriggeredLeg
from app.domain.money import PRECISION

Tick = tuple[int, Decimal]

# A context of our own: a stop must not depend on what the calling thread did to its context.
_EXACT = decimal.Context(prec=PRECISION)


@dataclass(frozen=True, slots=True)
class TriggerOrder:
    """One exit as the order engine watches it: fixed levels (both = OCO), or one trailing stop.

    `side` is that of the position. `armed_price` is the price of the watched series as of `armed_sequence`; it
    starts the watermark and cannot fire. `trailing_percentage` 2.0 means 2 %. `activation_price` is given only
    while the trailing stop still waits for it. An order that fired but whose crossing was let go comes back with
    `released_sequence`, the tick of that crossing, and the crossing's watermark as `armed_price`: ticks up to that
    one do not concern it. Raises ValueError when the levels given make no exit.
    """

    order_id: int
    version: int
    side: PositionSide
    armed_sequence: int
    armed_price: Decimal
    stop_price: Decimal | None = None
    take_profit_price: Decimal | None = None
    trailing_distance: Decimal | None = None
    trailing_percentage: Decimal | None = None
    activation_price: Decimal | None = None
    released_sequence: int | None = None

    def __post_init__(self) -> None:
        ways = (
            self.stop_price is not None or self.take_profit_price is not None,
            self.trailing_distance is not None,
            self.trailing_percentage is not None,
        )
        if sum(ways) != 1:
            raise ValueError("an exit has fixed levels, or trails by a distance, or by a percentage")
        if ways[0] and self.activation_price is not None:
            raise ValueError("only a trailing stop has an activation price")

    @property
    def watched_after(self) -> int:
        """Only ticks after this one concern the order."""
        return self.armed_sequence if self.released_sequence is None else self.released_sequence

    @property
    def trailing_offset(self) -> Decimal | None:
        """The distance or the percentage by which it trails; None for fixed levels."""
        return self.trailing_percentage if self.trailing_distance is None else self.trailing_distance

    @property
    def starting_watermark(self) -> Decimal | None:
        """The watermark at the armed tick; None for fixed levels and before activation."""
        if self.trailing_offset is None or self.activation_price is not None:
            return None
        return self.armed_price


@dataclass(frozen=True, slots=True)
class Trigger:
    """The order fires: `stop_price` is the exact stop that was reached (None for a take-profit)."""

    leg: TriggeredLeg
    stop_price: Decimal | None
    watermark: Decimal | None


@dataclass(frozen=True, slots=True)
class MoveStop:
    """The trailing stop moved (or began, where there was no watermark before)."""

    watermark: Decimal
    stop_price: Decimal


@dataclass(frozen=True, slots=True)
class Crossing:
    """An order fired at a tick; it has left the book and is to be latched.

    `price` is the watched price of that tick. `stop_price` is the fixed level or the final exact trailing stop,
    None for a take-profit. `watermark` is None for fixed levels.
    """

    order_id: int
    version: int
    sequence: int
    price: Decimal
    leg: TriggeredLeg
    stop_price: Decimal | None
    watermark: Decimal | None


@dataclass(frozen=True, slots=True)
class Activated:
    """A trailing stop reached its activation price: that tick is its armed one from now on."""

    order_id: int
    version: int
    sequence: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class Standing:
    """An order that survived the ticks it was played; the armed tick is the activating one if it was activated."""

    armed_sequence: int
    armed_price: Decimal
    watermark: Decimal | None


def level_below(extreme: Decimal, offset: Decimal, by_percentage: bool) -> Decimal:
    """The level `offset` (or so many per cent of the price) below `extreme`, exactly; negate prices for one above."""
    gap = _EXACT.scaleb(_EXACT.multiply(extreme.copy_abs(), offset), -2) if by_percentage else offset
    return _EXACT.subtract(extreme, gap)


def as_long(side: PositionSide, price: Decimal) -> Decimal:
    """A price as the rule for longs sees it, and back: the negative for a short, which mirrors every rule."""
    return price if side is PositionSide.LONG else price.copy_negate()


def trailing_stop(order: TriggerOrder, watermark: Decimal) -> Decimal:
    """The exact stop of a trailing order at a watermark, never rounded. Raises ValueError for other orders."""
    offset = order.trailing_offset
    if offset is None:
        raise ValueError(f"order {order.order_id} does not trail")
    extreme = as_long(order.side, watermark)
    return as_long(order.side, level_below(extreme, offset, order.trailing_distance is None))


def evaluate(order: TriggerOrder, watermark: Decimal | None, price: Decimal) -> Trigger | MoveStop | None:
    """What one tick after the armed one does to one order: it fires, its stop moves, or nothing.

    `watermark` is the best price since arming, None for fixed levels and before activation. The tick first moves
    the watermark, then is compared, inclusive. Where both levels of an OCO are reached, the stop wins.
    """
    if order.trailing_offset is not None:
        return _evaluate_trailing(order, watermark, price)
    seen = as_long(order.side, price)
    if order.stop_price is not None and seen <= as_long(order.side, order.stop_price):
        return Trigger(TriggeredLeg.STOP, order.stop_price, None)
    if order.take_profit_price is not None and seen >= as_long(order.side, order.take_profit_price):
        return Trigger(TriggeredLeg.TAKE_PROFIT, None, None)
    return None


def play(order: TriggerOrder, ticks: Iterable[Tick]) -> tuple[Crossing | Standing, Activated | None]:
    """Play one order the (sequence, price) ticks that concern it, in order, until it fires.

    How it stands then, and where it began if it was activated on the way, also where it fired since.
    """
    armed: Tick = order.armed_sequence, order.armed_price
    activated: Activated | None = None
    watermark = order.starting_watermark
    for sequence, price in ticks:
        outcome = evaluate(order, watermark, price)
        if isinstance(outcome, Trigger):
            crossing = Crossing(
                order.order_id,
                order.version,
                sequence,
                price,
                outcome.leg,
                outcome.stop_price,
                outcome.watermark,
            )
            return crossing, activated
        if isinstance(outcome, MoveStop):
            if watermark is None:
                armed = sequence, price
                activated = Activated(order.order_id, order.version, sequence, price)
            watermark = outcome.watermark
    return Standing(*armed, watermark), activated


def _evaluate_trailing(order: TriggerOrder, watermark: Decimal | None, price: Decimal) -> Trigger | MoveStop | None:
    side = order.side
    seen = as_long(side, price)
    if watermark is None:
        if order.activation_price is not None and seen < as_long(side, order.activation_price):
            return None
        return MoveStop(price, trailing_stop(order, price))
    moved = price if seen > as_long(side, watermark) else watermark
    stop = trailing_stop(order, moved)
    if seen <= as_long(side, stop):
        return Trigger(TriggeredLeg.TRAILING, stop, moved)
    return MoveStop(moved, stop) if moved is not watermark else None
