"""Who may open a WebSocket: the origin of its page, and the token or ticket that the handshake brings."""

import asyncio
from urllib.parse import urlsplit

from loguru import logger
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from app.api.errors import named, render, request_id_of
from app.bootstrap import Container
from app.core.clock import Clock
from app.domain.errors import Forbidden, MarqetError, Unauthorized
from app.services.auth_service import AuthenticatedUser
from app.services.websocket.connections import Connection, Identity


async def admit(scope: Scope, receive: Receive, send: Send, container: Container) -> Connection | None:
    """Register a client that may connect; None where it was denied, and why was told."""
    (admitted,) = await asyncio.gather(_admitted(HTTPConnection(scope), container), return_exceptions=True)
    if isinstance(admitted, Exception):
        problem = named(admitted)
        if problem.status == 500:
            logger.opt(exception=admitted).error("a WebSocket could not be admitted")
        await refuse(problem, scope, receive, send, container.clock)
        return None
    if isinstance(admitted, BaseException):
        raise admitted
    return admitted


async def refuse(problem: MarqetError, scope: Scope, receive: Receive, send: Send, clock: Clock) -> None:
    """Answer a handshake as HTTP would, with the envelope."""
    request_id = request_id_of(scope)
    answer = render(problem, request_id=request_id, clock=clock, headers={"X-Request-ID": request_id})
    await answer(scope, receive, send)


async def _admitted(handshake: HTTPConnection, container: Container) -> Connection:
    origin = handshake.headers.get("origin")
    if origin is not None and not is_allowed_origin(
        origin, handshake.headers.get("host", ""), container.settings.cors_origins
    ):
        raise Forbidden("Pages of this origin may not connect")
    user = await _user_of_handshake(handshake, container)
    address = handshake.client.host if handshake.client else ""
    return await container.websockets.connect(address, identity_of(user) if user else None)


async def _user_of_handshake(handshake: HTTPConnection, container: Container) -> AuthenticatedUser | None:
    authorization = handshake.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized
        return await container.auth.current_user(token)
    ticket = handshake.query_params.get("ticket")
    if ticket is None:
        return None
    user = await container.auth.redeem_ws_ticket(ticket)
    if user is None:
        raise Unauthorized("The ticket is unknown, used or too old")
    return user


def is_allowed_origin(origin: str, host: str, allowed: list[str]) -> bool:
    """Whether a page may connect: one of our own host, or of an origin that CORS_ORIGINS lists."""
    if "*" in allowed or origin in allowed:
        return True
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and bool(host) and parts.netloc.lower() == host.lower()


def identity_of(user: AuthenticatedUser) -> Identity:
    """What the hub needs to know of a user."""
    return Identity(user.id, user.session_id, user.expires_at, user.is_sandbox)
