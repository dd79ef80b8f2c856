"""A Redis of a test's own, which it may stop, kill and empty."""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

import app.core.redis_clients as clients_module
from app.core.redis_clients import redis_clients
from scripts.topology import servers
from tests.ports import free_port

# What needs nothing of our own database runs in one of the modes only.
once_only = pytest.mark.skipif(os.environ.get("TEST_MODE", "embedded") != "full", reason="runs once, in the full mode")


PATIENCE_SECONDS = 3.0


class RedisServer(servers.RedisServer):
    """A server without files on a port of its own, which may also hang."""

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing is answered."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running server for the block; where none is installed the test is left out, in CI it fails.

    Clients that are made in the block wait longer than in production: this process may pause for longer than a limiter
    waits, or a connection may take. That a server is gone they still see at once.
    """
    if shutil.which("redis-server") is None and not os.environ.get("CI"):
        pytest.skip("no redis-server is installed")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("WAIT_SECONDS", "CONNECT_SECONDS", "CACHE_SECONDS", "LIMITER_SECONDS"):
            patch.setattr(clients_module, name, PATIENCE_SECONDS)
        server = RedisServer(Path(folder), free_port())
        server.start()
        try:
            yield server
        finally:
            server.resume()
            server.kill()


@asynccontextmanager
async def emptied(server: RedisServer) -> AsyncIterator[Redis]:
    """A client of a server that holds nothing any more."""
    clients = redis_clients(server.url)
    await clients.cache.flushall()
    yield clients.cache
    await clients.aclose()
