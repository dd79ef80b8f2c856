"""Bodies are read strictly, answers keep every digit."""

import json
from decimal import Decimal
from typing import Any

import httpx2
import pytest

EXACT = "12345678901234567.123456789012345678"
JSON = {"Content-Type": "application/json"}


def read(answer: httpx2.Response) -> Any:
    return json.loads(answer.content, parse_float=Decimal)


async def test_numbers_come_back_with_every_digit(probe_client: httpx2.AsyncClient) -> None:
    for literal in (EXACT, f'"{EXACT}"'):
        body = f'{{"collateral":{literal},"side":"buy","limit":1e5}}'
        answer = await probe_client.post("/probe/orders/7", content=body, headers=JSON)

        assert answer.status_code == 201, answer.text
        assert answer.text == (f'{{"collateral":{EXACT},"limit":100000,"side":"buy","at":"2026-01-05T12:00:00Z"}}')
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-order"] == "7"


async def test_numbers_are_text_for_those_who_ask(probe_client: httpx2.AsyncClient) -> None:
    headers = {**JSON, "Accept": "application/json; numbers=string"}
    body = f'{{"collateral":{EXACT},"side":"sell","limit":null}}'
    answer = await probe_client.post("/probe/orders/7", content=body, headers=headers)

    assert answer.json() == {"collateral": EXACT, "limit": None, "side": "sell", "at": "2026-01-05T12:00:00Z"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"side":"buy"}', "body.collateral"),
        ('{"collateral":0,"side":"buy"}', "body.collateral"),
        ('{"collateral":-1,"side":"buy"}', "body.collateral"),
        ('{"collateral":1e400,"side":"buy"}', "body.collateral"),
        ('{"collateral":1e-400,"side":"buy"}', "body.collateral"),
        ('{"collateral":"NaN","side":"buy"}', "body.collateral"),
        ('{"collateral":true,"side":"buy"}', "body.collateral"),
        ('{"collateral":"1_000","side":"buy"}', "body.collateral"),
        ('{"collateral":0.1234567890123456789,"side":"buy"}', "body.collateral"),
        ('{"collateral":1,"side":"BUY"}', "body.side"),
        ('{"collateral":1,"side":"buy","reduce_only":"yes"}', "body.reduce_only"),
        ('{"collateral":1,"side":"buy","reduce_only":1}', "body.reduce_only"),
        ('{"collateral":1,"side":"buy","stop_prise":1}', "body.stop_prise"),
        ("[]", "body"),
        ("null", "body"),
        ("", "body"),
    ],
)
async def test_a_wrong_field_is_named(probe_client: httpx2.AsyncClient, body: str, field: str) -> None:
    answer = await probe_client.post("/probe/orders/7", content=body, headers=JSON)

    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == "VALIDATION_ERROR"
    assert [wrong["field"] for wrong in error["details"]["errors"]] == [field]


@pytest.mark.parametrize(
    "body",
    [
        b'{"collateral":NaN,"side":"buy"}',
        b'{"collateral":Infinity,"side":"buy"}',
        b'{"collateral":1,"collateral":2,"side":"buy"}',
        b'{"collateral":1,"side":"buy"',
        b'{"collateral":' + b"1" * 5000 + b',"side":"buy"}',
        b'{"collateral":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"\xff\xfe",
        "\ud800".encode("utf-16-le", "surrogatepass"),
    ],
)
async def test_what_is_not_strict_json_is_refused(probe_client: httpx2.AsyncClient, body: bytes) -> None:
    answer = await probe_client.post("/probe/orders/7", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": ";;;"},
    ],
)
async def test_another_media_type_is_refused(probe_client: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    body = b'{"collateral":1,"side":"buy"}'
    answer = await probe_client.post("/probe/orders/7", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=UTF-8", "application/vnd.x+json"])
async def test_json_has_several_names(probe_client: httpx2.AsyncClient, kind: str) -> None:
    body = b'{"collateral":1,"side":"buy"}'
    answer = await probe_client.post("/probe/orders/7", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 201


@pytest.mark.parametrize("order_id", ["0", "-1", "9223372036854775808", "1e3", "1.0", "x", "%00", "%D9%A3"])
async def test_an_id_out_of_range_is_refused(probe_client: httpx2.AsyncClient, order_id: str) -> None:
    answer = await probe_client.post(f"/probe/orders/{order_id}", json={"collateral": 1, "side": "buy"})

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["details"]["errors"][0]["field"] == "path.order_id"


async def test_a_decimal_of_the_query_is_exact(probe_client: httpx2.AsyncClient) -> None:
    answer = await probe_client.get("/probe/fraction?fraction=0.333333333333333333")
    assert read(answer) == {"fraction": Decimal("0.333333333333333333")}

    for wrong in ("0", "1.1", "1e-1", "NaN", "", "0.5%00"):
        refused = await probe_client.get(f"/probe/fraction?fraction={wrong}")
        assert refused.json()["error"]["details"]["errors"][0]["field"] == "query.fraction"


async def test_pages_have_bounds(probe_client: httpx2.AsyncClient) -> None:
    assert (await probe_client.get("/probe/page")).json() == {"limit": 50, "before": None}
    assert (await probe_client.get("/probe/page?limit=5&cursor=Nw")).json() == {"limit": 5, "before": 7}
    for wrong in ("limit=0", "limit=201", "limit=x", "cursor=!", "cursor=AAAA", "cursor=" + "A" * 65):
        assert (await probe_client.get(f"/probe/page?{wrong}")).status_code == 400


async def test_ready_bytes_are_left_alone(probe_client: httpx2.AsyncClient) -> None:
    answer = await probe_client.get("/probe/raw")
    assert (answer.content, answer.headers["content-type"]) == (b"ready", "text/plain; charset=utf-8")
