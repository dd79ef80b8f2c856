"""Every type of event that the log can hold: what it means, the JSON Schema of its data, and an example."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.domain.events import EventType
from app.schemas.event_data import (
    DepositEventData,
    EventData,
    OrderEventData,
    PositionEventData,
    TradeEventData,
    WalletEventData,
    WebhookDisabledData,
    WebhookTestData,
)
from app.schemas.event_examples import (
    ARRIVED,
    DEPOSIT,
    ENTRY,
    EXIT,
    FIRED,
    INSTANT,
    LIMIT,
    POSITION,
    SWAPPED,
    SWAPPING,
    TRADE,
    UNOPENED,
    UNSWAPPED,
    Example,
)

type DataModel = type[EventData]

_DIGITS = r"^-?[0-9]+(\.[0-9]+)?$"


@dataclass(frozen=True, slots=True)
class EventDescription:
    """One row of the catalogue; `example` is the data of such an event."""

    type: EventType
    description: str
    model: DataModel
    example: Example

    @property
    def json_schema(self) -> dict[str, Any]:
        """The schema of the data. Members may be added to it: readers pass over those that they do not know."""
        return _schema_of(self.model)


@cache
def _schema_of(model: DataModel) -> dict[str, Any]:
    schema: dict[str, Any] = _as_sent(model.model_json_schema(mode="serialization"))
    return schema


def _as_sent(schema: Any) -> Any:
    """A schema that takes what webhooks send too: there a number that a 64-bit float cannot hold is a string."""
    if isinstance(schema, list):
        return [_as_sent(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    read = {name: _as_sent(part) for name, part in schema.items()}
    if read.get("type") == "number":
        del read["type"]
        read["anyOf"] = [{"type": "number"}, {"type": "string", "pattern": _DIGITS}]
    return read


CATALOGUE: Mapping[str, EventDescription] = {
    row.type: row
    for row in (
        EventDescription(
            EventType.TRADE_EXECUTED, "The entry had its first fill: the trade is open.", TradeEventData, TRADE
        ),
        EventDescription(
            EventType.TRADE_UPDATED,
            "Anything else that changed: status and reason say what (closing, part_filled, part_closed, funding ...).",
            TradeEventData,
            TRADE | {"status": "closing", "reason": "closing"},
        ),
        EventDescription(
            EventType.TRADE_CLOSED,
            "Nothing is open any more and nothing can fill: exit_price, pnl and fees are final.",
            TradeEventData,
            TRADE
            | {"size": 0.0, "exit_price": 45898.0, "pnl": 199.555356, "fees": 10.099768}
            | {"status": "closed", "reason": "trailing"},
        ),
        EventDescription(
            EventType.TRADE_FAILED,
            "The venue refused the entry: the trade never opened; reason says why.",
            TradeEventData,
            UNOPENED | {"status": "failed", "reason": "SLIPPAGE_EXCEEDED"},
        ),
        EventDescription(
            EventType.TRADE_LIQUIDATED,
            "The venue took the position over; the margin is lost.",
            TradeEventData,
            TRADE
            | {"size": 0.0, "exit_price": 40908.5, "pnl": -909.221313, "fees": 4.999995}
            | {"status": "liquidated", "reason": "liquidated"},
        ),
        EventDescription(
            EventType.ORDER_CREATED,
            "An order was written: an entry before it is sent, an exit that waits for it, a close.",
            OrderEventData,
            ENTRY,
        ),
        EventDescription(
            EventType.ORDER_UPDATED,
            "Anything else that changed: status and reason say what (submitted, armed, amended, held, unknown ...).",
            OrderEventData,
            EXIT | {"status": "pending", "reason": "armed"},
        ),
        EventDescription(
            EventType.ORDER_TRIGGERED,
            "A price fired an exit: it is about to close the trade; what fired it stands in trigger_*.",
            OrderEventData,
            FIRED,
        ),
        EventDescription(
            EventType.ORDER_FILLED,
            "The order is filled, whole.",
            OrderEventData,
            ENTRY | {"status": "filled", "filled_quantity": 0.222222, "average_price": 45000.0},
        ),
        EventDescription(
            EventType.ORDER_CANCELLED,
            "The order was taken back, by its owner or because its trade has ended; what it had filled stands.",
            OrderEventData,
            LIMIT | {"status": "cancelled", "reason": "user"},
        ),
        EventDescription(
            EventType.ORDER_REJECTED,
            "The venue refused the order; reason says why, and nothing was filled.",
            OrderEventData,
            ENTRY | {"status": "rejected", "reason": "SLIPPAGE_EXCEEDED"},
        ),
        EventDescription(
            EventType.ORDER_EXPIRED,
            "The order's time ran out before it was filled, whole.",
            OrderEventData,
            LIMIT | {"status": "expired", "reason": "expires_at"},
        ),
        EventDescription(
            EventType.ORDER_FAILED,
            "The order could not be carried out, and it is certain that it was not.",
            OrderEventData,
            ENTRY | {"status": "failed", "reason": "NOT_RECEIVED"},
        ),
        EventDescription(
            EventType.POSITION_UPDATED,
            "Size, margin, entry or exits of a position changed, or it was opened or closed: reason says which.",
            PositionEventData,
            POSITION,
        ),
        EventDescription(
            EventType.DEPOSIT_CREATED, "A deposit is expected, or its transaction is known.", DepositEventData, DEPOSIT
        ),
        EventDescription(
            EventType.DEPOSIT_PROCESSING,
            "The deposit has moved on; stage says how far.",
            DepositEventData,
            ARRIVED,
        ),
        EventDescription(
            EventType.DEPOSIT_COMPLETED,
            "The deposit is USDC on Arbitrum, verified there.",
            DepositEventData,
            SWAPPED | {"status": "completed", "stage": "credited"},
        ),
        EventDescription(
            EventType.DEPOSIT_FAILED,
            "The deposit ended without USDC; reason says why, and the rest where the tokens are.",
            DepositEventData,
            UNSWAPPED | {"status": "failed", "stage": "SWAP_FAILED", "reason": "SWAP_FAILED"},
        ),
        EventDescription(
            EventType.SWAP_PROCESSING,
            "The swap of a deposit has moved on; status is the deposit's, swap_status the swap's.",
            DepositEventData,
            SWAPPING,
        ),
        EventDescription(
            EventType.SWAP_COMPLETED,
            "The swap has brought actual_output USDC.",
            DepositEventData,
            SWAPPED,
        ),
        EventDescription(
            EventType.SWAP_FAILED,
            "This swap brought nothing; another may follow while the deposit is processing.",
            DepositEventData,
            UNSWAPPED,
        ),
        EventDescription(
            EventType.WALLET_CREATED,
            "The user has a new wallet.",
            WalletEventData,
            {
                "user_id": 456,
                "wallet_id": 5,
                "wallet_address": "0x52908400098527886E0F7030069857D2E4169EE7",
                "wallet_type": "mpc",
                "provider": "privy",
            },
        ),
        EventDescription(
            EventType.WEBHOOK_DISABLED,
            "An endpoint gets no events any more: it failed for 5 days, or answered 410.",
            WebhookDisabledData,
            {
                "user_id": 456,
                "webhook_id": 3,
                "url": "https://example.com/webhook",
                "reason": "failing",
                "failing_since": "2025-12-31T12:00:00Z",
                "disabled_at": INSTANT,
            },
        ),
        EventDescription(
            EventType.WEBHOOK_TEST,
            "An endpoint's owner asked for a test; only that endpoint gets it.",
            WebhookTestData,
            {"user_id": 456, "webhook_id": 3},
        ),
    )
}
