"""Answers about prices and candles."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from app.domain.candles import CandleInterval
from app.schemas.base import Number, ResponseModel, SafeStr

PairName = Annotated[SafeStr, Field(min_length=1, max_length=40, examples=["BTCUSDT", "BTC-USD", "EURUSD"])]
INSTANT = "2025-01-21T12:00:00Z"


class PriceFacts(ResponseModel):
    """What a tick says of a pair's price; `price` is the mark, (bid + ask) / 2, in quote units."""

    pair: str = Field(description="The pair's name", examples=["BTCUSDT"])
    price: Number = Field(description="The mark, in quote units", examples=[45000.0])
    timestamp: datetime = Field(description="When the source emitted it, UTC, ISO 8601", examples=[INSTANT])
    source: str = Field(description="The venue it comes from", examples=["paper"])
    asset: str = Field(description="The asset that is traded", examples=["BTC"])
    quote: str = Field(description="What its price is counted in: the quote unit", examples=["USD"])
    bid: Number = Field(description="What a seller gets, in quote units", examples=[44999.5])
    ask: Number = Field(description="What a buyer pays, in quote units", examples=[45000.5])
    received_at: datetime = Field(description="When it reached us, UTC, ISO 8601", examples=[INSTANT])
    stale: bool = Field(description="Too old to trade on", examples=[False])
    market_open: bool = Field(description="Whether its market is open", examples=[True])
    next_open: datetime | None = Field(
        description="When a closed market opens, UTC, ISO 8601, where that is known", examples=[None]
    )
    sequence: int = Field(description="Grows with every tick of the pair", examples=[1042])


class PriceResponse(PriceFacts):
    """A pair's price; `price` is the mark, (bid + ask) / 2, in quote units."""

    age_ms: int = Field(ge=0, description="Milliseconds since it was received", examples=[120])


class PriceError(ResponseModel):
    """A pair that was asked for and has no price to tell."""

    pair: str = Field(description="As it was asked for", examples=["BTCUSTD"])
    code: str = Field(description="PAIR_NOT_FOUND, or PRICE_STALE before its first price", examples=["PAIR_NOT_FOUND"])


class PriceList(ResponseModel):
    """The prices of the pairs that have one, in the order asked, and what is wrong with the others."""

    prices: list[PriceResponse] = Field(description="In the order asked")
    errors: list[PriceError] = Field(description="Names that have no price, and why")


class CandleResponse(ResponseModel):
    """The mark prices of one interval, in quote units."""

    opened_at: datetime = Field(description="When the interval began, UTC, ISO 8601", examples=[INSTANT])
    open: Number = Field(description="The first mark, in quote units", examples=[45000.0])
    high: Number = Field(description="The highest mark, in quote units", examples=[45012.5])
    low: Number = Field(description="The lowest mark, in quote units", examples=[44990.25])
    close: Number = Field(description="The last mark, in quote units", examples=[45001.0])
    ticks: int = Field(description="How many ticks it is made of", examples=[240])


class CandleList(ResponseModel):
    """Candles, oldest first; intervals without a tick are absent, the newest may still be growing."""

    pair: str = Field(description="The pair's name", examples=["BTCUSDT"])
    interval: CandleInterval = Field(description="How long each candle lasts", examples=[CandleInterval.ONE_MINUTE])
    candles: list[CandleResponse] = Field(description="Oldest first")
