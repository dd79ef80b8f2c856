"""The OpenAPI document: stable names, every error documented, nothing that we do not answer."""

import json
from typing import Any

import httpx2
import pytest_asyncio

from scripts.export_openapi import SNAPSHOT
from scripts.export_openapi import document as exported


@pytest_asyncio.fixture
async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()}


async def test_operations_are_named_by_tag_and_function(document: dict[str, Any]) -> None:
    named = operations(document)

    assert len(named) == sum(len(path) for path in document["paths"].values())
    assert {"auth_register", "auth_login", "auth_refresh", "auth_me", "health_ready"} <= set(named)
    for name, operation in named.items():
        assert name.startswith(operation["tags"][0])
        assert operation["description"], name


async def test_every_operation_documents_the_envelope_and_no_422_of_the_framework(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        schema = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ErrorEnvelope"}, name
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_what_needs_a_token_says_so(document: dict[str, Any]) -> None:
    named = operations(document)
    assert named["auth_me"]["security"] == [{"bearer": []}]
    assert "security" not in named["auth_login"]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


async def test_errors_have_examples(document: dict[str, Any]) -> None:
    examples = operations(document)["auth_login"]["responses"]["401"]["content"]["application/json"]["examples"]
    assert examples["INVALID_CREDENTIALS"]["value"]["error"]["code"] == "INVALID_CREDENTIALS"


async def test_the_snapshot_is_what_is_served(client: httpx2.AsyncClient) -> None:
    served = (await client.get("/openapi.json")).json()
    snapshot = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert served == snapshot, "the API changed: run `make openapi` and look at what it says"
    assert SNAPSHOT.read_text(encoding="utf-8") == exported()


async def test_what_a_route_may_answer_is_documented(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        documented = set(operation["responses"])
        assert {"400", "503", "default"} <= documented, name
        if "security" in operation:
            assert {"401", "429"} <= documented, name
        if "requestBody" in operation:
            assert {"413", "415", "429"} <= documented, name
        takes_key = any(item["name"] == "idempotency-key" for item in operation.get("parameters", []))
        if takes_key:
            assert {"409", "422"} <= documented, name
