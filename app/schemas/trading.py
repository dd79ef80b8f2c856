"""Answers of trading; the seed's fields, and what a trader needs beside them."""

from datetime import datetime

from pydantic import Field

from app.domain.enums import (
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    TradeStatus,
    TriggerBy,
    TriggeredLeg,
)
from app.schemas.base import Number, ResponseModel


class OpenTradeResponse(ResponseModel):
    """What became of an opening request; venue facts are null while it is pending."""

    transaction_hash: str | None = Field(description="Of the entry, at the venue")
    pair_id: int = Field(description="The trade's pair")
    trade_index: int = Field(description="The trade's index in its pair")
    status: str = Field(description="success: open; pending: not filled yet", examples=["success", "pending"])
    order_id: int = Field(description="The entry")
    trade_id: int = Field(description="The trade")
    exit_order_ids: list[int] = Field(description="The exits that were attached")
    entry_price: Number | None = Field(description="Average price of the fills, in quote units")
    size: Number | None = Field(description="What was bought or sold, in units of the asset")
    fee: Number | None = Field(description="Paid so far, in USDC")


class CloseTradeResponse(ResponseModel):
    """What became of a close: closed, partially_closed, closing, or cancelled for a trade without fills."""

    transaction_hash: str | None = Field(description="Of the close, at the venue")
    status: str = Field(description="closed, partially_closed, closing or cancelled")
    order_id: int = Field(description="The order that closes")
    trade_id: int = Field(description="The trade")
    exit_price: Number | None = Field(description="Average price of this close's fills, in quote units")
    pnl: Number | None = Field(description="Realised by this close in USDC, before fees and funding")


class OrderResponse(ResponseModel):
    """One order. A trailing stop's `stop_price` is the live one while it waits, the final one once triggered.

    One with an `activation_price` has none before the tick `activated_sequence`.
    """

    id: int = Field(description="The order's id")
    trade_id: int | None = Field(description="The trade that it opens or closes")
    pair_id: int = Field(description="The pair")
    client_order_id: str | None = Field(description="The name that its owner gave it")
    provider: str = Field(description="The venue")
    asset: str = Field(description="The asset that is traded")
    role: OrderRole = Field(description="entry opens, exit waits to close, close closes by hand")
    order_type: OrderType = Field(description="What it asks for")
    side: OrderSide = Field(description="Which way it trades")
    reduce_only: bool = Field(description="Whether it can only make a position smaller")
    quantity: Number = Field(description="What it is to trade, in units of the asset")
    filled_quantity: Number = Field(description="What it has traded, in units of the asset")
    average_price: Number | None = Field(description="Of its fills, in quote units")
    fee: Number = Field(description="Paid so far, in USDC")
    price: Number | None = Field(
        description="The limit of a LIMIT, else the reference price of max_slippage, in quote units"
    )
    stop_price: Number | None = Field(description="Where it stops, in quote units; of a trailing stop the present one")
    take_profit_price: Number | None = Field(description="Where a take profit closes, in quote units")
    trailing_stop_distance: Number | None = Field(
        description="How far the stop stays behind the watermark, in quote units"
    )
    trailing_stop_percentage: Number | None = Field(
        description="How far the stop stays behind the watermark, in per cent of it"
    )
    activation_price: Number | None = Field(description="Where a trailing stop begins, in quote units; null: at once")
    activated_sequence: int | None = Field(description="The tick at which a trailing stop with an activation began")
    oco_stop_price: Number | None = Field(description="The stop of an OCO pair, in quote units")
    oco_take_profit_price: Number | None = Field(description="The take profit of that pair, in quote units")
    max_slippage: Number | None = Field(
        description="The most that a fill may be worse, as a fraction of the reference price"
    )
    trigger_by: TriggerBy = Field(description="The price that it watches")
    price_protect: bool = Field(description="Whether it passes over prices far from the last trade")
    status: OrderStatus = Field(description="Where it stands")
    reason: str | None = Field(description="Why, in a word for programs")
    held_since: datetime | None = Field(
        description="Since when an exit that was reached is held, because trading is halted, UTC, ISO 8601"
    )
    watermark: Number | None = Field(description="The best price that a trailing stop has seen, in quote units")
    triggered_leg: TriggeredLeg | None = Field(description="Which level fired")
    trigger_price: Number | None = Field(description="The watched price that fired it, not its fill, in quote units")
    trigger_source: str | None = Field(description="Where that price came from")
    trigger_sequence: int | None = Field(description="The tick that fired it")
    triggered_at: datetime | None = Field(description="When that was acted on, UTC, ISO 8601")
    transaction_hash: str | None = Field(description="At the venue")
    expires_at: datetime | None = Field(description="When it is cancelled while it rests, UTC, ISO 8601")
    unknown_since: datetime | None = Field(
        description="Since when nobody knows what the venue did with it, UTC, ISO 8601"
    )
    needs_review: bool = Field(description="Whether an operator has to look at it")
    created_at: datetime = Field(description="When it was made, UTC, ISO 8601")
    updated_at: datetime = Field(description="When it changed last, UTC, ISO 8601")


class OrderList(ResponseModel):
    """A page of orders, newest first."""

    orders: list[OrderResponse] = Field(description="Newest first")
    next_cursor: str | None = Field(description="Asks for the next page; null on the last")


class TradeResponse(ResponseModel):
    """One trade; `direction` true is long. Money in USDC, `size` in units of the asset."""

    id: int = Field(description="The trade's id")
    provider: str = Field(description="The venue")
    asset: str = Field(description="The asset that is traded")
    asset_type: int = Field(description="The category's number")
    pair_id: int = Field(description="The pair")
    trade_index: int = Field(description="With pair_id its name in paths")
    venue_trade_index: str | None = Field(description="Its number at the venue")
    direction: bool = Field(description="true is long, false is short")
    collateral: Number = Field(description="What was put in, in USDC")
    leverage: int = Field(description="How many times that is traded")
    size: Number = Field(description="What is open now, in units of the asset")
    entry_price: Number | None = Field(description="Average price of its entry, in quote units")
    current_price: Number | None = Field(description="The mark while it is open, in quote units")
    exit_price: Number | None = Field(description="Average price of its closes, in quote units")
    pnl: Number | None = Field(description="Realised in USDC, before fees and funding")
    fees: Number = Field(description="Paid so far, in USDC")
    funding: Number = Field(description="Received less paid, in USDC")
    status: TradeStatus = Field(description="Where it stands")
    close_reason: str | None = Field(
        description="What closed it, in a word: user, stop, take_profit, trailing, liquidated ..."
    )
    transaction_hash: str | None = Field(description="Of its entry, at the venue")
    created_at: datetime = Field(description="When it was asked for, UTC, ISO 8601")
    opened_at: datetime | None = Field(description="When its entry had its first fill, UTC, ISO 8601")
    closed_at: datetime | None = Field(description="When it ended, UTC, ISO 8601")
    updated_at: datetime = Field(description="When it changed last, UTC, ISO 8601")


class TradeDetail(TradeResponse):
    """One trade with its orders, oldest first."""

    orders: list[OrderResponse] = Field(description="Its orders, oldest first")


class TradeList(ResponseModel):
    """A page of trades, newest first."""

    trades: list[TradeResponse] = Field(description="Newest first")
    next_cursor: str | None = Field(description="Asks for the next page; null on the last")


class PositionResponse(ResponseModel):
    """One open position at the current mark."""

    id: int = Field(description="The position's id")
    trade_id: int = Field(description="Its trade")
    pair_id: int = Field(description="The pair")
    trade_index: int = Field(description="With pair_id the trade's name in paths")
    pair: str = Field(description="The pair's name")
    provider: str = Field(description="The venue")
    asset: str = Field(description="The asset that is traded")
    side: PositionSide = Field(description="Which way it profits")
    size: Number = Field(description="In units of the asset")
    entry_price: Number = Field(description="Average price of its entry, in quote units")
    current_price: Number | None = Field(description="The mark, in quote units; null before its first price")
    unrealized_pnl: Number | None = Field(description="At the mark, rounded down to 0.000001 USDC")
    roi: Number | None = Field(description="Unrealised PnL in per cent of the margin, rounded down to 0.0001")
    liquidation_price: Number | None = Field(description="The mark at which the venue takes it over, in quote units")
    margin: Number = Field(description="What can be lost, in USDC")
    funding: Number = Field(description="What it has received so far, negative where it was paid")
    leverage: int = Field(description="How many times the collateral is traded")
    exit_order_ids: list[int] = Field(description="The exits that protect it")
    created_at: datetime = Field(description="When it was opened, UTC, ISO 8601")
    updated_at: datetime = Field(description="When it changed last, UTC, ISO 8601")


class PositionList(ResponseModel):
    """All open positions, oldest first."""

    positions: list[PositionResponse] = Field(description="Oldest first")


class PortfolioResponse(ResponseModel):
    """A user's money at one venue in USDC, to 6 decimals; equity = balance + margin + unrealised PnL."""

    provider: str = Field(description="The venue")
    balance: Number = Field(description="What is free, in USDC")
    margin: Number = Field(description="What positions and resting entries hold, in USDC")
    unrealized_pnl: Number = Field(description="Of open positions at the mark, in USDC")
    equity: Number = Field(description="balance + margin + unrealized_pnl, in USDC")
    realized_pnl: Number = Field(description="Over all trades in USDC, before fees and funding")
    fees: Number = Field(description="Paid over all trades, in USDC")
    funding: Number = Field(description="Over all trades, negative where it was paid")
    open_positions: int = Field(description="How many are open")
    unpriced_positions: int = Field(description="Open positions without a price yet; they count as 0 in the sums")


class Refusal(ResponseModel):
    """A refusal that opening would meet."""

    code: str = Field(description="As in an error")
    message: str = Field(description="For people")
    details: dict[str, object] = Field(description="Facts for programs, by code")


class PreviewResponse(ResponseModel):
    """What opening would mean now; nothing was done. `refusals` is empty when it would be accepted."""

    pair_id: int = Field(description="The pair")
    pair: str = Field(description="The pair's name")
    provider: str = Field(description="The venue")
    side: PositionSide = Field(description="Which way it would profit")
    entry_price: Number = Field(description="Where it would be filled now, in quote units")
    size: Number = Field(description="What would be traded, in units of the asset")
    notional: Number = Field(description="size x entry_price, in USDC")
    fee: Number = Field(description="Of the entry, in USDC")
    margin: Number = Field(description="What could be lost, in USDC")
    liquidation_price: Number = Field(description="The mark at which the venue would take it over, in quote units")
    free_balance: Number = Field(description="What the account has free now, in USDC")
    refusals: list[Refusal] = Field(description="What opening would be refused for; empty where it would not")
