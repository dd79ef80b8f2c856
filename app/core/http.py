"""HTTP to outside services: bounded in time and size, retried where that is harmless, errors by our names."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

import httpx2
import stamina

from app.core.database import in_transaction
from app.core.metrics import PROVIDER_DURATION, PROVIDER_REQUESTS
from app.domain.errors import MarqetError, ProviderError, ProviderTimeout, Unavailable

type Parameters = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class HttpPolicy:
    """Limits of one service's client: seconds, attempts of a read, bytes of an answer."""

    connect_seconds: float = 2.0
    read_seconds: float = 8.0
    write_seconds: float = 5.0
    pool_seconds: float = 1.0
    read_total_seconds: float = 10.0
    send_total_seconds: float = 15.0
    attempts: int = 3
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 10.0
    retry_total_seconds: float = 20.0
    connections: int = 50
    max_answer_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A service's answer with a status below 500; `json` reads its body exactly."""

    provider: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value, fractions as Decimal; ProviderError when it is not JSON or holds NaN or Infinity."""
        try:
            return json.loads(self.body, parse_float=Decimal, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise ProviderError(provider=self.provider, reason="not JSON") from None


class NetworkInTransaction(RuntimeError):
    """The network was asked for while a database transaction was open: a programming error."""


class ServerFailure(ProviderError):
    """The service answered 5xx."""


class NetworkFailure(Unavailable):
    """The service could not be reached; nothing that matters was sent."""

    default_code = "PROVIDER_UNAVAILABLE"


class HttpClient:
    """A client of one outside service. `read` may be repeated, `send` never is: its outcome may be unknown."""

    def __init__(
        self,
        provider: str,
        base_url: str,
        *,
        policy: HttpPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._provider = provider
        self._policy = policy = policy or HttpPolicy()
        self._client = httpx2.AsyncClient(
            base_url=base_url,
            headers=headers,
            transport=transport,
            trust_env=False,
            timeout=httpx2.Timeout(
                connect=policy.connect_seconds,
                read=policy.read_seconds,
                write=policy.write_seconds,
                pool=policy.pool_seconds,
            ),
            limits=httpx2.Limits(max_connections=policy.connections, max_keepalive_connections=20),
        )
        self._retry = stamina.AsyncRetryingCaller(
            attempts=policy.attempts,
            timeout=policy.retry_total_seconds,
            wait_initial=policy.first_wait_seconds,
            wait_max=policy.longest_wait_seconds,
        ).on(_is_retryable)

    async def read(
        self, path: str, *, params: Parameters | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """GET, again after timeouts, network errors and 5xx.

        ProviderTimeout, Unavailable or ProviderError when every attempt failed so; a 4xx is an answer.
        """
        request = self._client.build_request("GET", path, params=params, headers=headers)
        return await self._retry(self._measured, request, self._policy.read_total_seconds)

    async def send(
        self,
        method: str,
        path: str,
        *,
        content: object = None,
        params: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Ask for an effect, once, with `content` as JSON.

        Unavailable: it was not sent, or refused for now. ProviderTimeout: no usable answer, it may have had its effect.
        """
        request = self._client.build_request(method, path, json=content, params=params, headers=headers)
        try:
            return await self._measured(request, self._policy.send_total_seconds)
        except ProviderError as error:
            raise ProviderTimeout(provider=self._provider, outcome="unknown") from error

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _measured(self, request: httpx2.Request, seconds: float) -> HttpAnswer:
        if in_transaction.get():
            raise NetworkInTransaction(f"{request.method} {request.url.host} inside a database transaction")
        started, outcome = time.perf_counter(), "ok"
        try:
            return await self._once(request, seconds)
        except MarqetError as error:
            outcome = error.code.lower()
            raise
        finally:
            PROVIDER_REQUESTS.labels(self._provider, outcome).inc()
            PROVIDER_DURATION.labels(self._provider).observe(time.perf_counter() - started)

    async def _once(self, request: httpx2.Request, seconds: float) -> HttpAnswer:
        try:
            # A read timeout counts per chunk: a slow drip never meets it.
            async with asyncio.timeout(seconds):
                answer = await self._exchange(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise NetworkFailure(provider=self._provider) from error
        except (httpx2.TimeoutException, TimeoutError) as error:
            raise ProviderTimeout(provider=self._provider, outcome="unknown") from error
        except httpx2.TransportError as error:
            if request.method == "GET":
                raise NetworkFailure(provider=self._provider) from error
            raise ProviderTimeout(provider=self._provider, outcome="unknown") from error
        except httpx2.DecodingError as error:
            raise ProviderError(provider=self._provider, reason="not decodable") from error
        return self._judged(answer)

    async def _exchange(self, request: httpx2.Request) -> HttpAnswer:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._policy.max_answer_bytes:
                    raise ProviderError(provider=self._provider, reason="answer too large")
            return HttpAnswer(self._provider, response.status_code, response.headers, bytes(body))
        finally:
            await response.aclose()

    def _judged(self, answer: HttpAnswer) -> HttpAnswer:
        if answer.status >= 500:
            raise ServerFailure(provider=self._provider, status=answer.status)
        if answer.status == 429:
            after = answer.headers.get("retry-after", "")
            seconds = int(after) if after.isascii() and after.isdigit() else 1
            raise Unavailable(code="PROVIDER_UNAVAILABLE", provider=self._provider, retry_after=seconds)
        if 300 <= answer.status < 400:
            raise ProviderError(provider=self._provider, reason="redirected", status=answer.status)
        return answer


def _is_retryable(error: Exception) -> bool:
    return isinstance(error, ServerFailure | NetworkFailure | ProviderTimeout)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
