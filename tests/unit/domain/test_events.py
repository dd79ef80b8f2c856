"""The event log's vocabulary: the types promised, their channels, and what each event tells."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from app.core.json import encode_event
from app.domain.enums import DepositStatus, OrderStatus, PositionSide, SwapStatus, TradeStatus
from app.domain.events import EventType, deposit_event, order_event, position_event, trade_event

PROMISED = {
    "trades": "trade.executed trade.updated trade.closed trade.failed trade.liquidated order.created order.updated "
    "order.triggered order.filled order.cancelled order.rejected order.expired order.failed",
    "positions": "position.updated",
    "deposits": "deposit.created deposit.processing deposit.completed deposit.failed swap.processing swap.completed "
    "swap.failed",
    None: "wallet.created webhook.disabled webhook.test",
}


@dataclass
class Row:
    """A row of whatever table: it has each column that is asked for."""

    id: int = 11
    user_id: int = 5
    side: PositionSide = PositionSide.SHORT
    known: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return self.known.get(name)


def test_every_type_promised_exists_and_is_told_on_its_channel() -> None:
    told = {channel: {str(kind) for kind in EventType if kind.channel == channel} for channel in PROMISED}

    assert told == {channel: set(names.split()) for channel, names in PROMISED.items()}


@pytest.mark.parametrize(
    ("name", "value"), [("status", TradeStatus.CLOSING), ("pnl", Decimal("-1.5")), ("trade_index", 3)]
)
def test_a_trade_event_tells_the_row_and_why(name: str, value: object) -> None:
    event = trade_event(EventType.TRADE_UPDATED, Row(known={name: value}), "closing")

    assert (event.user_id, event.type) == (5, EventType.TRADE_UPDATED)
    assert event.data["trade_id"] == 11
    assert event.data["direction"] is PositionSide.SHORT
    assert (event.data["reason"], event.data[name]) == ("closing", value)


def test_a_triggered_order_tells_what_fired_it() -> None:
    facts = {
        "trigger_price": Decimal("99.5"),
        "trigger_source": "paper",
        "trigger_sequence": 41,
        "triggered_at": "2026-01-05T12:00:00Z",
        "triggered_leg": "trailing",
        "stop_price": Decimal("99.6"),
        "watermark": Decimal("101"),
        "status": OrderStatus.TRIGGERED,
    }

    data = order_event(EventType.ORDER_TRIGGERED, Row(known=facts)).data

    assert {name: data[name] for name in facts} == facts
    assert (data["order_id"], data["reason"]) == (11, None)


def test_an_event_keeps_what_was_true_when_it_happened() -> None:
    row = Row(known={"status": OrderStatus.PENDING})
    event = order_event(EventType.ORDER_CREATED, row)

    row.known["status"] = OrderStatus.FILLED

    assert event.data["status"] is OrderStatus.PENDING


def test_a_position_event_tells_which_change_it_is() -> None:
    event = position_event(Row(known={"size": Decimal("0.5")}), "grown")

    assert (event.type, event.data["position_id"]) == (EventType.POSITION_UPDATED, 11)
    assert (event.data["size"], event.data["reason"]) == (Decimal("0.5"), "grown")


def test_a_deposit_event_tells_its_latest_swap_too() -> None:
    deposit = Row(known={"status": DepositStatus.PROCESSING, "token_symbol": "DAI"})
    swap = Row(id=12, known={"swap_status": SwapStatus.PENDING, "estimated_output": Decimal("99.5")})

    before, after = (
        dict(deposit_event(EventType.SWAP_PROCESSING, deposit, one, "quoted").data) for one in (None, swap)
    )

    wanted = {"deposit_id": 11, "user_id": 5, "status": DepositStatus.PROCESSING, "reason": "quoted"}
    assert before | wanted == before | {"swap_id": None, "swap_status": None, "swap_progress": None}
    wanted = {"swap_id": 12, "swap_status": SwapStatus.PENDING, "swap_progress": 10, "token_symbol": "DAI"}
    assert after | wanted == after | {"deposit_id": 11, "estimated_output": Decimal("99.5")}


@pytest.mark.parametrize("secret", ["fingerprint", "version", "attempt", "armed_price", "venue_account_id"])
def test_events_tell_nothing_of_our_inner_workings(secret: str) -> None:
    row = Row(known={secret: "inner"})
    events = [
        trade_event(EventType.TRADE_UPDATED, row),
        order_event(EventType.ORDER_UPDATED, row),
        deposit_event(EventType.DEPOSIT_PROCESSING, row, row),
    ]

    assert all("inner" not in encode_event(event.data) for event in events)
