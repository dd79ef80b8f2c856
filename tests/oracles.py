"""Slow, obvious answers to check the fast ones against: every order alone, every tick, in whole numbers.

Nothing here comes from the code under test: prices become integers of 1e-18, percentages are multiplied out.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple, Protocol

_UNIT = 10**18
_WIDE = Context(prec=200)


class ExitTerms(Protocol):
    """What the oracle must know of an exit; the percentage 2 means 2 %."""

    @property
    def order_id(self) -> int: ...
    @property
    def side(self) -> str: ...
    @property
    def armed_sequence(self) -> int: ...
    @property
    def armed_price(self) -> Decimal: ...
    @property
    def stop_price(self) -> Decimal | None: ...
    @property
    def take_profit_price(self) -> Decimal | None: ...
    @property
    def trailing_distance(self) -> Decimal | None: ...
    @property
    def trailing_percentage(self) -> Decimal | None: ...
    @property
    def activation_price(self) -> Decimal | None: ...


class Fired(NamedTuple):
    """Which tick fired an order, by which leg, at which exact stop and watermark (where it has them)."""

    sequence: int
    price: Decimal
    leg: str
    stop: Decimal | None
    watermark: Decimal | None


class Trail(NamedTuple):
    """Where a trailing stop stands; both None before its activation."""

    watermark: Decimal | None
    stop: Decimal | None


def oracle_run(
    orders: Iterable[ExitTerms],
    ticks: Sequence[tuple[int, Decimal]],
    last_sequences: Mapping[int, int] | None = None,
) -> dict[int, Fired]:
    """By order id, how each order fires on ascending (sequence, price) ticks; those that do not are left out.

    `last_sequences` names, by order id, the last tick that may fire an order (it was cancelled after that one).
    """
    ends = last_sequences or {}
    fired: dict[int, Fired] = {}
    for order in orders:
        outcome = oracle_order(order, ticks, ends.get(order.order_id))
        if isinstance(outcome, Fired):
            fired[order.order_id] = outcome
    return fired


def oracle_order(
    order: ExitTerms, ticks: Sequence[tuple[int, Decimal]], last_sequence: int | None = None
) -> Fired | Trail:
    """One order alone: how it fires on ascending ticks, or where its trailing stop stands after the last."""
    first = bisect_right(ticks, order.armed_sequence, key=itemgetter(0))
    end = len(ticks) if last_sequence is None else bisect_right(ticks, last_sequence, key=itemgetter(0))
    concerned = ticks[first:end]
    if order.trailing_distance is None and order.trailing_percentage is None:
        return _fixed(order, concerned) or Trail(None, None)
    return _trailing(order, concerned)


def _fixed(order: ExitTerms, ticks: Sequence[tuple[int, Decimal]]) -> Fired | None:
    stop, take_profit = order.stop_price, order.take_profit_price
    for sequence, price in ticks:
        if order.side == "long":
            stopped = stop is not None and price <= stop
            taken = take_profit is not None and price >= take_profit
        else:
            stopped = stop is not None and price >= stop
            taken = take_profit is not None and price <= take_profit
        if stopped:
            return Fired(sequence, price, "stop", stop, None)
        if taken:
            return Fired(sequence, price, "take_profit", None, None)
    return None


def _trailing(order: ExitTerms, ticks: Sequence[tuple[int, Decimal]]) -> Fired | Trail:
    is_long = order.side == "long"
    best = _units(order.armed_price)
    active = order.activation_price is None
    activation = _units(order.activation_price or Decimal(0))
    for sequence, price in ticks:
        now = _units(price)
        if not active:
            active = now >= activation if is_long else now <= activation
            best = now
            continue
        best = max(best, now) if is_long else min(best, now)
        # Both in units of 1e-38.
        stop, compared = _stop_units(order, best), now * 100 * _UNIT
        if compared <= stop if is_long else compared >= stop:
            return Fired(sequence, price, "trailing", _decimal(stop, 38), _decimal(best, 18))
    if not active:
        return Trail(None, None)
    return Trail(_decimal(best, 18), _decimal(_stop_units(order, best), 38))


def _stop_units(order: ExitTerms, best: int) -> int:
    if order.trailing_distance is not None:
        gap = _units(order.trailing_distance) * 100 * _UNIT
    else:
        gap = best * _units(order.trailing_percentage or Decimal(0))
    return best * 100 * _UNIT - gap if order.side == "long" else best * 100 * _UNIT + gap


@lru_cache(maxsize=100_000)
def _units(value: Decimal) -> int:
    scaled = _WIDE.multiply(value, Decimal(_UNIT))
    units = int(scaled)
    assert units == scaled, f"{value} has more than 18 decimals"
    return units


def _decimal(units: int, places: int) -> Decimal:
    return _WIDE.scaleb(Decimal(units), -places)
