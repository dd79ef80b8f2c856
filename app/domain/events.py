"""The event log's vocabulary: types, channels, and the data that each event carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from app.domain.conversion import progress_of

type EventData = Mapping[str, object]


class EventType(StrEnum):
    """Every type that can stand in the log."""

    TRADE_EXECUTED = "trade.executed"
    TRADE_UPDATED = "trade.updated"
    TRADE_CLOSED = "trade.closed"
    TRADE_FAILED = "trade.failed"
    TRADE_LIQUIDATED = "trade.liquidated"
    ORDER_CREATED = "order.created"
    ORDER_UPDATED = "order.updated"
    ORDER_TRIGGERED = "order.triggered"
    ORDER_FILLED = "order.filled"
    ORDER_CANCELLED = "order.cancelled"
    ORDER_REJECTED = "order.rejected"
    ORDER_EXPIRED = "order.expired"
    ORDER_FAILED = "order.failed"
    POSITION_UPDATED = "position.updated"
    DEPOSIT_CREATED = "deposit.created"
    DEPOSIT_PROCESSING = "deposit.processing"
    DEPOSIT_COMPLETED = "deposit.completed"
    DEPOSIT_FAILED = "deposit.failed"
    SWAP_PROCESSING = "swap.processing"
    SWAP_COMPLETED = "swap.completed"
    SWAP_FAILED = "swap.failed"
    WALLET_CREATED = "wallet.created"
    WEBHOOK_DISABLED = "webhook.disabled"
    WEBHOOK_TEST = "webhook.test"

    @property
    def channel(self) -> str | None:
        """The WebSocket channel that tells it; None for those told by webhook alone."""
        return _CHANNELS.get(self.value.partition(".")[0])


_CHANNELS = {
    "trade": "trades",
    "order": "trades",
    "position": "positions",
    "deposit": "deposits",
    "swap": "deposits",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one user; its sequence is given when it is written."""

    user_id: int
    type: EventType
    data: EventData


class Owned(Protocol):
    """A row that events can tell about: it has an id and an owner."""

    id: Any
    user_id: Any


class Directed(Owned, Protocol):
    """A row of a trade: owned, and long or short."""

    @property
    def side(self) -> Any:
        """long or short."""
        ...


class Swapping(Protocol):
    """A row of a deposit's conversion."""

    id: Any
    swap_status: Any


_TRADE_FIELDS = [
    "user_id",
    "provider",
    "asset",
    "pair_id",
    "trade_index",
    "collateral",
    "leverage",
    "size",
    "entry_price",
    "exit_price",
    "pnl",
    "fees",
    "funding",
    "status",
    "transaction_hash",
]
_ORDER_FIELDS = [
    "user_id",
    "trade_id",
    "pair_id",
    "client_order_id",
    "asset",
    "role",
    "order_type",
    "side",
    "quantity",
    "filled_quantity",
    "average_price",
    "price",
    "stop_price",
    "take_profit_price",
    "trailing_stop_distance",
    "trailing_stop_percentage",
    "activation_price",
    "activated_sequence",
    "oco_stop_price",
    "oco_take_profit_price",
    "trigger_by",
    "price_protect",
    "status",
    "triggered_leg",
    "trigger_price",
    "trigger_source",
    "trigger_sequence",
    "triggered_at",
    "watermark",
]
_POSITION_FIELDS = [
    "user_id",
    "trade_id",
    "pair_id",
    "asset",
    "side",
    "size",
    "entry_price",
    "liquidation_price",
    "margin",
    "leverage",
    "is_open",
]
_DEPOSIT_FIELDS = [
    "user_id",
    "token_address",
    "token_symbol",
    "chain",
    "amount",
    "status",
    "stage",
    "provider",
    "transaction_hash",
]
_SWAP_FIELDS = [
    "from_token",
    "from_chain",
    "to_token",
    "to_chain",
    "swap_provider",
    "swap_status",
    "swap_transaction_hash",
    "estimated_output",
    "actual_output",
    "error_message",
]


def _facts(row: Owned, key: str, fields: list[str]) -> dict[str, object]:
    return {key: row.id} | {name: getattr(row, name) for name in fields}


def trade_event(kind: EventType, trade: Directed, reason: str | None = None) -> Event:
    """An event about a Trade row; `direction` is the word, as the seed's webhook payload has it."""
    facts = _facts(trade, "trade_id", _TRADE_FIELDS)
    return Event(trade.user_id, kind, facts | {"direction": trade.side, "reason": reason})


def order_event(kind: EventType, order: Owned, reason: str | None = None) -> Event:
    """An event about an Order row; a triggered one tells what fired it."""
    return Event(order.user_id, kind, _facts(order, "order_id", _ORDER_FIELDS) | {"reason": reason})


def position_event(position: Owned, reason: str) -> Event:
    """An event about a Position row whose size, margin, entry or exits changed; `reason` says which."""
    facts = _facts(position, "position_id", _POSITION_FIELDS)
    return Event(position.user_id, EventType.POSITION_UPDATED, facts | {"reason": reason})


def deposit_event(kind: EventType, deposit: Owned, swap: Swapping | None = None, reason: str | None = None) -> Event:
    """An event about a Deposit row and its latest swap, whichever of the two has changed; `status` is the deposit's."""
    told: dict[str, object] = {name: getattr(swap, name, None) for name in _SWAP_FIELDS}
    told["swap_id"] = swap.id if swap else None
    told["swap_progress"] = progress_of(swap.swap_status) if swap else None
    facts = _facts(deposit, "deposit_id", _DEPOSIT_FIELDS)
    return Event(deposit.user_id, kind, facts | told | {"reason": reason})
