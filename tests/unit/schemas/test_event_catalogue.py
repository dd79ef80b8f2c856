"""The catalogue of events: every type is in it, and its schemas say what the events tell."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from app.core.json import encode_event
from app.domain.enums import (
    DepositStatus,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    SwapStatus,
    TradeStatus,
    TriggerBy,
)
from app.domain.events import Event, EventType, deposit_event, order_event, position_event, trade_event
from app.domain.webhooks import disabled_event
from app.schemas.event_catalogue import CATALOGUE, EventDescription
from app.schemas.event_data import TradeEventData

ROWS = [pytest.param(row, id=row.type) for row in CATALOGUE.values()]


class Row(SimpleNamespace):
    """A row of whatever table: the columns that are not given are empty."""

    id = 11
    user_id = 5

    def __getattr__(self, name: str) -> Any:
        return None


TRADE = Row(
    provider="paper",
    asset="BTC",
    pair_id=1,
    trade_index=0,
    side=PositionSide.LONG,
    collateral=Decimal(100),
    leverage=10,
    size=Decimal("0.123456789012345678"),
    fees=Decimal(0),
    funding=Decimal("-0.5"),
    status=TradeStatus.OPEN,
)
ORDER = Row(
    pair_id=1,
    asset="BTC",
    role=OrderRole.EXIT,
    order_type=OrderType.OCO,
    side=OrderSide.SELL,
    quantity=Decimal(1),
    filled_quantity=Decimal(0),
    trigger_by=TriggerBy.LAST,
    price_protect=True,
    status=OrderStatus.WAITING,
)
POSITION = Row(
    trade_id=1,
    pair_id=1,
    asset="BTC",
    side=PositionSide.SHORT,
    size=Decimal(1),
    entry_price=Decimal(1000),
    margin=Decimal(100),
    leverage=10,
    is_open=True,
)
DEPOSIT = Row(
    token_address="0x00",
    token_symbol="DAI",
    chain="polygon",
    amount=Decimal("1000.000000000000000001"),
    status=DepositStatus.PROCESSING,
    provider="lighter",
)
SWAP = Row(id=12, swap_status=SwapStatus.PROCESSING, from_token="0x00", to_token="0x01", swap_provider="lifi")
WRITTEN = [
    trade_event(EventType.TRADE_EXECUTED, TRADE),
    order_event(EventType.ORDER_CREATED, ORDER, "attached"),
    position_event(POSITION, "opened"),
    deposit_event(EventType.DEPOSIT_CREATED, DEPOSIT),
    deposit_event(EventType.SWAP_PROCESSING, DEPOSIT, SWAP, "broadcast"),
    disabled_event(
        Row(url="https://example.com", disabled_reason="gone", disabled_at=datetime(2026, 1, 5, tzinfo=UTC))
    ),
]


def test_every_type_of_the_log_is_described_and_no_other() -> None:
    assert list(CATALOGUE) == list(EventType)
    assert all(row.type == kind for kind, row in CATALOGUE.items())


@pytest.mark.parametrize("row", ROWS)
def test_an_example_is_what_the_log_would_hold(row: EventDescription) -> None:
    text = json.dumps(row.example)

    row.model.model_validate_json(text, extra="forbid")
    assert row.example.keys() == row.model.model_fields.keys()
    assert encode_event(row.model.model_validate_json(text).model_dump()) == encode_event(row.example)
    jsonschema_rs.validator_for(row.json_schema).validate(row.example)


@pytest.mark.parametrize("row", ROWS)
def test_a_schema_asks_for_every_member_and_lets_new_ones_pass(row: EventDescription) -> None:
    schema = jsonschema_rs.validator_for(row.json_schema)

    assert schema.is_valid({**row.example, "added_in_a_later_release": True})
    for name in row.example:
        assert not schema.is_valid({key: value for key, value in row.example.items() if key != name}), name
        assert not schema.is_valid({**row.example, name: {}}), name


@pytest.mark.parametrize("event", WRITTEN, ids=lambda event: event.type)
def test_what_is_written_is_what_is_described(event: Event) -> None:
    row, text = CATALOGUE[event.type], encode_event(event.data)

    row.model.model_validate_json(text, extra="forbid")
    jsonschema_rs.validator_for(row.json_schema).validate(json.loads(text))


def test_an_event_of_the_family_has_one_shape() -> None:
    families = {kind.partition(".")[0]: row.model for kind, row in CATALOGUE.items() if not kind.startswith("webhook")}

    assert all(CATALOGUE[kind].model is families[kind.partition(".")[0]] for kind in CATALOGUE if kind[0] != "w")
    assert families["swap"] is families["deposit"]


@pytest.mark.parametrize("text", ['"1e5"', '"0x1"', '" 1"', '""', "true"])
def test_a_number_is_a_number_or_plain_digits(text: str) -> None:
    schema = jsonschema_rs.validator_for(TradeEventData.model_json_schema(mode="serialization"))

    assert not schema.is_valid({**CATALOGUE["trade.closed"].example, "pnl": json.loads(text)})


def test_a_number_that_no_float_holds_is_read_exactly() -> None:
    row = CATALOGUE["trade.closed"]
    read = row.model.model_validate_json(json.dumps({**row.example, "pnl": "0.123456789012345678"}))

    assert isinstance(read, TradeEventData)
    assert read.pnl == Decimal("0.123456789012345678")


def test_a_member_that_is_unknown_or_missing_is_noticed() -> None:
    row = CATALOGUE["trade.closed"]

    for wrong in ({**row.example, "surprise": 1}, {**row.example, "status": "vanished"}, {}):
        with pytest.raises(ValidationError):
            row.model.model_validate(wrong, extra="forbid")
