"""The data of every event, as the log and the WebSocket tell it."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

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
from app.schemas.base import Number, ResponseModel

Reason = Annotated[str | None, Field(description="Why, in a word for programs; null where the type says all")]


class EventData(ResponseModel):
    """What every event tells: to whom it happened."""

    user_id: int = Field(description="To whom it happened")


class TradeFacts(EventData):
    """A trade, but for its status. Money in USDC, `size` in units of the asset."""

    trade_id: int = Field(description="The trade")
    provider: str = Field(description="The venue")
    asset: str = Field(description="The asset that is traded")
    pair_id: int = Field(description="The pair")
    trade_index: int = Field(description="With pair_id the trade's name in paths")
    direction: PositionSide = Field(description="Which way it profits")
    collateral: Number = Field(description="What was put in, in USDC")
    leverage: int = Field(description="How many times that is traded")
    size: Number = Field(description="What is open now")
    entry_price: Number | None = Field(description="Average price of its entry, in quote units")
    exit_price: Number | None = Field(description="Average price of its closes, in quote units")
    pnl: Number | None = Field(description="Realised, before fees and funding")
    fees: Number = Field(description="Paid so far, in USDC")
    funding: Number = Field(description="Received less paid")
    transaction_hash: str | None = Field(description="Of its entry, at the venue")
    reason: Reason


class TradeEventData(TradeFacts):
    """A trade as it stood right after the event."""

    status: TradeStatus = Field(description="Where the trade stands")


class OrderFacts(EventData):
    """An order, but for its status; `quantity` in units of the asset."""

    order_id: int = Field(description="The order")
    trade_id: int | None = Field(description="The trade that it opens or closes")
    pair_id: int = Field(description="The pair")
    client_order_id: str | None = Field(description="The name that its owner gave it")
    asset: str = Field(description="The asset that is traded")
    role: OrderRole = Field(description="entry opens, exit waits to close, close closes by hand")
    order_type: OrderType = Field(description="What it asks for")
    side: OrderSide = Field(description="Which way it trades")
    quantity: Number = Field(description="What it is to trade, in units of the asset")
    filled_quantity: Number = Field(description="What it has traded, in units of the asset")
    average_price: Number | None = Field(description="Of its fills, in quote units")
    price: Number | None = Field(
        description="The limit of a LIMIT, else the reference price of max_slippage, in quote units"
    )
    stop_price: Number | None = Field(description="A trailing stop has its final one here, once it has fired")
    take_profit_price: Number | None = Field(description="Where a take profit closes, in quote units")
    trailing_stop_distance: Number | None = Field(
        description="How far the stop stays behind the watermark, in quote units"
    )
    trailing_stop_percentage: Number | None = Field(
        description="How far the stop stays behind the watermark, in per cent of it"
    )
    activation_price: Number | None = Field(description="Where a trailing stop begins, in quote units; null: at once")
    activated_sequence: int | None = Field(description="The tick at which a trailing stop began")
    oco_stop_price: Number | None = Field(description="The stop of an OCO pair, in quote units")
    oco_take_profit_price: Number | None = Field(description="The take profit of that pair, in quote units")
    trigger_by: TriggerBy = Field(description="The price that it watches")
    price_protect: bool = Field(description="Whether it passes over prices far from the last trade")
    triggered_leg: TriggeredLeg | None = Field(description="Which level fired")
    trigger_price: Number | None = Field(description="The watched price of the tick that fired it, not its fill")
    trigger_source: str | None = Field(description="Where the price that fired it came from")
    trigger_sequence: int | None = Field(description="The tick that fired it")
    triggered_at: datetime | None = Field(description="When that was acted on, UTC, ISO 8601")
    watermark: Number | None = Field(description="The best price that a trailing stop has seen")
    reason: Reason


class OrderEventData(OrderFacts):
    """An order as it stood right after the event."""

    status: OrderStatus = Field(description="Where the order stands")


class PositionEventData(EventData):
    """A position as it stood right after the event; `size` in units of the asset, `margin` in USDC."""

    position_id: int = Field(description="The position")
    trade_id: int = Field(description="Its trade")
    pair_id: int = Field(description="The pair")
    asset: str = Field(description="The asset that is traded")
    side: PositionSide = Field(description="Which way it profits")
    size: Number = Field(description="In units of the asset")
    entry_price: Number = Field(description="Average price of its entry, in quote units")
    liquidation_price: Number | None = Field(description="The mark at which the venue takes it over, in quote units")
    margin: Number = Field(description="What can be lost, in USDC")
    leverage: int = Field(description="How many times the collateral is traded")
    is_open: bool = Field(description="Whether anything of it is open")
    reason: Reason


class DepositEventData(EventData):
    """A deposit and its latest swap to USDC on Arbitrum; what is of the swap is null before there is one."""

    deposit_id: int = Field(description="The deposit")
    token_address: str = Field(description="The token's address on its chain")
    token_symbol: str = Field(description="The token's symbol, for people")
    chain: str = Field(description="The chain that it comes from")
    amount: Number = Field(description="In units of the token")
    status: DepositStatus = Field(description="The deposit's")
    stage: str | None = Field(description="Where within its status it stands")
    provider: str = Field(description="The venue that it is for")
    transaction_hash: str | None = Field(description="Of the transfer to us")
    swap_id: int | None = Field(description="Its latest swap")
    from_token: str | None = Field(description="What is swapped")
    from_chain: str | None = Field(description="From where")
    to_token: str | None = Field(description="Into what")
    to_chain: str | None = Field(description="To where")
    swap_provider: str | None = Field(description="Who swaps")
    swap_status: SwapStatus | None = Field(description="The swap's")
    swap_progress: Number | None = Field(
        description="Percent of the way to the USDC, at least so much; null once the swap has failed"
    )
    swap_transaction_hash: str | None = Field(description="Of the swap")
    estimated_output: Number | None = Field(description="USDC that the swap is to bring")
    actual_output: Number | None = Field(description="USDC that it brought")
    error_message: str | None = Field(description="What went wrong with the swap, for people")
    reason: Reason


class WalletEventData(EventData):
    """A wallet that a user has from now on."""

    wallet_id: int = Field(description="The wallet")
    wallet_address: str = Field(description="Its address")
    wallet_type: WalletType = Field(description="Who holds its keys")
    provider: str = Field(description="Who runs it")


class WebhookDisabledData(EventData):
    """An endpoint that gets nothing any more until its owner enables it again."""

    webhook_id: int = Field(description="The endpoint")
    url: str = Field(description="Where its events went")
    reason: str = Field(description="failing: no success for 5 days; gone: it answered 410")
    failing_since: datetime | None = Field(description="Since when every attempt has failed, UTC, ISO 8601")
    disabled_at: datetime = Field(description="When it was switched off, UTC, ISO 8601")


class WebhookTestData(EventData):
    """An event that an endpoint's owner asked for; no other endpoint gets it."""

    webhook_id: int = Field(description="The endpoint that is tested")
