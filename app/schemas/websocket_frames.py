"""The frames that the WebSocket sends. Members that do not apply are left out, not null."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from app.domain.channels import Channel
from app.domain.enums import OrderStatus, TradeStatus
from app.domain.events import EventType
from app.schemas.base import ResponseModel
from app.schemas.event_data import DepositEventData, EventNumber, OrderFacts, PositionEventData, TradeFacts
from app.schemas.price import PriceFacts
from app.schemas.websocket import MessageId


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


Absent = Field(default=None, json_schema_extra=_without_default)
Sequence = Annotated[int, Field(description="Of the event log: the state is as of it, or this is its event")]
Kind = Annotated[EventType | None, Field(description="The type of the event; null in a snapshot")]
Word = Annotated[str, Field(description="The last word of `event`; in a snapshot the row's own status")]


class Frame(ResponseModel):
    """What every frame has: `connection_sequence` counts those of the connection."""

    timestamp: datetime
    connection_sequence: int


class Answer(Frame):
    """An answer has the id of the message, where that had one."""

    id: MessageId | SkipJsonSchema[None] = Absent


class ClientLimits(ResponseModel):
    """What a client may use; a message counts with its bytes."""

    pairs: int
    messages_per_second: float
    message_burst: int
    frame_bytes: int


class WelcomeData(ResponseModel):
    """Whose connection it is, and until when."""

    connection_id: str
    user_id: int
    expires_at: datetime = Field(description="When the token ends; send `auth` with a newer one before")
    limits: ClientLimits


class WelcomeFrame(Answer):
    """The connection is authenticated: the first frame, and the answer to `auth`."""

    type: Literal["welcome"]
    channel: Channel | None
    data: WelcomeData


class SubscribedPairs(ResponseModel):
    """The pairs by their symbols."""

    pairs: list[str]


class SubscribedToPrices(Answer):
    """These pairs are watched from now on; the present price of each follows."""

    type: Literal["subscribed"]
    channel: Literal[Channel.PRICES]
    data: SubscribedPairs


class SubscribedState(ResponseModel):
    """As of which event the state is that follows."""

    sequence: Sequence
    recovered: bool | SkipJsonSchema[None] = Field(
        default=None,
        description="Where `since` was given: whether every event after it follows; else a snapshot does",
        json_schema_extra=_without_default,
    )
    trade_ids: list[int] | SkipJsonSchema[None] = Absent


class SubscribedFrame(Answer):
    """The channel is watched from now on; a snapshot follows, or the events since the last that the client has."""

    type: Literal["subscribed"]
    channel: Literal[Channel.TRADES, Channel.POSITIONS, Channel.DEPOSITS]
    data: SubscribedState


class UnsubscribedData(ResponseModel):
    """The pairs by their symbols, where some were named."""

    pairs: list[str] | SkipJsonSchema[None] = Absent


class UnsubscribedFrame(Answer):
    """The last that is heard of what was named."""

    type: Literal["unsubscribed"]
    channel: Channel
    data: UnsubscribedData


class PongFrame(Answer):
    """The answer to `ping`, with its data."""

    type: Literal["pong"]
    channel: Channel | None
    data: dict[str, Any]


class ErrorData(ResponseModel):
    """What went wrong, by the codes that HTTP has: `code` is for programs, `message` for people."""

    code: str
    message: str
    details: dict[str, Any]


class ErrorFrame(Answer):
    """A message was wrong, or the connection is about to end; the socket stays open unless a close follows."""

    type: Literal["error"]
    channel: Channel | None
    data: ErrorData


class ReconnectData(ResponseModel):
    """Why."""

    reason: str


class ReconnectFrame(Frame):
    """The last frame before close code 1012: connect again, and resume."""

    type: Literal["reconnect"]
    channel: None
    data: ReconnectData


class PriceUpdate(Frame):
    """The price of a pair that is watched; of those between two frames only the latest is told."""

    type: Literal["price_update"]
    channel: Literal[Channel.PRICES]
    data: PriceFacts
    snapshot: Literal[True] | SkipJsonSchema[None] = Absent


class Update(Frame):
    """An event where it has a `sequence`, the state at subscription where it is a `snapshot`, else a live value."""

    sequence: Sequence | SkipJsonSchema[None] = Absent
    snapshot: Literal[True] | SkipJsonSchema[None] = Absent


class TradeUpdateData(TradeFacts):
    """A trade."""

    event: Kind
    status: Word
    trade_status: TradeStatus


class OrderUpdateData(OrderFacts):
    """An order of a trade. In a snapshot a waiting trailing stop has its live stop_price and watermark."""

    event: Kind
    status: Word
    order_status: OrderStatus


class StopMoved(ResponseModel):
    """Where a trailing stop stands now: no event, and not in the log."""

    event: Literal["order.stop_moved"]
    status: Literal["stop_moved"]
    order_id: int
    trade_id: int | None
    stop_price: EventNumber
    watermark: EventNumber
    updated_at: datetime


class TradeUpdate(Update):
    """A trade or an order as an event left it, or where a trailing stop stands."""

    type: Literal["trade_update"]
    channel: Literal[Channel.TRADES]
    data: TradeUpdateData | OrderUpdateData | StopMoved


class LivePosition(ResponseModel):
    """What an open position is worth now: no event, and not in the log."""

    position_id: int
    trade_id: int
    current_price: EventNumber | None
    unrealized_pnl: EventNumber | None
    updated_at: datetime


class PositionUpdateData(PositionEventData):
    """A position, valued at the mark where it is open."""

    event: Kind
    current_price: EventNumber | None
    unrealized_pnl: EventNumber | None
    updated_at: datetime


class PositionUpdate(Update):
    """A position as an event left it, or what it is worth now."""

    type: Literal["position_update"]
    channel: Literal[Channel.POSITIONS]
    data: PositionUpdateData | LivePosition


class DepositUpdateData(DepositEventData):
    """A deposit and its latest swap."""

    event: Kind


class DepositUpdate(Update):
    """A deposit as an event left it."""

    type: Literal["deposit_update"]
    channel: Literal[Channel.DEPOSITS]
    data: DepositUpdateData


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
