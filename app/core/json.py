"""JSON with exact numbers: answers keep every decimal digit, events keep what a reader's float keeps."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
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
    """Encode an event's data: sorted keys, ASCII; a Decimal becomes a number where its float repr is exact, else text.

    Any reader that parses and re-serialises with sorted keys in Python gets the same bytes.
    """
    return json.dumps(_event_value(data), sort_keys=True, ensure_ascii=True, allow_nan=False)


def _event_value(value: object) -> Any:
    if isinstance(value, Decimal):
        as_float = float(value)
        return as_float if Decimal(repr(as_float)) == value else plain(value)
    if isinstance(value, Mapping):
        return {key: _event_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_event_value(item) for item in value]
    return _event_scalar(value)


def _event_scalar(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value) if isinstance(value, date | UUID) else value


def rfc3339(instant: datetime) -> str:
    """An aware instant in UTC with Z, as every timestamp of ours is written."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def decode(data: bytes | str) -> Any:
    """Decode JSON that we wrote ourselves."""
    return orjson.loads(data)
