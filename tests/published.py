"""What is sent, held against what is published: the classes of the schemas, and the JSON Schemas made from them."""

import json
from functools import cache
from typing import Any, get_args

import jsonschema_rs
from pydantic import BaseModel, TypeAdapter

from app.api import asyncapi
from app.schemas.event_catalogue import CATALOGUE
from app.schemas.websocket_frames import ServerFrame

FRAMES: tuple[type[BaseModel], ...] = get_args(ServerFrame.__value__)


def classes_of(frame_type: str) -> list[type[BaseModel]]:
    """The classes of frames with a type."""
    return [frame for frame in FRAMES if frame_type in get_args(frame.model_fields["type"].annotation)]


@cache
def _adapter(frame_type: str) -> TypeAdapter[Any]:
    """Reads frames of a type; the union of several classes cannot be told to mypy."""
    classes = classes_of(frame_type)
    assert classes, f"no class for frames of type {frame_type}"
    union: Any = classes[0]
    for each in classes[1:]:
        union |= each
    return TypeAdapter(union)


@cache
def schema_of(*names: str) -> jsonschema_rs.Validator:
    """A validator of anything that is one of these schemas of the AsyncAPI document."""
    components = asyncapi.document()["components"]
    assert isinstance(components, dict)
    refs = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    return jsonschema_rs.validator_for({"anyOf": refs, "components": components})


def check_frame(text: str | bytes) -> None:
    """Fail where a frame has a member too many, too few, or of another kind than is published."""
    frame = json.loads(text)
    _adapter(frame["type"]).validate_json(text, extra="forbid")
    schema_of(*(each.__name__ for each in classes_of(frame["type"]))).validate(frame)


def check_event(event: dict[str, Any]) -> None:
    """Fail where an event of the log tells anything else than is published of its type."""
    row = CATALOGUE[event["type"]]
    row.model.model_validate_json(json.dumps(event["data"]), extra="forbid")
    jsonschema_rs.validator_for(row.json_schema).validate(event["data"])
