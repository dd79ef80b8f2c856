"""Reading JSON strictly: exact numbers, no duplicate keys, nothing that JSON does not have."""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

from app.domain.errors import InvalidRequest

MAX_FLOAT_CHARACTERS = 64
MAX_INT_CHARACTERS = 40
MAX_DEPTH = 32

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def _refuse(reason: str) -> InvalidRequest:
    return InvalidRequest(code="INVALID_JSON", reason=reason)


def _float(text: str) -> Decimal:
    if len(text) > MAX_FLOAT_CHARACTERS:
        raise _refuse(f"a number has more than {MAX_FLOAT_CHARACTERS} characters")
    return Decimal(text)


def _int(text: str) -> int:
    if len(text) > MAX_INT_CHARACTERS:
        raise _refuse(f"a number has more than {MAX_INT_CHARACTERS} characters")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise _refuse(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _refuse("an object names the same key twice")
    return members


_decoder = json.JSONDecoder(
    parse_float=_float, parse_int=_int, parse_constant=_constant, object_pairs_hook=_object, strict=True
)


def load_strict(body: bytes) -> Any:
    """The value of a UTF-8 JSON text, fractions as Decimal; InvalidRequest INVALID_JSON with the reason otherwise."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _refuse("the body is not UTF-8") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise _refuse(f"it is nested deeper than {MAX_DEPTH}")
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _refuse(f"{error.msg} at character {error.pos}") from None


def _depth(text: str) -> int:
    """How deep brackets nest, those inside strings left out."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest
