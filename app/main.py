"""The ASGI application: middleware, routes, error answers, and its life from start to stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware

from app.api import errors
from app.api.asyncapi import asyncapi
from app.api.health import health
from app.api.middleware import AllowedHosts, BodyLimit, CatchAll, Cors, HeadAsGet, HostNames, RequestContext
from app.api.routing import MarqetRoute, operation_id
from app.api.v1.prices.price_shortcut import PriceShortcut
from app.api.v1.router import api
from app.api.websocket.connection import WebSocketEndpoint
from app.bootstrap import Bootstrap
from app.config.settings import Settings
from app.core import logging
from app.core.clock import SystemClock
from app.core.supervision import Supervisor
from app.core.version import VERSION
from app.tasks.background import serving_parts

TITLE = "MarqetFi API"
EXPOSED_HEADERS = ["X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After", "Idempotency-Replayed", "ETag"]
ALLOWED_HEADERS = ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-Request-ID"]
ALLOWED_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


class MarqetApi(FastAPI):
    """FastAPI with a document that names only what we answer."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if not self.openapi_schema:
            self.openapi_schema = get_openapi(
                title=self.title, version=self.version, summary=self.summary, routes=self.routes
            )
        return self.openapi_schema


def create_app(settings: Settings | None = None, *, build: Bootstrap = serving_parts) -> FastAPI:
    """Make the application; its parts are built when it starts, its loops run until it stops."""
    settings = settings or Settings()
    clock = SystemClock()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with build(settings) as container:
            app.state.container = container
            supervisor = Supervisor(container.loops)
            supervisor.start()
            try:
                yield
            finally:
                container.is_draining = True
                await supervisor.stop()

    app = MarqetApi(
        title=TITLE,
        version=VERSION,
        summary="One API in front of perpetual exchanges.",
        lifespan=lifespan,
        middleware=_middleware(settings, clock),
        responses=errors.DEFAULT_RESPONSE,
        generate_unique_id_function=operation_id,
        redirect_slashes=False,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.router.route_class = MarqetRoute
    errors.install(app, clock)
    app.include_router(health)
    app.include_router(asyncapi)
    app.include_router(api)
    return app


def _middleware(settings: Settings, clock: SystemClock) -> list[Middleware]:
    """From the outside in; the catch-all stands inside CORS so that browsers may read errors too."""
    hosts = HostNames(settings.trusted_hosts)
    return [
        Middleware(RequestContext, shortcut=PriceShortcut(hosts)),
        Middleware(HeadAsGet),
        Middleware(
            Cors,
            allow_origins=settings.cors_origins,
            allow_methods=ALLOWED_METHODS,
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
        ),
        Middleware(CatchAll, clock=clock),
        Middleware(AllowedHosts, hosts=hosts),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes),
        Middleware(WebSocketEndpoint),
    ]


@cache
def _application() -> FastAPI:
    settings = Settings()
    logging.configure(level=settings.log_level, style=settings.log_format)
    return create_app(settings)


def __getattr__(name: str) -> FastAPI:
    """Make `app` when a server asks for it, not when this module is imported."""
    if name != "app":
        raise AttributeError(name)
    return _application()
