"""The AsyncAPI document as it is served."""

import json

import httpx2

from scripts.export_openapi import ASYNCAPI_SNAPSHOT, asyncapi_document


async def test_the_snapshot_is_what_is_served(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/asyncapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    snapshot = ASYNCAPI_SNAPSHOT.read_text(encoding="utf-8")
    assert answer.json() == json.loads(snapshot), "the WebSocket changed: run `make openapi` and look at what it says"
    assert snapshot == asyncapi_document()


async def test_it_is_as_public_as_the_other_document_and_not_part_of_it(client: httpx2.AsyncClient) -> None:
    other = await client.get("/openapi.json")
    assert other.status_code == 200
    assert "/asyncapi.json" not in other.json()["paths"]
    assert (await client.post("/asyncapi.json")).status_code == 405
