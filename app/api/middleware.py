"""Pure ASGI middleware: request context, CORS, the last catch, allowed hosts, body size."""

import base64
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from loguru import logger
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import named, render, request_id_of
from app.core.clock import Clock
from app.core.metrics import HTTP_DURATION, HTTP_REQUESTS
from app.domain.errors import InvalidRequest

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
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
QUIET_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})


class RequestContext:
    """Gives each request an id, logs and counts its end, and puts the headers on that every answer has.

    Routes add headers of their own, for whatever answer comes, by `request.state.headers`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request or WebSocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id", ""))
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"], state["headers"] = request_id, {}
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
                _dress(MutableHeaders(scope=message), scope)
            await send(message)

        try:
            await self._app(scope, receive, dressed)
        finally:
            _record(scope, status, time.perf_counter() - started)


def _request_id(given: str) -> str:
    if REQUEST_ID.fullmatch(given):
        return given
    return "req_" + base64.b32encode(secrets.token_bytes(17))[:26].decode().lower()


def _dress(headers: MutableHeaders, scope: Scope) -> None:
    headers["X-Request-ID"] = request_id_of(scope)
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    for name, value in scope["state"]["headers"].items():
        headers[name] = value
    if scope["path"] == DOCS_PATH:
        headers["Content-Security-Policy"] = DOCS_POLICY
    if scope["scheme"] == "https":
        headers["Strict-Transport-Security"] = TRANSPORT_SECURITY


def _record(scope: Scope, status: int, seconds: float) -> None:
    route = route_template(scope)
    HTTP_REQUESTS.labels(route, scope["method"] if route and scope["method"] in METHODS else "", str(status)).inc()
    HTTP_DURATION.labels(route).observe(seconds)
    client = scope.get("client") or ("", 0)
    logger.log(
        "DEBUG" if scope["path"] in QUIET_PATHS else "INFO",
        "{method} {path} {status}",
        method=scope["method"],
        path=scope["path"],
        status=status,
        milliseconds=round(seconds * 1000, 2),
        client=client[0],
    )


def route_template(scope: Scope) -> str:
    """The whole path of the matched route as it was declared; empty where none matched."""
    declared: str = getattr(scope.get("route"), "path", "")
    if not declared:
        return ""
    # A route knows its path without the prefixes of the routers around it; those have no parameters.
    prefix = scope["path"].split("/")[: -declared.count("/")]
    return "/".join(prefix) + declared


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


class AllowedHosts:
    """Refuses a Host header that is not ours; "*" allows all, "*.example.com" a domain's hosts."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._exact = frozenset(host.lower() for host in hosts if not host.startswith("*"))
        self._suffixes = tuple(host[1:].lower() for host in hosts if host.startswith("*"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass what came to a name of ours."""
        if scope["type"] in {"http", "websocket"} and not self._allows(Headers(scope=scope).get("host", "")):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            wrong = {"field": "header.host", "code": "host_unknown", "message": "This server has another name"}
            raise InvalidRequest(errors=[wrong])
        await self._app(scope, receive, send)

    def _allows(self, host: str) -> bool:
        name = re.sub(r":[0-9]*$", "", host).lower()
        return name in self._exact or name.endswith(self._suffixes)


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
