"""Requests to addresses that users choose, over the real client: hostile ones never get as far as a connection."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from app.core.outbound_http import Lookup, OutboundHttp, OutboundLimits
from app.domain.webhooks import Failure


@asynccontextmanager
async def receiver(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on loopback that gives the same raw answer to everyone, and keeps what it was sent."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65_536))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


def always(*addresses: str) -> Lookup:
    async def lookup(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return lookup


@asynccontextmanager
async def client(lookup: Lookup | None = None, *, allow_local: bool = False) -> AsyncIterator[OutboundHttp]:
    http = OutboundHttp(OutboundLimits(timeout_seconds=5, allow_local=allow_local), lookup=lookup)
    try:
        yield http
    finally:
        await http.aclose()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1", "100.100.100.200", "::1", "::ffff:127.0.0.1",
     "64:ff9b::7f00:1", "fd00:ec2::254", "2002:7f00:1::", "0.0.0.0"],  # noqa: S104 - nothing is bound here
)  # fmt: skip
async def test_a_name_that_points_inside_is_refused(address: str) -> None:
    async with client(always(address)) as http:
        assert (await http.post("https://example.com/", b"{}", {})).failure is Failure.BLOCKED_ADDRESS


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.1.2.3"])
async def test_an_address_in_the_url_is_refused_at_the_socket(host: str) -> None:
    async with client(always("93.184.216.34")) as http:
        assert (await http.post(f"https://{host}/", b"{}", {})).failure is Failure.BLOCKED_ADDRESS


async def test_no_connection_is_made_to_what_is_refused() -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (port, heard):
        async with client(always("127.0.0.1")) as http:
            by_name = await http.post(f"http://example.com:{port}/", b"{}", {})
            by_address = await http.post(f"http://127.0.0.1:{port}/", b"{}", {})
        assert [by_name.failure, by_address.failure] == [Failure.BLOCKED_ADDRESS] * 2
        assert heard == []
        async with client(allow_local=True) as http:
            assert (await http.post(f"http://127.0.0.1:{port}/", b"{}", {})).status == 200
        assert len(heard) == 1


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with receiver(answer) as (port, heard), client(allow_local=True) as http:
        reply = await http.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert reply.status == 302
    assert not reply.is_success
    assert len(heard) == 1


async def test_little_of_an_answer_is_read_as_text_that_a_database_holds() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"a\0\xff" * 30_000
    async with receiver(answer) as (port, _), client(allow_local=True) as http:
        reply = await http.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert reply.body is not None
    assert len(reply.body) <= 2048
    assert "\0" not in reply.body


async def test_what_breaks_off_and_who_is_not_there() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
    async with receiver(answer) as (port, _), client(allow_local=True) as http:
        assert (await http.post(f"http://127.0.0.1:{port}/", b"{}", {})).failure is Failure.BROKEN
    async with client(allow_local=True) as http:
        assert (await http.post(f"http://127.0.0.1:{port}/", b"{}", {})).failure is Failure.CONNECT


async def test_the_bytes_and_headers_arrive_as_given() -> None:
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, heard), client(allow_local=True) as http:
        await http.post(f"http://127.0.0.1:{port}/hook", b'{"a": 1}', {"webhook-id": "evt_1"})
    assert heard[0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"webhook-id: evt_1\r\n" in heard[0]
    assert heard[0].lower().count(b"accept-encoding") == heard[0].count(b"Accept-Encoding: identity\r\n") == 1
    assert heard[0].endswith(b'{"a": 1}')
