"""The messages that a client may send, read as strictly as HTTP bodies are."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictInt, ValidationError
from pydantic_core import PydanticCustomError

from app.api.errors import describe
from app.api.strict_json import load_strict
from app.core.json import encode
from app.domain.channels import Channel
from app.domain.errors import InvalidRequest
from app.schemas.base import MAX_ID, RequestModel, SafeStr, storable_text

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


type MessageId = Annotated[str | int, BeforeValidator(_message_id)]
type TradeId = Annotated[StrictInt, Field(ge=1, le=MAX_ID)]


class ClientMessage(RequestModel):
    """Any message: `id` is the client's own and comes back in the answer."""

    type: MessageType
    channel: Channel | None = None
    data: dict[str, Any] | None = None
    id: MessageId | None = None


class AuthData(RequestModel):
    """`data` of auth."""

    token: Annotated[SafeStr, Field(min_length=1, max_length=8192)]


class PricesData(RequestModel):
    """`data` of subscribe and unsubscribe on prices; any name of a pair is understood."""

    pairs: Annotated[list[Annotated[SafeStr, Field(min_length=1, max_length=32)]], Field(min_length=1)]


class ChannelData(RequestModel):
    """`data` of subscribe on the user's own channels; `since` resumes after a sequence of the event log."""

    since: Annotated[StrictInt, Field(ge=0, le=MAX_ID)] | None = None


class TradesData(ChannelData):
    """`data` of subscribe and unsubscribe on trades; without `trade_ids` all of them."""

    trade_ids: Annotated[list[TradeId], Field(min_length=1, max_length=MAX_TRADE_IDS)] | None = None


def parse_message(text: str) -> ClientMessage:
    """Read a frame; refused with the code that HTTP has for the same fault, or UNKNOWN_TYPE, UNKNOWN_CHANNEL."""
    value = load_strict(text.encode())
    if not isinstance(value, dict):
        raise InvalidRequest("A message is a JSON object with a type")
    if _is_unknown(value.get("type"), MessageType):
        raise InvalidRequest(code="UNKNOWN_TYPE", types=list(MessageType))
    if _is_unknown(value.get("channel"), Channel):
        raise InvalidRequest(code="UNKNOWN_CHANNEL", channels=list(Channel))
    return read_as(ClientMessage, value)


def read_as[M: RequestModel](model: type[M], value: object, at: str = "") -> M:
    """Read a value by a model; VALIDATION_ERROR names each wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        located = [{**one, "loc": (at, *one["loc"]) if at else one["loc"]} for one in error.errors()]
        raise describe(located) from None


def echoable(data: dict[str, Any] | None) -> dict[str, Any]:
    """A ping's data, as it can be sent back; VALIDATION_ERROR for numbers and text that our JSON cannot hold."""
    try:
        encode(data)
    except TypeError:
        raise InvalidRequest("data holds a value that cannot be sent back") from None
    return data or {}


def _is_unknown(word: object, words: type[StrEnum]) -> bool:
    return isinstance(word, str) and word not in {member.value for member in words}
