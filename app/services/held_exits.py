"""Exits whose crossing is let go: the market closed, or trading is halted; the first tick from now on decides."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from app.domain.enums import OrderType, PositionSide
from app.domain.prices import Tick
from app.domain.trading_state import HALTED_CODE
from app.domain.triggers import Crossing
from app.models.trading import Order

# Refusals after which a crossing is no longer claimed.
LET_GO = frozenset({"MARKET_CLOSED", HALTED_CODE})
_FACTS = (
    "triggered_leg",
    "trigger_price",
    "trigger_source",
    "trigger_sequence",
    "triggered_at",
    "watermark",
)
# Every column that `let_go` and `held` tell of.
HELD_COLUMNS = (
    "version",
    "held_since",
    "released_sequence",
    "armed_price",
    "stop_price",
    "latched_sequence",
    "next_run_at",
    *_FACTS,
)


def let_go(
    order: Order, side: PositionSide, sequence: int, watermark: Decimal | None, seen: Sequence[Tick] = ()
) -> dict[str, object]:
    """What the row of an exit becomes when a crossing is let go; it is pending after that.

    Ticks after `sequence` concern it: that of the crossing, or the last one that came since. `watermark` is that of
    the crossing, None for fixed levels. `seen` are the ticks since that it saw: a trailing stop ratchets with them.
    """
    return {
        "version": order.version + 1,
        "released_sequence": sequence,
        "armed_price": order.armed_price if watermark is None else _ratcheted(order, side, watermark, seen),
        "stop_price": order.stop_price if order.order_type is OrderType.STOP_LOSS else None,
        "latched_sequence": None,
        "next_run_at": None,
        **dict.fromkeys(_FACTS),
    }


def held(order: Order, side: PositionSide, crossing: Crossing, now: datetime) -> dict[str, object]:
    """What the row of an exit becomes that crosses while trading is halted: let go, and held since then."""
    changes = let_go(order, side, crossing.sequence, crossing.watermark)
    return changes | {"held_since": order.held_since or now}


def _ratcheted(order: Order, side: PositionSide, watermark: Decimal, seen: Sequence[Tick]) -> Decimal:
    prices = [price for tick in seen if (price := tick.price_by(order.trigger_by, side)) is not None]
    best = max if side is PositionSide.LONG else min
    return best([watermark, *prices])
