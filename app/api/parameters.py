"""What paths name, each with what it is."""

from typing import Annotated
from uuid import UUID

from fastapi import Path

from app.schemas.base import PathId, PathIndex
from app.schemas.price import PairName

DeliveryId = Annotated[PathId, Path(description="The delivery's id: what follows `delivery_` in X-Webhook-Delivery-ID")]
OrderId = Annotated[PathId, Path(description="The order's id")]
PairText = Annotated[
    PairName, Path(description="The pair by its name, however it is written: BTCUSDT, BTC-USD, btcusd")
]
SessionId = Annotated[UUID, Path(description="The session's id, as /auth/sessions lists it")]
TradeIndex = Annotated[PathIndex, Path(description="The trade's `trade_index`: its number in the pair, from 0")]
TradePairId = Annotated[PathId, Path(description="The id of the trade's pair")]
WebhookId = Annotated[PathId, Path(description="The endpoint's id")]
