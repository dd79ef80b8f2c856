"""A Redis of a test's own, which it may stop, kill and empty."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from redis.asyncio import Redis

from app.core.redis_clients import redis_clients
from tests.ports import free_port
from tests.waiting import until_sync

# What needs nothing of our own database runs in one of the modes only.
once_only = pytest.mark.skipif(os.environ.get("TEST_MODE", "embedded") != "full", reason="runs once, in the full mode")


class RedisServer:
    """A server without files on a port of its own."""

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return once it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([self._binary, *options], stdout=subprocess.DEVNULL)
        until_sync(self._answers)

    def kill(self) -> None:
        """End it at once; everything in it is gone."""
        self._send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing is answered."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running server for the block; where none is installed the test is left out, in CI it fails."""
    binary = shutil.which("redis-server")
    if binary is None and not os.environ.get("CI"):
        pytest.skip("no redis-server is installed")
    server = RedisServer(binary or "redis-server")
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
