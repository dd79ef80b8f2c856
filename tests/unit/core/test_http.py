"""The client of outside services: retries, errors by name, limits; against a stand-in and a real server."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal

import httpx2
import pytest
import stamina

from app.core.database import in_transaction
from app.core.http import HttpClient, HttpPolicy, NetworkInTransaction
from app.domain.errors import MarqetError, ProviderError, ProviderTimeout, Unavailable

type Reply = httpx2.Response | httpx2.TransportError


@pytest.fixture(autouse=True)
def _no_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


class Service:
    """Answers with each reply in turn, and keeps what it was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.requests: list[httpx2.Request] = []
        self._replies = iter(replies)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def client(self) -> HttpClient:
        return HttpClient("venue", "https://venue.example", transport=httpx2.MockTransport(self))


async def test_a_read_is_repeated_until_it_works() -> None:
    service = Service(httpx2.Response(503), httpx2.ReadTimeout("slow"), httpx2.Response(200, json={"price": 1}))

    found = await service.client().read("/price", params={"asset": "BTC"})

    assert found.json() == {"price": 1}
    assert [str(request.url) for request in service.requests] == ["https://venue.example/price?asset=BTC"] * 3


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (lambda: httpx2.Response(500), ProviderError, "PROVIDER_ERROR"),
        (lambda: httpx2.ReadTimeout("slow"), ProviderTimeout, "PROVIDER_TIMEOUT"),
        (lambda: httpx2.ConnectTimeout("slow"), Unavailable, "PROVIDER_UNAVAILABLE"),
        (lambda: httpx2.ConnectError("refused"), Unavailable, "PROVIDER_UNAVAILABLE"),
        (lambda: httpx2.ReadError("reset"), Unavailable, "PROVIDER_UNAVAILABLE"),
        (lambda: httpx2.RemoteProtocolError("nonsense"), Unavailable, "PROVIDER_UNAVAILABLE"),
    ],
)
async def test_a_read_that_never_works_is_named(reply: Callable[[], Reply], kind: type[MarqetError], code: str) -> None:
    service = Service(*(reply() for _ in range(5)))

    with pytest.raises(kind) as caught:
        await service.client().read("/price")

    assert (caught.value.code, caught.value.details["provider"]) == (code, "venue")
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (lambda: httpx2.Response(302, headers={"location": "http://169.254.169.254/"}), ProviderError),
        (lambda: httpx2.Response(200, content=b"x" * (1024 * 1024 + 1)), ProviderError),
        (lambda: httpx2.Response(429, headers={"retry-after": "7"}), Unavailable),
    ],
)
async def test_what_would_not_get_better_is_not_repeated(reply: Callable[[], Reply], kind: type[MarqetError]) -> None:
    service = Service(*(reply() for _ in range(5)))

    with pytest.raises(kind) as caught:
        await service.client().read("/price")

    assert len(service.requests) == 1
    assert caught.value.retry_after in {None, 7}


async def test_a_refusal_is_an_answer() -> None:
    service = Service(httpx2.Response(400, json={"reason": "no"}))
    found = await service.client().read("/price")
    assert (found.status, found.json()) == (400, {"reason": "no"})


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (lambda: httpx2.Response(502), ProviderTimeout),
        (lambda: httpx2.Response(302), ProviderTimeout),
        (lambda: httpx2.Response(200, content=b"x" * (1024 * 1024 + 1)), ProviderTimeout),
        (lambda: httpx2.ReadTimeout("slow"), ProviderTimeout),
        (lambda: httpx2.WriteError("reset"), ProviderTimeout),
        (lambda: httpx2.RemoteProtocolError("cut"), ProviderTimeout),
        (lambda: httpx2.ConnectError("refused"), Unavailable),
        (lambda: httpx2.ConnectTimeout("slow"), Unavailable),
        (lambda: httpx2.PoolTimeout("full"), Unavailable),
        (lambda: httpx2.Response(429), Unavailable),
    ],
)
async def test_an_effect_is_asked_for_once_and_its_unknown_outcome_told(
    reply: Callable[[], Reply], kind: type[MarqetError]
) -> None:
    service = Service(reply(), httpx2.Response(200))

    with pytest.raises(kind):
        await service.client().send("POST", "/trades", content={"size": 1})

    assert len(service.requests) == 1


async def test_a_sent_effect_carries_its_content() -> None:
    service = Service(httpx2.Response(201, json={"id": 1}))
    assert (await service.client().send("POST", "/trades", content={"size": 1})).status == 201
    assert service.requests[0].content == b'{"size":1}'


async def test_numbers_of_an_answer_are_exact_and_finite() -> None:
    exact, infinite, broken = b'{"p":0.1000000000000000055511151231257827}', b'{"p":Infinity}', b"<html>"
    client = Service(*(httpx2.Response(200, content=body) for body in (exact, infinite, broken))).client()

    assert (await client.read("/")).json() == {"p": Decimal("0.1000000000000000055511151231257827")}
    for _ in range(2):
        found = await client.read("/")
        with pytest.raises(ProviderError):
            found.json()


async def test_no_request_leaves_a_transaction() -> None:
    service = Service(httpx2.Response(200))
    with in_transaction.scope(), pytest.raises(NetworkInTransaction):
        await service.client().read("/price")
    assert service.requests == []


@asynccontextmanager
async def listening(reply: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    """A real server that reads a request, replies, and keeps the connection open."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reply(writer)
        await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        done.set()
        server.close()
        await server.wait_closed()


async def test_a_slow_drip_meets_the_total_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    policy = HttpPolicy(attempts=1, read_total_seconds=0.05)
    async with listening(lambda writer: writer.write(head + b"x")) as url:
        client = HttpClient("venue", url, policy=policy)
        with stamina.set_testing(True, attempts=1), pytest.raises(ProviderTimeout):
            await client.read("/price")
        await client.aclose()


async def test_a_compressed_flood_is_cut_off() -> None:
    bomb = gzip.compress(b"\0" * (20 * 1024 * 1024))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with listening(lambda writer: writer.write(head + bomb)) as url:
        client = HttpClient("venue", url)
        with pytest.raises(ProviderError):
            await client.read("/price")
        await client.aclose()


async def test_an_answer_that_cannot_be_decoded_is_named() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip"
    async with listening(lambda writer: writer.write(reply)) as url:
        client = HttpClient("venue", url)
        with pytest.raises(ProviderError):
            await client.read("/price")
        await client.aclose()


async def test_nobody_listening_is_unavailable() -> None:
    async with listening(lambda writer: writer.write(b"")) as url:
        pass
    client = HttpClient("venue", url)
    with pytest.raises(Unavailable):
        await client.send("POST", "/trades")
    await client.aclose()
