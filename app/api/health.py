"""Health and metrics: is the process alive, is it ready for traffic, what has it counted."""

import asyncio
import hmac
from typing import Literal

from fastapi import Request, Response

from app.api.dependencies import ContainerDep
from app.api.errors import responses
from app.api.routing import router
from app.bootstrap import Container, Part
from app.core.metrics import CONTENT_TYPE_LATEST, exposition
from app.core.version import VERSION
from app.domain.enums import StateScope
from app.domain.errors import NotFound, Unauthorized, Unavailable
from app.schemas.health import Alive, Health, HeldBack, TradingHealth
from app.services.trading_state_service import TradingStateService

health = router(tag="health")

PING_SECONDS = 2.0


@health.get("/health", response_model=Health, responses=responses())
async def read(container: ContainerDep) -> Health:
    """Tell that the process runs, and how each of its parts is."""
    return _told(container, await _states(container))


@health.get("/health/live", response_model=Alive, responses=responses())
async def live() -> Alive:
    """Tell that the process answers; asks nothing of anything else."""
    return Alive()


@health.get("/health/ready", response_model=Health, responses=responses("SERVICE_UNAVAILABLE"))
async def ready(container: ContainerDep) -> Health:
    """Tell whether to send traffic here: 503 while a required part is down or the process is stopping."""
    parts = await _states(container)
    down = [name for name, part in container.parts.items() if part.is_required and parts[name] == "down"]
    if down or container.is_draining:
        raise Unavailable(retry_after=1, parts=parts, draining=container.is_draining)
    return _told(container, parts)


@health.get("/metrics", include_in_schema=False)
async def metrics(request: Request, container: ContainerDep) -> Response:
    """Every figure in Prometheus' text format; METRICS_TOKEN, where set, is asked as bearer token."""
    settings = container.settings
    if not settings.metrics_enabled:
        raise NotFound
    if settings.metrics_token is not None:
        wanted = f"Bearer {settings.metrics_token.get_secret_value()}".encode()
        if not hmac.compare_digest(wanted, request.headers.get("authorization", "").encode()):
            raise Unauthorized
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)


def _told(container: Container, parts: dict[str, Literal["up", "down"]]) -> Health:
    return Health(
        status="ok" if "down" not in parts.values() else "degraded",
        version=VERSION,
        parts=parts,
        trading=_trading(container.states),
    )


def _trading(states: TradingStateService) -> TradingHealth:
    held_back = [HeldBack.model_validate(row) for row in states.restricted if row.scope is not StateScope.USER]
    return TradingHealth(
        held_back=held_back,
        users_held_back=len(states.restricted) - len(held_back),
        held_exits=states.held_exits,
    )


async def _states(container: Container) -> dict[str, Literal["up", "down"]]:
    states = await asyncio.gather(*(_state(part) for part in container.parts.values()))
    return dict(zip(container.parts, states, strict=True))


async def _state(part: Part) -> Literal["up", "down"]:
    """Run a ping as a task of its own: however it fails, it is down."""
    ping = asyncio.ensure_future(part.ping())
    _, unfinished = await asyncio.wait({ping}, timeout=PING_SECONDS)
    if unfinished:
        ping.cancel()
        return "down"
    return "down" if ping.cancelled() or ping.exception() is not None else "up"
