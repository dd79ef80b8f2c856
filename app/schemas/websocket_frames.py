"""The frames that the WebSocket sends. Members that do not apply are left out, not null."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from app.domain.channels import Channel
from app.domain.enums import OrderStatus, TradeStatus
from app.domain.events import EventType
from app.schemas.base import Number, ResponseModel
from app.schemas.event_data import DepositEventData, OrderFacts, PositionEventData, TradeFacts
from app.schemas.price import PriceFacts
from app.schemas.websocket import MessageId


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


def absent(description: str) -> Any:
    """A member that is left out where it does not apply."""
    return Field(default=None, description=description, json_schema_extra=_without_default)


Sequence = Annotated[int, Field(description="Of the event log: the state is as of it, or this is its event")]
Kind = Annotated[EventType | None, Field(description="The type of the event; null in a snapshot")]
Word = Annotated[str, Field(description="The last word of `event`; in a snapshot the row's own status")]


class Frame(ResponseModel):
    """What every frame has: `connection_sequence` counts those of the connection."""

    timestamp: datetime = Field(description="When it was made, UTC, ISO 8601")
    connection_sequence: int = Field(description="Counts the frames of the connection")


class Answer(Frame):
    """An answer has the id of the message, where that had one."""

    id: MessageId | SkipJsonSchema[None] = absent("The message's id, where it had one")


class ClientLimits(ResponseModel):
    """What a client may use; a message counts with its bytes."""

    pairs: int = Field(description="Pairs that one connection may watch")
    messages_per_second: float = Field(description="Messages a second")
    message_burst: int = Field(description="Messages at once")
    frame_bytes: int = Field(description="Bytes of a message")


class WelcomeData(ResponseModel):
    """Whose connection it is, and until when."""

    connection_id: str = Field(description="Names the connection to the operator")
    user_id: int = Field(description="Whose it is")
    expires_at: datetime = Field(description="When the token ends, UTC, ISO 8601; send `auth` with a newer one before")
    limits: ClientLimits = Field(description="What the client may use")


class WelcomeFrame(Answer):
    """The connection is authenticated: the first frame, and the answer to `auth`."""

    type: Literal["welcome"] = Field(description="What the frame is")
    channel: Channel | None = Field(description="The message's, where it named one")
    data: WelcomeData = Field(description="Whose connection it is")


class SubscribedPairs(ResponseModel):
    """The pairs by their symbols."""

    pairs: list[str] = Field(description="Their symbols")


class SubscribedToPrices(Answer):
    """These pairs are watched from now on; the present price of each follows."""

    type: Literal["subscribed"] = Field(description="What the frame is")
    channel: Literal[Channel.PRICES] = Field(description="The channel")
    data: SubscribedPairs = Field(description="What is watched from now on")


class SubscribedState(ResponseModel):
    """As of which event the state is that follows."""

    sequence: Sequence
    recovered: bool | SkipJsonSchema[None] = absent(
        "Where `since` was given: whether every event after it follows; else a snapshot does"
    )
    trade_ids: list[int] | SkipJsonSchema[None] = absent("The trades that were chosen; absent for all")


class SubscribedFrame(Answer):
    """The channel is watched from now on; a snapshot follows, or the events since the last that the client has."""

    type: Literal["subscribed"] = Field(description="What the frame is")
    channel: Literal[Channel.TRADES, Channel.POSITIONS, Channel.DEPOSITS] = Field(description="The channel")
    data: SubscribedState = Field(description="As of when it is watched")


class UnsubscribedData(ResponseModel):
    """The pairs by their symbols, where some were named."""

    pairs: list[str] | SkipJsonSchema[None] = absent("Their symbols; absent for all")


class UnsubscribedFrame(Answer):
    """The last that is heard of what was named."""

    type: Literal["unsubscribed"] = Field(description="What the frame is")
    channel: Channel = Field(description="The channel")
    data: UnsubscribedData = Field(description="What is watched no longer")


class PongFrame(Answer):
    """The answer to `ping`, with its data."""

    type: Literal["pong"] = Field(description="What the frame is")
    channel: Channel | None = Field(description="The message's, where it named one")
    data: dict[str, Any] = Field(description="The message's own data")


class ErrorData(ResponseModel):
    """What went wrong, by the codes that HTTP has: `code` is for programs, `message` for people."""

    code: str = Field(description="Stable, for programs; docs/errors.md lists all")
    message: str = Field(description="For people; it may change")
    details: dict[str, Any] = Field(description="Facts for programs, by code")


class ErrorFrame(Answer):
    """A message was wrong, or the connection is about to end; the socket stays open unless a close follows."""

    type: Literal["error"] = Field(description="What the frame is")
    channel: Channel | None = Field(description="The message's, where it named one")
    data: ErrorData = Field(description="What went wrong")


class ReconnectData(ResponseModel):
    """Why."""

    reason: str = Field(description="Why the connection is about to end")


class ReconnectFrame(Frame):
    """The last frame before close code 1012: connect again, and resume."""

    type: Literal["reconnect"] = Field(description="What the frame is")
    channel: None = Field(description="Always null")
    data: ReconnectData = Field(description="Why")


class PriceUpdate(Frame):
    """The price of a pair that is watched; of those between two frames only the latest is told."""

    type: Literal["price_update"] = Field(description="What the frame is")
    channel: Literal[Channel.PRICES] = Field(description="The channel")
    data: PriceFacts = Field(description="The price")
    snapshot: Literal[True] | SkipJsonSchema[None] = absent("Present where it is the state at subscription")


class Update(Frame):
    """An event where it has a `sequence`, the state at subscription where it is a `snapshot`, else a live value."""

    sequence: Sequence | SkipJsonSchema[None] = absent("Its place in the event log; absent where it is no event")
    snapshot: Literal[True] | SkipJsonSchema[None] = absent("Present where it is the state at subscription")


class TradeUpdateData(TradeFacts):
    """A trade."""

    event: Kind
    status: Word
    trade_status: TradeStatus = Field(description="Where the trade stands")


class OrderUpdateData(OrderFacts):
    """An order of a trade. In a snapshot a waiting trailing stop has its live stop_price and watermark."""

    event: Kind
    status: Word
    order_status: OrderStatus = Field(description="Where the order stands")


class StopMoved(ResponseModel):
    """Where a trailing stop stands now: no event, and not in the log."""

    event: Literal["order.stop_moved"] = Field(description="Always order.stop_moved")
    status: Literal["stop_moved"] = Field(description="Always stop_moved")
    order_id: int = Field(description="The trailing stop")
    trade_id: int | None = Field(description="Its trade")
    stop_price: Number = Field(description="Where it stops now, in quote units")
    watermark: Number = Field(description="The best price that it has seen, in quote units")
    updated_at: datetime = Field(description="When it stood there, UTC, ISO 8601")


class TradeUpdate(Update):
    """A trade or an order as an event left it, or where a trailing stop stands."""

    type: Literal["trade_update"] = Field(description="What the frame is")
    channel: Literal[Channel.TRADES] = Field(description="The channel")
    data: TradeUpdateData | OrderUpdateData | StopMoved = Field(description="A trade, an order, or a stop that moved")


class LivePosition(ResponseModel):
    """What an open position is worth now: no event, and not in the log."""

    position_id: int = Field(description="The position")
    trade_id: int = Field(description="Its trade")
    current_price: Number | None = Field(description="The mark, in quote units")
    unrealized_pnl: Number | None = Field(description="At the mark, in USDC")
    updated_at: datetime = Field(description="When it was worth that, UTC, ISO 8601")


class PositionUpdateData(PositionEventData):
    """A position, valued at the mark where it is open."""

    event: Kind
    current_price: Number | None = Field(description="The mark, in quote units")
    unrealized_pnl: Number | None = Field(description="At the mark, in USDC")
    updated_at: datetime = Field(description="When it was worth that, UTC, ISO 8601")


class PositionUpdate(Update):
    """A position as an event left it, or what it is worth now."""

    type: Literal["position_update"] = Field(description="What the frame is")
    channel: Literal[Channel.POSITIONS] = Field(description="The channel")
    data: PositionUpdateData | LivePosition = Field(description="The position, or what it is worth")


class DepositUpdateData(DepositEventData):
    """A deposit and its latest swap."""

    event: Kind


class DepositUpdate(Update):
    """A deposit as an event left it."""

    type: Literal["deposit_update"] = Field(description="What the frame is")
    channel: Literal[Channel.DEPOSITS] = Field(description="The channel")
    data: DepositUpdateData = Field(description="The deposit")


type ServerFrame = (
    WelcomeFrame
    | SubscribedToPrices
    | SubscribedFrame
    | UnsubscribedFrame
    | PongFrame
    | ErrorFrame
    | ReconnectFrame
    | PriceUpdate
    | TradeUpdate
    | PositionUpdate
    | DepositUpdate
)
