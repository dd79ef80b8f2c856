"""A real server in the test's own event loop, on a port of its own."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from app.api.serving import SERVER_OPTIONS
from tests.waiting import until


class _Server(uvicorn.Server):
    app: FastAPI

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the test runner's signal handlers alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take leave of WebSocket clients first, as `marqetfi serve` does."""
        await self.app.state.container.websockets.shutdown()
        await super().shutdown(sockets)


@dataclass(frozen=True)
class RunningServer:
    """Where a server listens, and the application that it serves."""

    app: FastAPI
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"


@asynccontextmanager
async def serve(app: FastAPI) -> AsyncIterator[RunningServer]:
    """Serve the application until the block ends; its start-up has run before the block begins."""
    # Named in full, TCP is known to asyncio as such, and answers are not held back by 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(app, **SERVER_OPTIONS))
    server.app = app
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started or serving.done())
        if serving.done():
            raise AssertionError(f"the server did not start: {serving.exception()!r}")
        yield RunningServer(app, listener.getsockname()[1])
    finally:
        server.should_exit = True
        await serving
        listener.close()
