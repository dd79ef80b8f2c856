"""JSON with exact numbers: answers and events keep every decimal digit."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any
from uuid import UUID

import orjson

from app.domain.money import plain

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def _as_number(value: object) -> orjson.Fragment | str:
    if isinstance(value, Decimal):
        return orjson.Fragment(plain(value))
    return _as_text(value)


def _as_text(value: object) -> str:
    # The database driver's UUIDs are of a class of its own.
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _as_string(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return _as_text(value)


def encode(value: object, *, numbers_as_strings: bool = False) -> bytes:
    """Encode an answer; a Decimal becomes a JSON number with its exact digits, or a string when asked."""
    return orjson.dumps(value, default=_as_string if numbers_as_strings else _as_number, option=_OPTIONS)


def encode_event(data: Mapping[str, object]) -> str:
    """Encode an event's data: sorted keys, ASCII; a Decimal becomes a number with its exact digits, and a point.

    Where a float holds it, it is written as a float's repr: who reads it as one and writes it again gets the same.
    """
    members = [f"{_quoted(key)}: {_event_text(data[key])}" for key in sorted(data)]
    return f"{{{', '.join(members)}}}"


def _event_text(value: object) -> str:
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, Mapping):
        return encode_event(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_event_text, value))}]"
    return json.dumps(_event_scalar(value), ensure_ascii=True, allow_nan=False)


def _event_number(value: Decimal) -> str:
    text = repr(float(value))
    if Decimal(text) == value:
        return text
    exact = plain(value)
    return exact if "." in exact else f"{exact}.0"


# Most of what events hold; each change of an order writes some of them.
_WRITERS: Mapping[type, Callable[[Any], str]] = {
    str: _quoted,
    int: repr,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    Decimal: _event_number,
}


def _event_scalar(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value) if isinstance(value, date | UUID) else value


def rfc3339(instant: datetime) -> str:
    """An aware instant in UTC with Z, as every timestamp of ours is written."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def decode_exact(text: str) -> Any:
    """Decode an event's data; a number with a point keeps its digits, as a Decimal."""
    return json.loads(text, parse_float=Decimal)


def decode_floats(text: str) -> Any:
    """Decode an event's data for readers of floats: a number that none holds exactly stays text."""
    return json.loads(text, parse_float=_float_or_text)


def _float_or_text(digits: str) -> float | str:
    number = float(digits)
    return number if repr(number) == digits else digits.removesuffix(".0")


def decode(data: bytes | str) -> Any:
    """Decode JSON that we wrote ourselves."""
    return orjson.loads(data)
