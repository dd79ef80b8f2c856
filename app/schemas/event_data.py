"""The data of every event, as the log, the webhooks and the WebSocket tell it."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import Field, WithJsonSchema

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
    TriggeredLeg,
    WalletType,
)
from app.schemas.base import ResponseModel

# A number that a 64-bit float cannot hold exactly is a string in the log.
EventNumber = Annotated[
    Decimal,
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}]}),
]
Reason = Annotated[str | None, Field(description="Why, in a word for programs; null where the type says all")]


class EventData(ResponseModel):
    """What every event tells: to whom it happened."""

    user_id: int


class TradeFacts(EventData):
    """A trade, but for its status. Money in USDC, `size` in units of the asset."""

    trade_id: int
    provider: str = Field(description="The venue")
    asset: str
    pair_id: int
    trade_index: int = Field(description="With pair_id the trade's name in paths")
    direction: PositionSide
    collateral: EventNumber
    leverage: int
    size: EventNumber = Field(description="What is open now")
    entry_price: EventNumber | None
    exit_price: EventNumber | None
    pnl: EventNumber | None = Field(description="Realised, before fees and funding")
    fees: EventNumber
    funding: EventNumber = Field(description="Received less paid")
    transaction_hash: str | None
    reason: Reason


class TradeEventData(TradeFacts):
    """A trade as it stood right after the event."""

    status: TradeStatus


class OrderFacts(EventData):
    """An order, but for its status; `quantity` in units of the asset."""

    order_id: int
    trade_id: int | None
    pair_id: int
    client_order_id: str | None
    asset: str
    role: OrderRole
    order_type: OrderType
    side: OrderSide
    quantity: EventNumber
    filled_quantity: EventNumber
    average_price: EventNumber | None
    price: EventNumber | None
    stop_price: EventNumber | None = Field(description="A trailing stop has its final one here, once it has fired")
    take_profit_price: EventNumber | None
    trailing_stop_distance: EventNumber | None
    trailing_stop_percentage: EventNumber | None
    activation_price: EventNumber | None
    activated_sequence: int | None = Field(description="The tick at which a trailing stop began")
    oco_stop_price: EventNumber | None
    oco_take_profit_price: EventNumber | None
    trigger_by: TriggerBy
    price_protect: bool
    triggered_leg: TriggeredLeg | None = Field(description="Which level fired")
    trigger_price: EventNumber | None = Field(description="The watched price of the tick that fired it, not its fill")
    trigger_source: str | None
    trigger_sequence: int | None = Field(description="The tick that fired it")
    triggered_at: datetime | None
    watermark: EventNumber | None = Field(description="The best price that a trailing stop has seen")
    reason: Reason


class OrderEventData(OrderFacts):
    """An order as it stood right after the event."""

    status: OrderStatus


class PositionEventData(EventData):
    """A position as it stood right after the event; `size` in units of the asset, `margin` in USDC."""

    position_id: int
    trade_id: int
    pair_id: int
    asset: str
    side: PositionSide
    size: EventNumber
    entry_price: EventNumber
    liquidation_price: EventNumber | None
    margin: EventNumber
    leverage: int
    is_open: bool
    reason: Reason


class DepositEventData(EventData):
    """A deposit and its latest swap to USDC on Arbitrum; what is of the swap is null before there is one."""

    deposit_id: int
    token_address: str
    token_symbol: str
    chain: str
    amount: EventNumber = Field(description="In units of the token")
    status: DepositStatus = Field(description="The deposit's")
    stage: str | None = Field(description="Where within its status it stands")
    provider: str = Field(description="The venue that it is for")
    transaction_hash: str | None
    swap_id: int | None
    from_token: str | None
    from_chain: str | None
    to_token: str | None
    to_chain: str | None
    swap_provider: str | None
    swap_status: SwapStatus | None
    swap_progress: EventNumber | None = Field(
        description="Percent of the way to the USDC, at least so much; null once the swap has failed"
    )
    swap_transaction_hash: str | None
    estimated_output: EventNumber | None = Field(description="USDC that the swap is to bring")
    actual_output: EventNumber | None = Field(description="USDC that it brought")
    error_message: str | None
    reason: Reason


class WalletEventData(EventData):
    """A wallet that a user has from now on."""

    wallet_id: int
    wallet_address: str
    wallet_type: WalletType
    provider: str


class WebhookDisabledData(EventData):
    """An endpoint that gets nothing any more until its owner enables it again."""

    webhook_id: int
    url: str
    reason: str = Field(description="failing: no success for 5 days; gone: it answered 410")
    failing_since: datetime | None
    disabled_at: datetime


class WebhookTestData(EventData):
    """An event that an endpoint's owner asked for; no other endpoint gets it."""

    webhook_id: int
