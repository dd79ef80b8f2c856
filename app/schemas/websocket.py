"""The messages that a WebSocket client may send, read as strictly as HTTP bodies are."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictInt, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.domain.channels import Channel
from app.schemas.base import MAX_ID, RequestModel, SafeStr, storable_text

PATH = "/ws"
MAX_TRADE_IDS = 1000
MAX_MESSAGE_ID = 64


class MessageType(StrEnum):
    """What a client may ask for."""

    AUTH = "auth"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    PING = "ping"


def _message_id(value: object) -> object:
    is_text = isinstance(value, str) and len(value) <= MAX_MESSAGE_ID
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ID
    if not (is_text or is_number):
        raise PydanticCustomError("message_id", "An id is a text of at most 64 characters, or a whole number")
    return storable_text(value) if isinstance(value, str) else value


MessageId = Annotated[
    str | int,
    BeforeValidator(_message_id),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": MAX_MESSAGE_ID}, {"type": "integer"}]}),
]
TradeId = Annotated[StrictInt, Field(ge=1, le=MAX_ID)]
TradeIds = Annotated[list[TradeId], Field(min_length=1, max_length=MAX_TRADE_IDS)]


class AuthData(RequestModel):
    """An access token."""

    token: Annotated[SafeStr, Field(min_length=1, max_length=8192)] = Field(description="An access token")


class PricesData(RequestModel):
    """Pairs; any name of a pair is understood."""

    pairs: Annotated[list[Annotated[SafeStr, Field(min_length=1, max_length=32)]], Field(min_length=1)] = Field(
        description="Any names of pairs, such as BTC"
    )


class ChannelData(RequestModel):
    """Where to go on; without `since` a snapshot is told first."""

    since: Annotated[StrictInt, Field(ge=0, le=MAX_ID)] | None = Field(
        default=None, description="The last sequence of the event log that the client has"
    )


class TradesData(ChannelData):
    """Which trades, and where to go on; without `trade_ids` all of them."""

    trade_ids: TradeIds | None = Field(default=None, description="Only these trades, and their orders")


class ChosenTrades(RequestModel):
    """Which trades to tell no longer; without `trade_ids` the whole channel."""

    trade_ids: TradeIds | None = Field(default=None, description="Only these trades, and their orders")


class NoData(RequestModel):
    """Nothing."""


class Message(RequestModel):
    """What every message may have: an id of the client's own, which comes back in the answer."""

    id: MessageId | None = Field(default=None, description="Comes back in the answer")


class ClientMessage(Message):
    """Any message, before its data is read by what it asks for."""

    type: MessageType = Field(description="What is asked for")
    channel: Channel | None = Field(default=None, description="The channel")
    data: dict[str, Any] | None = Field(default=None, description="What it takes")


class AuthMessage(Message):
    """Log in, or stay with a newer token of the same user. Answered by `welcome`."""

    type: Literal[MessageType.AUTH] = Field(description="What is asked for")
    data: AuthData = Field(description="The token")


class SubscribeToPrices(Message):
    """Watch pairs, beside those watched already. Answered by `subscribed`."""

    type: Literal[MessageType.SUBSCRIBE] = Field(description="What is asked for")
    channel: Literal[Channel.PRICES] = Field(description="The channel")
    data: PricesData = Field(description="Which pairs")


class SubscribeToTrades(Message):
    """Watch all trades and orders, or those of some trades. Answered by `subscribed`."""

    type: Literal[MessageType.SUBSCRIBE] = Field(description="What is asked for")
    channel: Literal[Channel.TRADES] = Field(description="The channel")
    data: TradesData | None = Field(default=None, description="Which trades, and from where on")


class SubscribeToOwn(Message):
    """Watch positions or deposits. Answered by `subscribed`."""

    type: Literal[MessageType.SUBSCRIBE] = Field(description="What is asked for")
    channel: Literal[Channel.POSITIONS, Channel.DEPOSITS] = Field(description="The channel")
    data: ChannelData | None = Field(default=None, description="From where on")


class UnsubscribeFromPrices(Message):
    """Watch some pairs no longer, or none. Answered by `unsubscribed`."""

    type: Literal[MessageType.UNSUBSCRIBE] = Field(description="What is asked for")
    channel: Literal[Channel.PRICES] = Field(description="The channel")
    data: PricesData | None = Field(default=None, description="Which pairs; absent: all")


class UnsubscribeFromTrades(Message):
    """Watch some trades no longer, or none. Answered by `unsubscribed`."""

    type: Literal[MessageType.UNSUBSCRIBE] = Field(description="What is asked for")
    channel: Literal[Channel.TRADES] = Field(description="The channel")
    data: ChosenTrades | None = Field(default=None, description="Which trades; absent: all")


class UnsubscribeFromOwn(Message):
    """Watch positions or deposits no longer. Answered by `unsubscribed`."""

    type: Literal[MessageType.UNSUBSCRIBE] = Field(description="What is asked for")
    channel: Literal[Channel.POSITIONS, Channel.DEPOSITS] = Field(description="The channel")
    data: NoData | None = Field(default=None, description="Nothing")


class PingMessage(Message):
    """Ask whether the server is there. Answered by `pong` with the same data."""

    type: Literal[MessageType.PING] = Field(description="What is asked for")
    data: dict[str, Any] | None = Field(default=None, description="Comes back in the answer")
