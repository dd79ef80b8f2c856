"""Every parameter, and every member of what is asked or answered, says what it is, in the documents that are served."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.domain.events import EventType
from app.schemas.event_catalogue import CATALOGUE
from scripts.export_openapi import asyncapi_document, document


def members(schema: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of every object in a document, by the names of both."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict) and "title" in schema:
            for name, member in properties.items():
                yield f"{schema['title']}.{name}", member
        for part in schema.values():
            yield from members(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from members(part)


def undescribed(schema: object) -> list[str]:
    return sorted({name for name, member in members(schema) if not member.get("description")})


@pytest.mark.parametrize("served", [document, asyncapi_document])
def test_every_member_is_described(served: Any) -> None:
    found = json.loads(served())
    assert len(list(members(found))) > 100
    assert undescribed(found) == []


def test_every_parameter_is_described() -> None:
    operations = [operation for path in json.loads(document())["paths"].values() for operation in path.values()]
    parameters = [
        (operation["operationId"], parameter)
        for operation in operations
        for parameter in operation.get("parameters", [])
    ]
    assert len(parameters) > 50
    assert [f"{name}.{shown['name']}" for name, shown in parameters if not shown.get("description")] == []


@pytest.mark.parametrize("kind", EventType)
def test_every_member_of_an_event_is_described(kind: EventType) -> None:
    assert undescribed(CATALOGUE[kind].json_schema) == []


@pytest.mark.parametrize("served", [document, asyncapi_document])
def test_instants_say_how_they_are_written(served: Any) -> None:
    instants = [(name, member) for name, member in members(json.loads(served())) if "date-time" in json.dumps(member)]
    assert len(instants) > 10
    assert [name for name, member in instants if "ISO 8601" not in member["description"]] == []
