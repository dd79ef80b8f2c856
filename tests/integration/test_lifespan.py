"""A process from its first start: data dir, secret, database, loops; and what a restart finds again."""

import asyncio
import os
import signal
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from app import main
from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core.postmaster import running_postmaster
from app.core.process_lock import DataDirInUse
from app.main import create_app
from tests.conftest import MakeSettings
from tests.factories import create_person
from tests.servers import RunningServer, serve
from tests.waiting import until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place that the database server's account can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="marqetfi-first-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "data"


def embedded(folder: Path) -> Settings:
    return Settings(_env_file=None, marqetfi_data_dir=folder, password_memory_kib=8, password_time_cost=1)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def client_of(server: RunningServer) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=20)


async def test_a_first_start_makes_everything_and_a_second_finds_it(folder: Path) -> None:
    async with bootstrap(embedded(folder)) as container:
        person = await create_person(container)
        with pytest.raises(DataDirInUse):
            async with bootstrap(embedded(folder)):
                raise AssertionError("two owners of one data dir")

    assert mode_of(folder / "secret_key") == 0o600
    assert mode_of(folder) == (0o711 if os.geteuid() == 0 else 0o700)
    async with serve(create_app(embedded(folder))) as server, client_of(server) as client:
        assert (await client.get("/health/ready")).status_code == 200
        answer = await client.get("/api/v1/auth/me", headers=person.headers)
        assert (answer.status_code, answer.json()["email"]) == (200, person.email)


async def test_a_database_that_dies_is_started_again_and_meanwhile_503(folder: Path) -> None:
    async with serve(create_app(embedded(folder))) as server, client_of(server) as client:
        person = await create_person(server.app.state.container)
        postmaster = running_postmaster(folder / "pg")
        assert postmaster is not None
        os.kill(postmaster.pid, signal.SIGKILL)

        async def told() -> httpx2.Response:
            return await client.get("/api/v1/auth/me", headers=person.headers)

        seen = [await told()]

        async def has_answered(status: int) -> bool:
            seen.append(await told())
            return seen[-1].status_code == status

        await until(lambda: has_answered(503))
        assert seen[-1].json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert seen[-1].headers["retry-after"]
        await until(lambda: has_answered(200), seconds=30)
        assert {answer.status_code for answer in seen} <= {200, 503}


async def test_loops_run_while_the_application_does(make_settings: MakeSettings, container: Container) -> None:
    running: list[str] = []

    async def loop() -> None:
        running.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            running.append("stopped")

    @asynccontextmanager
    async def build(_: Settings) -> AsyncIterator[Container]:
        container.loops[:] = [loop]
        yield container

    async with serve(create_app(make_settings(), build=build)):
        await until(lambda: running == ["started"])
        assert not container.is_draining

    assert running == ["started", "stopped"]
    assert container.is_draining


async def test_a_database_behind_the_newest_migration_takes_no_traffic(
    make_settings: MakeSettings, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def build(_: Settings) -> AsyncIterator[Container]:
        container.loops.clear()
        container.is_draining = False
        yield container

    async with serve(create_app(make_settings(), build=build)) as server, client_of(server) as client:
        monkeypatch.setattr("app.core.migrations.head", lambda: "9999")
        answer = await client.get("/health/ready")

    assert (answer.status_code, answer.json()["error"]["details"]["parts"]["migrations"]) == (503, "down")


def test_the_server_finds_the_application_by_name() -> None:
    assert main.app is main.app
    with pytest.raises(AttributeError):
        getattr(main, "nothing")  # noqa: B009
