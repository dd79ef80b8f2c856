"""Answers about pairs and routes."""

from pydantic import Field

from app.domain.enums import Category
from app.domain.routing import RouteReason
from app.schemas.base import Number, ResponseModel


class PairResponse(ResponseModel):
    """What can be traded: steps in quote (price) and base (size) units, collateral in USDC, rates as fractions."""

    id: int = Field(description="`pair_id` everywhere else", examples=[1])
    symbol: str = Field(description="The pair's name", examples=["BTCUSDT"])
    base: str = Field(description="The asset that is traded", examples=["BTC"])
    quote: str = Field(description="What its price is counted in: the quote unit", examples=["USD"])
    aliases: list[str] = Field(description="Other names that are understood", examples=[["XBTUSD"]])
    category: Category = Field(description="The class of the asset", examples=[Category.CRYPTO])
    asset_type: int = Field(description="The category's number", examples=[0])
    venue: str = Field(description="Where it is traded", examples=["paper"])
    price_step: Number = Field(description="Prices are multiples of it, in quote units", examples=[0.01])
    size_step: Number = Field(description="Sizes are multiples of it, in units of the asset", examples=[0.000001])
    min_leverage: int = Field(description="The least leverage", examples=[1])
    max_leverage: int = Field(description="The most leverage", examples=[50])
    min_collateral: Number = Field(description="The least collateral of a trade, in USDC", examples=[1])
    max_collateral: Number = Field(description="The most collateral of a trade, in USDC", examples=[1000000])
    taker_fee_rate: Number = Field(description="Of the notional", examples=[0.0005])
    maintenance_margin_rate: Number = Field(description="Of the notional", examples=[0.01])
    price_protect_limit: Number = Field(
        description="How far a mark may be from the last price where exits are protected, of that price",
        examples=[0.05],
    )
    market_hours: str = Field(
        description="When it can be traded: always, or the name of a calendar", examples=["always"]
    )


class PairList(ResponseModel):
    """Every pair that is listed now, by id."""

    pairs: list[PairResponse] = Field(description="By id")


class RouteResponse(ResponseModel):
    """Which venue serves an asset, and the rule that decided."""

    asset: str = Field(description="As it was asked for", examples=["BTC"])
    pair_id: int = Field(description="The pair that would be traded", examples=[1])
    symbol: str = Field(description="The pair's name", examples=["BTCUSDT"])
    category: Category = Field(description="The class of the asset", examples=[Category.CRYPTO])
    venue: str = Field(description="Where it would be traded", examples=["paper"])
    reason: RouteReason = Field(
        description="sandbox: the account trades on paper; asset, category: a rule of that kind; default: no rule",
        examples=[RouteReason.CATEGORY],
    )
    rule: str | None = Field(description="The rule as it is configured", examples=["crypto=paper"])
