"""The AsyncAPI document by the rules of AsyncAPI 3.0: nothing dangles, and what it shows is what it says."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs
import pytest

from app.api import asyncapi
from app.api.websocket.messages import parse_message
from app.core.json import encode
from app.domain.channels import Channel
from app.schemas import websocket
from app.schemas.websocket import ClientMessage, MessageType
from app.schemas.websocket_examples import EXAMPLES
from tests.published import FRAMES, classes_of, schema_of

DOCUMENT: dict[str, Any] = asyncapi.document()
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
# What the specification lets stand in each object.
MEMBERS = {
    "root": {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"},
    "channel": {"address", "servers", "messages", "bindings"},
    "operation": {"action", "channel", "messages", "reply"},
    "message": {"name", "title", "summary", "payload", "examples"},
}
SENT = [
    message
    for name, message in vars(websocket).items()
    if isinstance(message, type) and issubclass(message, websocket.Message) and message is not websocket.Message
    if message is not ClientMessage and name == message.__name__
]


def references(value: object) -> Iterator[str]:
    """Every $ref in a document."""
    if isinstance(value, Mapping):
        if isinstance(target := value.get("$ref"), str):
            yield target
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolved(reference: str) -> Any:
    """What a reference within the document leads to."""
    start, *path = reference.split("/")
    assert start == "#", reference
    found: Any = DOCUMENT
    for name in path:
        found = found[name]
    return found


def target_of(reference: Mapping[str, str]) -> Any:
    """What stands behind a reference, however many there are in between."""
    found: Any = reference
    while "$ref" in found:
        found = resolved(found["$ref"])
    return found


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))

    assert len(found) > 40
    for reference in found:
        assert resolved(reference), reference


def test_no_schema_is_left_over() -> None:
    used = {reference.rpartition("/")[2] for reference in references(DOCUMENT) if "/schemas/" in reference}

    assert set(DOCUMENT["components"]["schemas"]) == used


def test_objects_have_no_member_that_the_specification_does_not_know() -> None:
    assert DOCUMENT.keys() == MEMBERS["root"]
    assert DOCUMENT["asyncapi"] == "3.0.0"
    for kind, found in (
        ("channel", DOCUMENT["channels"]),
        ("operation", DOCUMENT["operations"]),
        ("message", MESSAGES),
    ):
        for name, value in found.items():
            assert value.keys() <= MEMBERS[kind], name


def test_operations_show_messages_of_their_channel() -> None:
    (channel,) = DOCUMENT["channels"].values()
    shown: set[str] = set()
    for name, operation in DOCUMENT["operations"].items():
        assert operation["action"] in {"send", "receive"}
        assert target_of(operation["channel"]) is channel, name
        for part in (operation, operation.get("reply", {})):
            for reference in part.get("messages", []):
                # The specification wants the channel's own, which then leads to the component.
                assert reference["$ref"].startswith("#/channels/websocket/messages/"), name
                shown.add(target_of(reference)["title"])
    assert shown == set(channel["messages"]) == set(MESSAGES)


def test_what_clients_send_is_received_and_what_answers_them_is_sent() -> None:
    by_action: dict[str, set[str]] = {"send": set(), "receive": set()}
    for operation in DOCUMENT["operations"].values():
        titles = {target_of(reference)["title"] for reference in operation["messages"]}
        by_action[operation["action"]] |= titles
        if operation["action"] == "receive":
            replies = {target_of(reference)["title"] for reference in operation["reply"]["messages"]}
            assert "ErrorFrame" in replies
            by_action["send"] |= replies
    assert by_action["receive"] == {message.__name__ for message in SENT}
    assert by_action["send"] == {frame.__name__ for frame in FRAMES}


def test_every_type_and_channel_is_told() -> None:
    asked = {target_of(MESSAGES[each.__name__]["payload"])["properties"]["type"]["const"] for each in SENT}
    names = {message["name"] for message in MESSAGES.values()}

    assert asked == set(MessageType)
    assert names == {*MessageType, *(channel.update_type for channel in Channel)} | {
        "welcome",
        "subscribed",
        "unsubscribed",
        "pong",
        "error",
        "reconnect",
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_an_example_is_as_its_schema_says(name: str) -> None:
    message = MESSAGES[name]
    (example,) = message["examples"]

    schema_of(name).validate(example["payload"])
    assert example["payload"]["type"] == message["name"]
    assert "additionalProperties" not in target_of(message["payload"]) or name in {each.__name__ for each in SENT}


@pytest.mark.parametrize("message", SENT, ids=lambda message: message.__name__)
def test_an_example_of_a_client_is_understood(message: type[websocket.Message]) -> None:
    text = encode(EXAMPLES[message]).decode()

    assert parse_message(text).type == EXAMPLES[message]["type"]
    message.model_validate_json(text)


def test_an_example_of_the_server_is_of_its_class() -> None:
    for frame in FRAMES:
        read = frame.model_validate_json(encode(EXAMPLES[frame]), extra="forbid")
        assert frame in classes_of(str(EXAMPLES[frame]["type"]))
        assert read.model_dump(exclude_none=True)


def test_schemas_speak_the_dialect_of_asyncapi() -> None:
    words = {word for schema in DOCUMENT["components"]["schemas"].values() for word in _keywords(schema)}

    assert words & {"$defs", "prefixItems", "discriminator", "unevaluatedProperties", "nullable"} == set()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.Draft7Validator({**schema, "components": DOCUMENT["components"]})


def _keywords(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            yield name
            yield from () if name in {"properties", "examples"} else _keywords(value)
        for value in schema.get("properties", {}).values():
            yield from _keywords(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _keywords(value)


def test_names_are_such_as_the_specification_allows() -> None:
    for part in ("messages", "schemas", "securitySchemes"):
        for name in DOCUMENT["components"][part]:
            assert re.fullmatch(r"[\w\d.\-_]+", name), name
