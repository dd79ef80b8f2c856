"""A server whose application has the probe routes too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest_asyncio

from app.bootstrap import Container
from app.config.settings import Settings
from app.main import create_app
from tests.integration.api.probe import probe
from tests.servers import RunningServer, serve


@pytest_asyncio.fixture(scope="module")
async def probe_server(container: Container) -> AsyncIterator[RunningServer]:
    """The module's container behind real and probe routes."""

    @asynccontextmanager
    async def ready(_: Settings) -> AsyncIterator[Container]:
        yield container

    app = create_app(container.settings, build=ready)
    app.include_router(probe)
    async with serve(app) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def probe_client(probe_server: RunningServer) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the server with the probe routes."""
    async with httpx2.AsyncClient(base_url=probe_server.url, trust_env=False, timeout=20) as client:
        yield client
