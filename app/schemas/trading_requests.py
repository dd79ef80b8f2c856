"""Requests of trading: openings, exits, and changes of exits."""

from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.domain.enums import OrderType, TriggerBy
from app.domain.order_terms import ExitChanges, ExitLevels, ExitRequest, OpenTerms
from app.schemas.base import (
    MAX_INDEX,
    AmendModel,
    Amount,
    Count,
    Flag,
    Fraction,
    PathId,
    Percentage,
    PriceField,
    RequestModel,
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

    stop_price: PriceField | None = Field(
        default=None, description="Where a stop loss closes, in quote units", examples=[40000]
    )
    take_profit_price: PriceField | None = Field(
        default=None, description="Where a take profit closes, in quote units", examples=[50000]
    )
    trailing_stop_distance: Amount | None = Field(
        default=None, description="How far a trailing stop stays behind the best price, in quote units", examples=[500]
    )
    trailing_stop_percentage: Percentage | None = Field(
        default=None,
        description="How far a trailing stop stays behind the best price, in per cent of it: 2 = 2 %",
        examples=[2],
    )
    activation_price: PriceField | None = Field(
        default=None, description="Where a trailing stop begins, on the profit side of the price", examples=[46000]
    )
    oco_stop_price: PriceField | None = Field(
        default=None, description="The stop of an OCO pair, in quote units; goes with oco_take_profit_price"
    )
    oco_take_profit_price: PriceField | None = Field(
        default=None, description="The take profit of that pair, in quote units"
    )

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

    asset: Asset = Field(description="An asset or a pair, as /trading/pairs names them")
    direction: Direction
    collateral: Amount = Field(description="What is put in, in USDC; the fee comes on top", examples=[1000])
    leverage: Leverage = Field(description="How many times the collateral is traded")
    order_type: OrderType = Field(
        default=OrderType.MARKET, description="MARKET or LIMIT, or the type of the exit that a market entry gets"
    )
    asset_type: Annotated[Count, Field(ge=0, le=1000)] | None = Field(
        default=None, description="The category's number; refused where the asset has another"
    )
    price: PriceField | None = Field(
        default=None,
        description="The limit of a LIMIT; else the reference price of max_slippage, and refused without it",
    )
    max_slippage: Fraction | None = Field(default=None, description="Fraction of the reference price, 0.001 = 0.1 %")
    expires_at: AwareDatetime | None = Field(
        default=None, description="When a resting LIMIT is cancelled, ISO 8601 with its offset"
    )
    valid_until: AwareDatetime | None = Field(
        default=None, description="After this it is refused instead of sent, ISO 8601 with its offset"
    )
    client_order_id: ClientOrderId | None = Field(
        default=None, description="A name of your own: a second order of that name is refused"
    )

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

    order_type: OrderType = Field(description="The exit's type")
    trade_id: PathId | None = Field(default=None, description="The trade; or pair_id and trade_index")
    pair_id: PathId | None = Field(default=None, description="The trade's pair, with trade_index")
    trade_index: Annotated[Count, Field(ge=0, le=MAX_INDEX)] | None = Field(
        default=None, description="The trade's index in its pair"
    )
    client_order_id: ClientOrderId | None = Field(
        default=None, description="A name of your own: a second order of that name is refused"
    )


class AmendOrderRequest(AmendModel, LevelsRequest):
    """Change terms of an exit; what is left out stays. `activation_price` null lets a trailing stop begin at once."""

    removable = frozenset({"activation_price"})

    trigger_by: TriggerBy | None = Field(default=None, description="The price that it is to watch: mark, last, or exit")
    price_protect: Flag | None = Field(
        default=None, description="Whether it passes over prices far from the last trade"
    )

    def changes(self) -> ExitChanges:
        """The changes as the domain takes them."""
        removes_activation = "activation_price" in self.model_fields_set and self.activation_price is None
        return ExitChanges(
            trigger_by=self.trigger_by,
            price_protect=self.price_protect,
            removes_activation=removes_activation,
            **self.levels(),
        )
