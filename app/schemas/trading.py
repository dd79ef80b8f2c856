"""Requests and answers of trading; the seed's fields, and what a trader needs beside them."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

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
from app.domain.order_terms import ExitChanges, ExitLevels, ExitRequest, OpenTerms
from app.schemas.base import (
    MAX_INDEX,
    AmendModel,
    Amount,
    Count,
    Flag,
    Fraction,
    Number,
    PathId,
    Percentage,
    PriceField,
    RequestModel,
    ResponseModel,
    SafeStr,
    WholeNumber,
)


def _direction(value: object) -> object:
    if not isinstance(value, bool):
        raise PydanticCustomError("direction", "true is long, false is short")
    return value


ClientOrderId = Annotated[SafeStr, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:-]+$")]
Asset = Annotated[SafeStr, Field(min_length=1, max_length=32, examples=["BTC", "EURUSD"])]
Direction = Annotated[Flag, BeforeValidator(_direction), Field(description="true is long, false is short")]

Leverage = Annotated[
    WholeNumber,
    Field(ge=1, le=1000, examples=[10]),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 1000},
                {"type": "string", "pattern": "^[1-9][0-9]{0,2}$"},
            ],
            "examples": [10],
        },
        mode="validation",
    ),
]


class LevelsRequest(RequestModel):
    """The levels of exits."""

    stop_price: PriceField | None = Field(default=None, examples=[40000])
    take_profit_price: PriceField | None = Field(default=None, examples=[50000])
    trailing_stop_distance: Amount | None = Field(default=None, examples=[500])
    trailing_stop_percentage: Percentage | None = Field(default=None, examples=[2])
    activation_price: PriceField | None = Field(
        default=None, description="Where a trailing stop begins, on the profit side of the price", examples=[46000]
    )
    oco_stop_price: PriceField | None = None
    oco_take_profit_price: PriceField | None = None

    def levels(self) -> dict[str, Decimal | None]:
        """The levels as the domain names them."""
        return {name: getattr(self, name) for name in ExitLevels.__dataclass_fields__}


class ExitsRequest(LevelsRequest):
    """Exits that are asked for: each level given attaches its exit, all of them watch the same series."""

    trigger_by: TriggerBy = Field(
        default=TriggerBy.MARK,
        description="The price that exits watch: mark, last, or exit (bid of a long, ask of a short)",
    )
    price_protect: Flag = Field(
        default=False, description="Pass over prices far from the last trade, for at most 5 seconds"
    )

    def exits(self) -> ExitRequest:
        """The exits as the domain takes them."""
        return ExitRequest(trigger_by=self.trigger_by, price_protect=self.price_protect, **self.levels())


class OpenTradeRequest(ExitsRequest):
    """Open a trade: `direction` true is long, `collateral` in USDC."""

    asset: Asset
    direction: Direction
    collateral: Amount = Field(examples=[1000])
    leverage: Leverage
    order_type: OrderType = OrderType.MARKET
    asset_type: Annotated[Count, Field(ge=0, le=1000)] | None = None
    price: PriceField | None = Field(
        default=None,
        description="The limit of a LIMIT; else the reference price of max_slippage, and refused without it",
    )
    max_slippage: Fraction | None = Field(default=None, description="Fraction of the reference price, 0.001 = 0.1 %")
    expires_at: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    client_order_id: ClientOrderId | None = None

    def to_terms(self) -> OpenTerms:
        """The request as the domain takes it."""
        return OpenTerms(
            asset=self.asset,
            is_long=self.direction,
            collateral=self.collateral,
            leverage=self.leverage,
            order_type=self.order_type,
            asset_type=self.asset_type,
            price=self.price,
            max_slippage=self.max_slippage,
            expires_at=self.expires_at,
            valid_until=self.valid_until,
            client_order_id=self.client_order_id,
            trigger_by=self.trigger_by,
            price_protect=self.price_protect,
            **self.levels(),
        )


class AttachOrderRequest(ExitsRequest):
    """Attach an exit to a trade, named by its id or by pair and index."""

    order_type: OrderType
    trade_id: PathId | None = None
    pair_id: PathId | None = None
    trade_index: Annotated[Count, Field(ge=0, le=MAX_INDEX)] | None = None
    client_order_id: ClientOrderId | None = None


class AmendOrderRequest(AmendModel, LevelsRequest):
    """Change terms of an exit; what is left out stays. `activation_price` null lets a trailing stop begin at once."""

    removable = frozenset({"activation_price"})

    trigger_by: TriggerBy | None = None
    price_protect: Flag | None = None

    def changes(self) -> ExitChanges:
        """The changes as the domain takes them."""
        removes_activation = "activation_price" in self.model_fields_set and self.activation_price is None
        return ExitChanges(
            trigger_by=self.trigger_by,
            price_protect=self.price_protect,
            removes_activation=removes_activation,
            **self.levels(),
        )


class OpenTradeResponse(ResponseModel):
    """What became of an opening request; venue facts are null while it is pending."""

    transaction_hash: str | None
    pair_id: int
    trade_index: int
    status: str = Field(examples=["success", "pending"])
    order_id: int
    trade_id: int
    exit_order_ids: list[int]
    entry_price: Number | None
    size: Number | None
    fee: Number | None


class CloseTradeResponse(ResponseModel):
    """What became of a close: closed, partially_closed, closing, or cancelled for a trade without fills."""

    transaction_hash: str | None
    status: str
    order_id: int
    trade_id: int
    exit_price: Number | None
    pnl: Number | None


class OrderResponse(ResponseModel):
    """One order. A trailing stop's `stop_price` is the live one while it waits, the final one once triggered.

    One with an `activation_price` has none before the tick `activated_sequence`.
    """

    id: int
    trade_id: int | None
    pair_id: int
    client_order_id: str | None
    provider: str
    asset: str
    role: OrderRole
    order_type: OrderType
    side: OrderSide
    reduce_only: bool
    quantity: Number
    filled_quantity: Number
    average_price: Number | None
    fee: Number
    price: Number | None
    stop_price: Number | None
    take_profit_price: Number | None
    trailing_stop_distance: Number | None
    trailing_stop_percentage: Number | None
    activation_price: Number | None
    activated_sequence: int | None
    oco_stop_price: Number | None
    oco_take_profit_price: Number | None
    max_slippage: Number | None
    trigger_by: TriggerBy
    price_protect: bool
    status: OrderStatus
    reason: str | None
    held_since: datetime | None = Field(
        description="Since when an exit that was reached is held, because trading is halted"
    )
    watermark: Number | None
    triggered_leg: TriggeredLeg | None
    trigger_price: Number | None
    trigger_source: str | None
    trigger_sequence: int | None
    triggered_at: datetime | None
    transaction_hash: str | None
    expires_at: datetime | None
    unknown_since: datetime | None
    needs_review: bool
    created_at: datetime
    updated_at: datetime


class OrderList(ResponseModel):
    """A page of orders, newest first."""

    orders: list[OrderResponse]
    next_cursor: str | None


class TradeResponse(ResponseModel):
    """One trade; `direction` true is long. Money in USDC, `size` in units of the asset."""

    id: int
    provider: str
    asset: str
    asset_type: int
    pair_id: int
    trade_index: int
    venue_trade_index: str | None
    direction: bool
    collateral: Number
    leverage: int
    size: Number
    entry_price: Number | None
    current_price: Number | None
    exit_price: Number | None
    pnl: Number | None
    fees: Number
    funding: Number
    status: TradeStatus
    close_reason: str | None
    transaction_hash: str | None
    created_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None
    updated_at: datetime


class TradeDetail(TradeResponse):
    """One trade with its orders, oldest first."""

    orders: list[OrderResponse]


class TradeList(ResponseModel):
    """A page of trades, newest first."""

    trades: list[TradeResponse]
    next_cursor: str | None


class PositionResponse(ResponseModel):
    """One open position at the current mark."""

    id: int
    trade_id: int
    pair_id: int
    trade_index: int
    pair: str
    provider: str
    asset: str
    side: PositionSide
    size: Number
    entry_price: Number
    current_price: Number | None
    unrealized_pnl: Number | None = Field(description="At the mark, rounded down to 0.000001 USDC")
    roi: Number | None = Field(description="Unrealised PnL in per cent of the margin, rounded down to 0.0001")
    liquidation_price: Number | None
    margin: Number
    funding: Number = Field(description="What it has received so far, negative where it was paid")
    leverage: int
    exit_order_ids: list[int]
    created_at: datetime
    updated_at: datetime


class PositionList(ResponseModel):
    """All open positions, oldest first."""

    positions: list[PositionResponse]


class PortfolioResponse(ResponseModel):
    """A user's money at one venue in USDC, to 6 decimals; equity = balance + margin + unrealised PnL."""

    provider: str
    balance: Number
    margin: Number
    unrealized_pnl: Number
    equity: Number
    realized_pnl: Number
    fees: Number
    funding: Number = Field(description="Over all trades, negative where it was paid")
    open_positions: int
    unpriced_positions: int = Field(description="Open positions without a price yet; they count as 0 in the sums")


class Refusal(ResponseModel):
    """A refusal that opening would meet."""

    code: str
    message: str
    details: dict[str, object]


class PreviewResponse(ResponseModel):
    """What opening would mean now; nothing was done. `refusals` is empty when it would be accepted."""

    pair_id: int
    pair: str
    provider: str
    side: PositionSide
    entry_price: Number
    size: Number
    notional: Number
    fee: Number
    margin: Number
    liquidation_price: Number
    free_balance: Number
    refusals: list[Refusal]
