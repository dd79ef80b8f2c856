"""Every test of the console script runs in a place of its own, without the developer's .env, data and sessions."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from app.bootstrap import Container
from app.cli.main import app
from tests.folders import passable_folder
from tests.integration.cli.terminal import PHRASE, Ask, Run
from tests.servers import RunningServer
from tests.waiting import until


@pytest.fixture
def installation() -> Iterator[Path]:
    """A folder for a server with a database of its own, gone afterwards, whoever runs the test."""
    with passable_folder("marqetfi-cli-") as folder:
        yield folder


@pytest.fixture(autouse=True)
def _place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MARQETFI_DATA_DIR", str(tmp_path / "data"))


@pytest_asyncio.fixture
async def run(server: RunningServer, container: Container, tmp_path: Path) -> Run:
    """Runs a command against the module's server, in a thread, with a folder of sessions of the test's own."""
    await until(lambda: container.board.latest(1))

    async def run(*words: str, stdin: str | None = None, code: int = 0) -> Result:
        env = {"MARQETFI_URL": server.url, "XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "200"}
        ended = await asyncio.to_thread(CliRunner().invoke, app, list(words), input=stdin, env=env)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        assert ended.exit_code == code, ended.output
        return ended

    return run


@pytest.fixture
def ask(run: Run) -> Ask:
    """Runs a command with --json, and reads what it wrote, with exact numbers."""

    async def ask(*words: str) -> Any:
        return json.loads((await run(*words, "--json")).stdout, parse_float=Decimal)

    return ask


@pytest_asyncio.fixture
async def trader(run: Run) -> str:
    """A new account, logged in; its email."""
    name = f"cli-{uuid4().hex[:8]}"
    await run("register", "--email", f"{name}@example.com", "--username", name, "--password-stdin", stdin=f"{PHRASE}\n")
    return f"{name}@example.com"
