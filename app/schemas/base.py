"""What all request and answer shapes share: strict bodies, exact numbers, bounded ids."""

import re
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictBool,
    StrictInt,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

MAX_ID = 2**63 - 1
MAX_INDEX = 2**31 - 1
MAX_DECIMALS = 18
# The database refuses anything from here on, see models/base.py.
LIMIT = Decimal("1e20")
# Bounds of JSON schemas are written for programs that read numbers as floats.
_LARGEST_ID = 2**63 - 2**10
_LARGEST = 99_999_999_999_999_990_000

_NUMBER_TEXT = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,18})?")
_WHOLE_TEXT = re.compile(r"[0-9]{1,9}")
_ID_TEXT = re.compile(r"[0-9]{1,19}")
_POSITIVE_PATTERN = r"^(0*[1-9][0-9]{0,14}(\.[0-9]{1,18})?|0\.[0-9]{0,17}[1-9])$"


def exact_decimal(value: object) -> Decimal:
    """Read a JSON number, or a plain decimal string such as "0.25", without loss: at most 18 decimals, finite."""
    if isinstance(value, str):
        if _NUMBER_TEXT.fullmatch(value) is None:
            raise PydanticCustomError(
                "decimal_text", "Write a number or plain digits such as 0.25, at most 18 decimals"
            )
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise PydanticCustomError("decimal_type", "Write a number, or a string of plain digits")
    number = Decimal(value)
    if not number.is_finite() or number.adjusted() >= 30:
        raise PydanticCustomError("decimal_range", "The number is too large")
    if number.adjusted() < -MAX_DECIMALS or number != round(number, MAX_DECIMALS):
        raise PydanticCustomError("decimal_places", "The number has more than 18 decimals")
    return number


def exact_whole(value: object) -> int:
    """Read a whole number written as a JSON number or as a string of digits."""
    if isinstance(value, str) and _WHOLE_TEXT.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticCustomError("whole_number", "Write a whole number")
    return value


def json_whole(value: object) -> int:
    """Read a JSON number without a fraction; 60.0 is one."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and value == int(value):
        return int(value)
    raise PydanticCustomError("whole_number", "Write a whole number")


def storable_text(value: str) -> str:
    """Refuse what no text column can hold: NUL and lone surrogates."""
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise PydanticCustomError("text_not_storable", "The text holds a character that cannot be stored")
    return value


def _id_text(value: object) -> object:
    if isinstance(value, str) and _ID_TEXT.fullmatch(value) is None:
        raise PydanticCustomError("id_text", "An id is a whole number from 1 to 9223372036854775807")
    return value


def _index_text(value: object) -> object:
    if isinstance(value, str) and _ID_TEXT.fullmatch(value) is None:
        raise PydanticCustomError("index_text", "An index is a whole number from 0 to 2147483647")
    return value


def number_schema(**bounds: float) -> dict[str, object]:
    """The JSON schema of a number that is also taken as a string; `bounds` as JSON schema names them."""
    return {"anyOf": [{"type": "number", **bounds}, {"type": "string", "pattern": _POSITIVE_PATTERN}]}


SafeStr = Annotated[str, AfterValidator(storable_text)]
PathId = Annotated[
    int,
    BeforeValidator(_id_text),
    Field(ge=1, le=MAX_ID),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": _LARGEST_ID}),
]
PathIndex = Annotated[
    int,
    BeforeValidator(_index_text),
    Field(ge=0, le=MAX_INDEX),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_INDEX}),
]
Count = StrictInt
WholeNumber = Annotated[int, BeforeValidator(exact_whole)]
Flag = StrictBool
Amount = Annotated[
    Decimal,
    BeforeValidator(exact_decimal),
    Field(gt=0, lt=LIMIT),
    WithJsonSchema(number_schema(exclusiveMinimum=0, maximum=_LARGEST), mode="validation"),
]
PriceField = Amount
Fraction = Annotated[
    Decimal,
    BeforeValidator(exact_decimal),
    Field(gt=0, le=1),
    WithJsonSchema(number_schema(exclusiveMinimum=0, maximum=1), mode="validation"),
]
Percentage = Annotated[
    Decimal,
    BeforeValidator(exact_decimal),
    Field(gt=0, lt=100),
    WithJsonSchema(number_schema(exclusiveMinimum=0, exclusiveMaximum=100), mode="validation"),
]
Number = Annotated[Decimal, WithJsonSchema({"type": "number"}, mode="serialization")]
Cursor = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class RequestModel(BaseModel):
    """A request body: unknown fields are refused by name, text is such that a database can hold it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _storable(cls, value: object) -> object:
        return storable_text(value) if isinstance(value, str) else value


class AmendModel(RequestModel):
    """What is to change: what is absent stays. null is refused, but of what is `removable`, which it takes away."""

    removable: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: object, info: ValidationInfo) -> object:
        if value is None and info.field_name not in cls.removable:
            raise PydanticCustomError("null_refused", "null means nothing here; leave out what is to stay")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema, in which only what is removable may be null."""
        schema = handler(core_schema)
        properties: dict[str, dict[str, Any]] = handler.resolve_ref_schema(schema)["properties"]
        for name in properties.keys() - cls.removable:
            kinds = properties[name].pop("anyOf", [])
            kinds = [kind for kind in kinds if kind != {"type": "null"}]
            properties[name] |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
            properties[name].pop("default", None)
        return schema


class ResponseModel(BaseModel):
    """An answer, or a part of one; read from rows as they are."""

    model_config = ConfigDict(from_attributes=True)
