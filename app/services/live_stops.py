"""Where trailing stops stand: from the watermark rows that are durable, so that no one is shown more."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from app.domain.enums import OrderSide, OrderStatus, PositionSide
from app.domain.triggers import TriggerOrder, as_long, trailing_stop
from app.models.market import WatermarkRow
from app.models.trading import Order
from app.repositories.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class LiveStop:
    """The exact stop of a waiting trailing order, and the watermark it follows from."""

    stop_price: Decimal
    watermark: Decimal


async def live_stops(work: UnitOfWork, orders: Sequence[Order]) -> dict[int, LiveStop]:
    """The live stop of each trailing order that waits for its price, by order id; none before its activation."""
    trailing = [
        order
        for order in orders
        if order.status is OrderStatus.PENDING
        and order.armed_price is not None
        and is_trailing(order)
        and not awaits_activation(order)
    ]
    if not trailing:
        return {}
    rows = await work.engine_state.watermarks(sorted({order.pair_id for order in trailing}))
    return {order.id: _stop(order, rows) for order in trailing}


def is_trailing(order: Order) -> bool:
    """Whether an order's stop follows the price."""
    return order.trailing_stop_distance is not None or order.trailing_stop_percentage is not None


def awaits_activation(order: Order) -> bool:
    """Whether a trailing stop has not begun yet, as far as that is durable; one that has fired once has begun."""
    is_begun = order.activated_sequence is not None or order.released_sequence is not None
    return order.activation_price is not None and not is_begun


def watched_terms(order: Order) -> TriggerOrder:
    """An armed exit as trigger books watch it; its position's side is the opposite of its own."""
    if order.armed_sequence is None or order.armed_price is None:
        raise LookupError(f"exit {order.id} waits for a price but was never armed")
    return TriggerOrder(
        order_id=order.id,
        version=order.version,
        side=PositionSide.LONG if order.side is OrderSide.SELL else PositionSide.SHORT,
        armed_sequence=order.armed_sequence,
        armed_price=order.armed_price,
        stop_price=None if is_trailing(order) else order.oco_stop_price or order.stop_price,
        take_profit_price=order.oco_take_profit_price or order.take_profit_price,
        trailing_distance=order.trailing_stop_distance,
        trailing_percentage=order.trailing_stop_percentage,
        activation_price=order.activation_price if awaits_activation(order) else None,
        released_sequence=order.released_sequence,
    )


def _stop(order: Order, rows: Sequence[WatermarkRow]) -> LiveStop:
    terms = watched_terms(order)
    # One that has fired and is tried again stands where it fired: others that share its row may have gone on.
    watermark = _watermark(order, terms, rows) if order.watermark is None else order.watermark
    return LiveStop(trailing_stop(terms, watermark), watermark)


def _watermark(order: Order, terms: TriggerOrder, rows: Sequence[WatermarkRow]) -> Decimal:
    kept = next(
        (
            row.extreme
            for row in rows
            if row.pair_id == order.pair_id
            and row.trigger_by is order.trigger_by
            and row.price_protect is order.price_protect
            and row.side is terms.side
            and row.from_sequence >= terms.armed_sequence
        ),
        terms.armed_price,
    )
    # The row of an exit that was let go knows more than the last checkpoint may.
    return max(kept, terms.armed_price, key=partial(as_long, terms.side))
