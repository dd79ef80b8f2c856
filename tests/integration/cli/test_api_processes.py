"""`marqetfi serve --workers`: several API processes on one address, as one server."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.processes import Installation, Server
from tests.redis_server import RedisServer, once_only, redis_server
from tests.waiting import until

pytestmark = [once_only, pytest.mark.crash]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def command_of(pid: int | str) -> str:
    """What a process was started as; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> set[int]:
    """The processes that serve: not those that are gone, nor Python's own helper, which tracks resources for them."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(one) for one in found if "spawn_main" in command_of(one)}


async def test_one_that_dies_is_started_again_and_all_end_together(
    database_url: str, redis: RedisServer, tmp_path: Path
) -> None:
    installation = Installation(database_url=database_url, folder=tmp_path, settings={"REDIS_URL": redis.url})
    server = Server(installation, "serve")
    await server.launch("serve", "--workers", "2", PORT=str(server.port))
    try:
        async with server.client() as client:
            await until(lambda: server.is_ready(client), seconds=90)
            first = children(server.pid)
            assert len(first) == 2

            died = first.pop()
            os.kill(died, signal.SIGKILL)
            await until(lambda: len(children(server.pid) - {died}) == 2, seconds=30)
            assert first < children(server.pid)
            await until(lambda: server.is_ready(client), seconds=90)
            last = children(server.pid)
    finally:
        code = await server.end(signal.SIGTERM)
    assert code == 0, server.tail()
    assert [command_of(pid) for pid in last if command_of(pid)] == []
