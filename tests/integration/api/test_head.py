"""HEAD: every GET is answered without its body."""

import asyncio

import httpx2
import pytest

from app.core.metrics import HTTP_REQUESTS
from tests.factories import Person
from tests.servers import RunningServer

UNCHANGING = ("content-length", "content-type", "etag", "vary", "cache-control", "allow")


@pytest.mark.parametrize(
    "path",
    [
        "/health/live",
        "/openapi.json",
        "/docs",
        "/api/v1/trading/pairs",
        "/api/v1/trading/orders",
        "/api/v1/trading/orders/12345",
        "/api/v1/trading/orders?colour=red",
        "/api/v1/prices/NOPE",
        "/api/v1/trading/trades/x/y",
        "/nope",
        "/api/v1/auth/login",
    ],
)
async def test_head_answers_as_get_without_the_body(client: httpx2.AsyncClient, user: Person, path: str) -> None:
    get = await client.get(path, headers=user.headers | {"X-Request-ID": "the-same-id"})
    head = await client.head(path, headers=user.headers | {"X-Request-ID": "the-same-id"})
    assert (head.status_code, head.content) == (get.status_code, b"")
    for name in UNCHANGING:
        assert head.headers.get(name) == get.headers.get(name), name


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/metrics", "/api/v1/prices/BTCUSDT", "/api/v1/events"])
async def test_head_of_what_changes(client: httpx2.AsyncClient, user: Person, path: str) -> None:
    answer = await client.head(path, headers=user.headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


async def test_nothing_follows_the_headers(server: RunningServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    asked = "{} /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: {}\r\n\r\n"
    writer.write((asked.format("HEAD", "keep-alive") + asked.format("GET", "close")).encode())
    head, get, body = (await reader.read()).split(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert get.startswith(b"HTTP/1.1 200 OK")
    assert body == b'{"status":"ok"}'


async def test_head_is_counted_as_head(client: httpx2.AsyncClient) -> None:
    count = HTTP_REQUESTS.labels("/health/live", "HEAD", "200")
    before = count._value.get()
    await client.head("/health/live")
    assert count._value.get() == before + 1


async def test_who_may_get_is_told_of_head(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/health")).headers["allow"] == "GET, HEAD"
    assert (await client.head("/api/v1/auth/login")).headers["allow"] == "POST"
