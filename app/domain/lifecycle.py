"""Which state may follow which: orders, trades, intents, deposits, swaps, deliveries."""

from collections.abc import Mapping
from enum import StrEnum

from app.domain.enums import DeliveryStatus, DepositStatus, IntentStatus, OrderStatus, SwapStatus, TradeStatus
from app.domain.errors import InvalidTransition

type Moves[S: StrEnum] = Mapping[S, frozenset[S]]

_ORDER_OUTCOMES = frozenset(
    {
        OrderStatus.PENDING,
        OrderStatus.FILLED,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.REJECTED,
        OrderStatus.CANCELLED,
        OrderStatus.EXPIRED,
        OrderStatus.FAILED,
    }
)
_AFTER_VENUE_REQUEST = frozenset(
    {
        OrderStatus.PENDING,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.EXPIRED,
    }
)
# A venue may fill after our cancel or our expiry was accepted.
_LATE_FILL = frozenset({OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED})

ORDER_MOVES: Moves[OrderStatus] = {
    OrderStatus.WAITING: frozenset({OrderStatus.PENDING, OrderStatus.CANCELLED}),
    OrderStatus.PENDING: frozenset(
        {
            OrderStatus.SUBMITTED,
            OrderStatus.TRIGGERED,
            OrderStatus.FILLED,
            OrderStatus.PARTIALLY_FILLED,
            OrderStatus.PENDING_CANCEL,
            OrderStatus.PENDING_REPLACE,
            OrderStatus.CANCELLED,
            OrderStatus.EXPIRED,
            OrderStatus.REJECTED,
        }
    ),
    OrderStatus.TRIGGERED: frozenset({OrderStatus.SUBMITTED, OrderStatus.PENDING, OrderStatus.CANCELLED}),
    OrderStatus.SUBMITTED: (_ORDER_OUTCOMES - {OrderStatus.EXPIRED}) | {OrderStatus.UNKNOWN},
    OrderStatus.UNKNOWN: _ORDER_OUTCOMES,
    OrderStatus.PARTIALLY_FILLED: frozenset(
        {
            OrderStatus.FILLED,
            OrderStatus.CANCELLED,
            OrderStatus.EXPIRED,
            OrderStatus.PENDING,
            OrderStatus.PENDING_CANCEL,
            OrderStatus.PENDING_REPLACE,
        }
    ),
    OrderStatus.PENDING_CANCEL: _AFTER_VENUE_REQUEST,
    OrderStatus.PENDING_REPLACE: _AFTER_VENUE_REQUEST,
    # PENDING is for exits alone: a late fill of their entry brings them back.
    OrderStatus.CANCELLED: _LATE_FILL | {OrderStatus.PENDING},
    OrderStatus.EXPIRED: _LATE_FILL,
    OrderStatus.FILLED: frozenset(),
    OrderStatus.REJECTED: frozenset(),
    OrderStatus.FAILED: frozenset(),
}

TRADE_MOVES: Moves[TradeStatus] = {
    TradeStatus.PENDING: frozenset({TradeStatus.SUBMITTED, TradeStatus.FAILED, TradeStatus.CANCELLED}),
    TradeStatus.SUBMITTED: frozenset({TradeStatus.OPEN, TradeStatus.FAILED, TradeStatus.CANCELLED}),
    TradeStatus.OPEN: frozenset({TradeStatus.CLOSING, TradeStatus.CLOSED, TradeStatus.LIQUIDATED}),
    TradeStatus.CLOSING: frozenset({TradeStatus.OPEN, TradeStatus.CLOSED, TradeStatus.LIQUIDATED}),
    TradeStatus.CANCELLED: frozenset({TradeStatus.OPEN}),
    TradeStatus.CLOSED: frozenset(),
    TradeStatus.LIQUIDATED: frozenset(),
    TradeStatus.FAILED: frozenset(),
}

INTENT_MOVES: Moves[IntentStatus] = {
    IntentStatus.NEW: frozenset({IntentStatus.SENT, IntentStatus.REJECTED}),
    IntentStatus.SENT: frozenset({IntentStatus.RESTING, IntentStatus.DONE, IntentStatus.REJECTED}),
    IntentStatus.RESTING: frozenset({IntentStatus.DONE, IntentStatus.REJECTED}),
    # A late fill after a definite cancel, whole or in part.
    IntentStatus.REJECTED: frozenset({IntentStatus.DONE, IntentStatus.RESTING}),
    IntentStatus.DONE: frozenset(),
}

DEPOSIT_MOVES: Moves[DepositStatus] = {
    DepositStatus.PENDING: frozenset({DepositStatus.PROCESSING, DepositStatus.COMPLETED, DepositStatus.FAILED}),
    DepositStatus.PROCESSING: frozenset({DepositStatus.COMPLETED, DepositStatus.FAILED}),
    DepositStatus.COMPLETED: frozenset(),
    DepositStatus.FAILED: frozenset(),
}

SWAP_MOVES: Moves[SwapStatus] = {
    SwapStatus.PENDING: frozenset({SwapStatus.PROCESSING, SwapStatus.FAILED}),
    SwapStatus.PROCESSING: frozenset({SwapStatus.COMPLETED, SwapStatus.FAILED}),
    SwapStatus.COMPLETED: frozenset(),
    SwapStatus.FAILED: frozenset(),
}

DELIVERY_MOVES: Moves[DeliveryStatus] = {
    DeliveryStatus.PENDING: frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.FAILED}),
    # An endpoint's owner may ask for a failed or a delivered one again.
    DeliveryStatus.FAILED: frozenset({DeliveryStatus.PENDING}),
    DeliveryStatus.DELIVERED: frozenset({DeliveryStatus.PENDING}),
}

LIVE_ORDER = frozenset(
    {
        OrderStatus.WAITING,
        OrderStatus.PENDING,
        OrderStatus.TRIGGERED,
        OrderStatus.SUBMITTED,
        OrderStatus.UNKNOWN,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.PENDING_CANCEL,
        OrderStatus.PENDING_REPLACE,
    }
)
UNFILLED_TRADE = frozenset({TradeStatus.PENDING, TradeStatus.SUBMITTED})
OPEN_TRADE = frozenset({TradeStatus.OPEN, TradeStatus.CLOSING})


def advance[S: StrEnum](moves: Moves[S], current: S, target: S) -> S:
    """Return `target` when the table allows the move, else raise InvalidTransition."""
    if target not in moves[current]:
        raise InvalidTransition(f"{type(current).__name__}: {current} -> {target}")
    return target
