"""Pure ASGI middleware: request context, HEAD, CORS, the last catch, allowed hosts, body size."""

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from loguru import logger
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import named, render, request_id_of
from app.core.clock import Clock
from app.core.logging import is_detailed
from app.core.metrics import HTTP_DURATION, HTTP_REQUESTS
from app.domain.errors import InvalidRequest

type RawHeader = tuple[bytes, bytes]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"
DOCS_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; img-src 'self' data: https://fastapi.tiangolo.com; "
    "frame-ancestors 'none'"
)
DOCS_PATH = "/docs"
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
ID_LETTERS = b"abcdefghijklmnopqrstuvwxyz234567" * 8
QUIET_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})


class Ready(NamedTuple):
    """An answer that is known at once: the template of its route, its headers, its body."""

    route: str
    headers: list[RawHeader]
    body: bytes


# Answers a request that is so plain that nothing else needs to look at it, or leaves it alone (None). Never raises.
type Shortcut = Callable[[Scope], Awaitable[Ready | None]]


class RequestContext:
    """Gives each request an id, logs and counts its end, and puts the headers on that every answer has.

    Routes add headers of their own, for whatever answer comes, by `request.state.headers`. What a shortcut answers
    is counted like all else, and logged as a detail: it is asked so often that its lines would drown all others.
    """

    def __init__(self, app: ASGIApp, shortcut: Shortcut | None = None) -> None:
        self._app = app
        self._shortcut = shortcut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request or WebSocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"], state["headers"] = request_id, {}
        if scope["type"] == "http" and self._shortcut is not None:
            started = time.perf_counter()
            ready = await self._shortcut(scope)
            if ready is not None:
                await send({"type": "http.response.start", "status": 200, "headers": _dressed(ready.headers, scope)})
                await send({"type": "http.response.body", "body": ready.body})
                _record(scope, ready.route, 200, time.perf_counter() - started, level="DEBUG")
                return
        with logger.contextualize(request_id=request_id):
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _dressed(message["headers"], scope)
            await send(message)

        try:
            await self._app(scope, receive, dressed)
        finally:
            level = "DEBUG" if scope["path"] in QUIET_PATHS else "INFO"
            _record(scope, route_template(scope), status, time.perf_counter() - started, level=level)


def _request_id(headers: Iterable[RawHeader]) -> str:
    """The caller's own id where it is one, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return value.decode()
    return "req_" + secrets.token_bytes(26).translate(ID_LETTERS).decode()


def _dressed(headers: Iterable[RawHeader], scope: Scope) -> list[RawHeader]:
    """An answer's headers with those that every answer has, where it has them not itself."""
    own = [*headers, *_raw(scope["state"]["headers"])]
    own.append((b"x-request-id", request_id_of(scope).encode()))
    if scope["path"] == DOCS_PATH:
        own += _raw({"Content-Security-Policy": DOCS_POLICY})
    if scope["scheme"] == "https":
        own += _raw({"Strict-Transport-Security": TRANSPORT_SECURITY})
    names = {name for name, _ in own}
    return own + [header for header in EVERYWHERE if header[0] not in names]


def _raw(headers: Mapping[str, str]) -> list[RawHeader]:
    return [(_raw_name(name), value.encode("latin-1")) for name, value in headers.items()]


@lru_cache(maxsize=256)
def _raw_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


EVERYWHERE = tuple(_raw(SECURITY_HEADERS))


def _record(scope: Scope, route: str, status: int, seconds: float, *, level: str) -> None:
    count, duration = _figures(route, scope["method"] if route and scope["method"] in METHODS else "", status)
    count.inc()
    duration.observe(seconds)
    if level == "DEBUG" and not is_detailed():
        return
    client = scope.get("client") or ("", 0)
    logger.log(
        level,
        "{method} {path} {status}",
        method=scope["method"],
        path=scope["path"],
        status=status,
        milliseconds=round(seconds * 1000, 2),
        client=client[0],
        request_id=request_id_of(scope),
    )


@lru_cache(maxsize=4096)
def _figures(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return HTTP_REQUESTS.labels(route, method, str(status)), HTTP_DURATION.labels(route)


def route_template(scope: Scope) -> str:
    """The whole path of the matched route as it was declared; empty where none matched."""
    declared: str = getattr(scope.get("route"), "path", "")
    if not declared:
        return ""
    # A route knows its path without the prefixes of the routers around it; those have no parameters.
    prefix = scope["path"].split("/")[: -declared.count("/")]
    return "/".join(prefix) + declared


class HeadAsGet:
    """Answers HEAD as GET is answered, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask for GET where HEAD is asked for."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # The server's own scope stays as it is: by it the server knows that no body may follow.
        asked = {**scope, "method": "GET"}

        async def bodiless(message: Message) -> None:
            is_body = message["type"] == "http.response.body"
            await send({**message, "body": b""} if is_body else message)

        await self._app(asked, receive, bodiless)
        scope["route"] = asked.get("route")


class Cors(CORSMiddleware):
    """CORS for listed origins; a preflight that is refused is answered without permission, as browsers expect."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight, never with a body."""
        answer = super().preflight_response(request_headers)
        headers = dict(answer.headers)
        headers.pop("content-length", None)
        headers.pop("content-type", None)
        if answer.status_code != 200:
            headers.pop("access-control-allow-origin", None)
        return Response(status_code=204, headers=headers)


class CatchAll:
    """Answers what nobody caught with the envelope; a fault of ours is logged with its trace, not told."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for what failed inside."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_started = False

        async def watched(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            logger.debug("the client left before its request was read")
        except Exception as error:
            problem = named(error)
            if problem.status == 500:
                logger.opt(exception=error).error("unhandled error")
            else:
                logger.warning("{code}: {kind}", code=problem.code, kind=type(error).__name__)
            if is_started:
                raise
            answer = render(problem, request_id=request_id_of(scope), clock=self._clock)
            await answer(scope, receive, send)


class HostNames:
    """The names of this server: "*" is every name, "*.example.com" a domain's."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._exact = frozenset(host.lower() for host in hosts if not host.startswith("*"))
        self._suffixes = tuple(host[1:].lower() for host in hosts if host.startswith("*"))

    def include(self, host: str) -> bool:
        """Whether a Host header, port and all, names this server."""
        name = re.sub(r":[0-9]*$", "", host).lower()
        return name in self._exact or name.endswith(self._suffixes)


class AllowedHosts:
    """Refuses a Host header that is not ours."""

    def __init__(self, app: ASGIApp, hosts: HostNames) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass what came to a name of ours."""
        if scope["type"] in {"http", "websocket"} and not self._hosts.include(Headers(scope=scope).get("host", "")):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            wrong = {"field": "header.host", "code": "host_unknown", "message": "This server has another name"}
            raise InvalidRequest(errors=[wrong])
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses a body of more than `max_bytes`, by its announced length or while it arrives."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what arrives."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > self._max_bytes:
            raise self._too_large()
        arrived = 0

        async def counted() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> InvalidRequest:
        return InvalidRequest(code="PAYLOAD_TOO_LARGE", max_bytes=self._max_bytes)
