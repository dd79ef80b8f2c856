"""What routes ask for by type: the container, the caller, permissions, limits."""

import hashlib
import math
from functools import lru_cache
from typing import Annotated, Any

from fastapi import Depends, params
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from app.bootstrap import Container
from app.core.metrics import RATE_LIMITED
from app.core.rate_limit import Policy, Verdict
from app.domain.errors import Forbidden, RateLimited, Unauthorized
from app.services.auth_service import AuthenticatedUser, ClientInfo

USER_AGENT_LENGTH = 255

bearer = HTTPBearer(
    auto_error=False,
    bearerFormat="JWT",
    scheme_name="bearer",
    description="The `access_token` of a login, register or refresh.",
)


async def container_of(connection: HTTPConnection) -> Container:
    """The running process's parts."""
    container: Container = connection.app.state.container
    return container


ContainerDep = Annotated[Container, Depends(container_of)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


async def optional_user(
    connection: HTTPConnection, credentials: Credentials, container: ContainerDep
) -> AuthenticatedUser | None:
    """Who asks; None without an Authorization header, but an invalid one is refused."""
    if credentials is None:
        if "authorization" in connection.headers:
            raise Unauthorized
        return None
    return await container.auth.current_user(credentials.credentials)


OptionalUser = Annotated[AuthenticatedUser | None, Depends(optional_user)]

# For a route's `openapi_extra`: its token may be left out.
TOKEN_IS_OPTIONAL: dict[str, Any] = {"security": [{}]}


async def current_user(user: OptionalUser) -> AuthenticatedUser:
    """Who asks; 401 for nobody."""
    if user is None:
        raise Unauthorized
    return user


CurrentUser = Annotated[AuthenticatedUser, Depends(current_user)]


async def admin(user: CurrentUser) -> AuthenticatedUser:
    """Who asks, where they are an administrator; FORBIDDEN otherwise."""
    if not user.is_superuser:
        raise Forbidden
    return user


AdminUser = Annotated[AuthenticatedUser, Depends(admin)]


async def trader(user: CurrentUser) -> AuthenticatedUser:
    """Who asks, where they may trade; FEATURE_NOT_ENABLED otherwise."""
    if "trade" not in user.permissions:
        raise Forbidden(code="FEATURE_NOT_ENABLED", feature="trade")
    return user


TradingUser = Annotated[AuthenticatedUser, Depends(trader)]


async def client_info(connection: HTTPConnection) -> ClientInfo:
    """Where the request came from."""
    agent = connection.headers.get("user-agent", "")[:USER_AGENT_LENGTH]
    storable = "".join(letter for letter in agent if letter.isprintable())
    return ClientInfo(ip=_ip(connection), user_agent=storable or None)


ClientInfoDep = Annotated[ClientInfo, Depends(client_info)]


def rate_limit(name: str) -> params.Depends:
    """For a route's or router's `dependencies`: 429 beyond RATE_LIMIT_<NAME> requests a minute of one user.

    Where nobody is logged in the address counts. Every answer carries the RateLimit headers.
    """

    async def limit(connection: HTTPConnection, container: ContainerDep, user: OptionalUser) -> None:
        await _take(connection, container, name, f"u:{user.id}" if user else _address_key(connection))

    return params.Depends(limit)


def address_rate_limit(name: str) -> params.Depends:
    """Like `rate_limit`, but of one address, before anything is known of who asks."""

    async def limit(connection: HTTPConnection, container: ContainerDep) -> None:
        await _take(connection, container, name, _address_key(connection))

    return params.Depends(limit)


async def _take(connection: HTTPConnection, container: Container, name: str, caller: str) -> None:
    verdict = await verdict_on(container, name, caller)
    if verdict is None:
        return
    connection.state.headers.update(verdict.headers())
    if not verdict.is_allowed:
        RATE_LIMITED.labels(name).inc()
        per_minute = verdict.policy.per_minute
        raise RateLimited(retry_after=max(1, math.ceil(verdict.retry_seconds)), limit=name, per_minute=per_minute)


async def verdict_on(container: Container, name: str, caller: str) -> Verdict | None:
    """Count a request of a caller against a class of limits; None where that class has no limit."""
    per_minute = container.settings.rate_limits[name]
    return await container.limiter.take(_policy(name, per_minute), caller) if per_minute else None


async def room_of(container: Container, name: str, caller: str) -> Verdict | None:
    """What a caller has left of a class of limits, uncounted; None where that class has no limit."""
    per_minute = container.settings.rate_limits[name]
    return await container.limiter.peek(_policy(name, per_minute), caller) if per_minute else None


@lru_cache
def _policy(name: str, per_minute: int) -> Policy:
    return Policy(name, per_minute)


def _ip(connection: HTTPConnection) -> str | None:
    return connection.client.host if connection.client else None


def _address_key(connection: HTTPConnection) -> str:
    return address_key(_ip(connection) or "")


@lru_cache(maxsize=4096)
def address_key(address: str) -> str:
    """What limits know an address by."""
    return "ip:" + hashlib.sha256(address.encode()).hexdigest()[:32]
