"""Requests to addresses that users choose: only the public internet is reached, and little of its answer is read."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ssl import SSLContext
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from app.core.database import in_transaction
from app.core.http import NetworkInTransaction
from app.domain.addresses import may_connect, may_use_port
from app.domain.webhooks import Failure, Reply

CONNECT_SECONDS = 3.0
KEEPALIVE_SECONDS = 15.0
READ_BYTES = 2048
# A name server that is silent holds a thread for many seconds.
LOOKUP_THREADS = 64

# Said by name servers that know better; all else may be different in a moment.
_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

type Lookup = Callable[[str, int], Awaitable[Sequence[str]]]


class AddressRefused(OSError):
    """The address is none of the public internet, or the port none of the web's."""


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """How long a request may take in all, and whether loopback may be reached (development)."""

    timeout_seconds: float = 10.0
    allow_local: bool = False


class CheckedResolver(AbstractResolver):
    """Looks names up and drops every address that may not be connected to."""

    def __init__(self, lookup: Lookup, *, allow_local: bool) -> None:
        self._lookup = lookup
        self._allow_local = allow_local

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host that are left; AddressRefused where none is."""
        addresses = await self._lookup(host, port)
        allowed = [address for address in addresses if may_connect(address, allow_local=self._allow_local)]
        if addresses and not allowed:
            raise AddressRefused(host)
        return [_resolved(host, port, address) for address in allowed]

    async def close(self) -> None:
        """Nothing is kept open."""


def _resolved(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
    )


class OutboundHttp:
    """Posts bodies: no redirects, no cookies, no proxies, no decompression; 2 kB of an answer are read.

    What may be connected to is decided at the socket, on the address that is used, so that a name which points
    elsewhere a moment later gains nothing.
    """

    def __init__(self, limits: OutboundLimits, *, lookup: Lookup | None = None, tls: SSLContext | bool = True) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")
        self._lookup = lookup or self._system_lookup
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send once, whatever comes of it."""
        if in_transaction.get():
            raise NetworkInTransaction("a webhook inside a database transaction")
        try:
            async with self._opened().post(url, data=body, headers=headers, allow_redirects=False) as answer:
                text = _readable(await _beginning(answer.content))
                return Reply(status=answer.status, body=text, retry_after=answer.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(failure=_failure(error))

    async def refusal(self, url: str) -> Failure | None:
        """What the name of a URL's host tells against it now: it is not known, or leads to no public address.

        None where nothing does, or where no name server says anything in time: each connection decides anew.
        """
        parts = urlsplit(url)
        resolver = CheckedResolver(self._lookup, allow_local=self._limits.allow_local)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await resolver.resolve(parts.hostname or "", parts.port or 0)
        except AddressRefused:
            return Failure.BLOCKED_ADDRESS
        except OSError as error:
            return Failure.DNS if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_HOST else None
        return None

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=CheckedResolver(self._lookup, allow_local=self._limits.allow_local),
                use_dns_cache=False,
                socket_factory=self._socket,
                ssl=self._tls,
                limit=0,
                keepalive_timeout=KEEPALIVE_SECONDS,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                # An answer is kept as it came: compressed, nobody could read it.
                headers={"Accept-Encoding": "identity"},
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=self._limits.timeout_seconds, sock_connect=CONNECT_SECONDS),
            )
        return self._session

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        host, port = str(address[0]), int(address[1])
        allow_local = self._limits.allow_local
        if not (may_connect(host, allow_local=allow_local) and may_use_port(port, allow_local=allow_local)):
            raise AddressRefused(host)
        return socket.socket(family, kind, protocol)

    async def _system_lookup(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """The first 2 kB of an answer."""
    read = bytearray()
    while len(read) < READ_BYTES:
        part = await content.read(READ_BYTES - len(read))
        if not part:
            break
        read += part
    return bytes(read)


def _readable(data: bytes) -> str:
    """Text that a database can hold."""
    return data.decode("utf-8", "replace").replace("\0", "")


# The first that fits; an error may be several of these.
_FAILURES: tuple[tuple[type[BaseException], Failure], ...] = (
    (TimeoutError, Failure.TIMEOUT),
    (aiohttp.InvalidURL, Failure.URL),
    (aiohttp.ClientConnectorDNSError, Failure.DNS),
    (aiohttp.ClientSSLError, Failure.TLS),
    (aiohttp.ClientConnectorError, Failure.CONNECT),
    (aiohttp.ClientError, Failure.BROKEN),
    (OSError, Failure.BROKEN),
    (ValueError, Failure.URL),
)


def _failure(error: Exception) -> Failure:
    if isinstance(error, AddressRefused) or isinstance(getattr(error, "os_error", None), AddressRefused):
        return Failure.BLOCKED_ADDRESS
    return next(failure for kind, failure in _FAILURES if isinstance(error, kind))
