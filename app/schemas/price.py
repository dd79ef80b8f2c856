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

    pair: str = Field(examples=["BTCUSDT"])
    price: Number = Field(examples=[45000.0])
    timestamp: datetime = Field(description="When the source emitted it", examples=[INSTANT])
    source: str = Field(description="The venue it comes from", examples=["paper"])
    asset: str = Field(examples=["BTC"])
    quote: str = Field(examples=["USD"])
    bid: Number = Field(examples=[44999.5])
    ask: Number = Field(examples=[45000.5])
    received_at: datetime = Field(examples=[INSTANT])
    stale: bool = Field(description="Too old to trade on", examples=[False])
    market_open: bool = Field(examples=[True])
    next_open: datetime | None = Field(description="When a closed market opens, where that is known", examples=[None])
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

    prices: list[PriceResponse]
    errors: list[PriceError]


class CandleResponse(ResponseModel):
    """The mark prices of one interval, in quote units."""

    opened_at: datetime = Field(examples=[INSTANT])
    open: Number = Field(examples=[45000.0])
    high: Number = Field(examples=[45012.5])
    low: Number = Field(examples=[44990.25])
    close: Number = Field(examples=[45001.0])
    ticks: int = Field(examples=[240])


class CandleList(ResponseModel):
    """Candles, oldest first; intervals without a tick are absent, the newest may still be growing."""

    pair: str = Field(examples=["BTCUSDT"])
    interval: CandleInterval = Field(examples=[CandleInterval.ONE_MINUTE])
    candles: list[CandleResponse]
