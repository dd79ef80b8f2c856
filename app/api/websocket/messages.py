"""Frames from a client as messages: read as strictly as HTTP bodies are, refused with the same codes."""

from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from app.api.errors import describe
from app.api.strict_json import load_strict
from app.core.json import encode
from app.domain.channels import Channel
from app.domain.errors import InvalidRequest
from app.schemas.base import RequestModel
from app.schemas.websocket import ClientMessage, MessageType


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
