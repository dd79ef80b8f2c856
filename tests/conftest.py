"""Fixtures of all tests: a migrated database for each module, the parts of a process, a real server.

TEST_MODE=embedded (default) runs on a PostgreSQL of our own, TEST_MODE=full on the one of TEST_DATABASE_URL.
A module overrides `settings` (by `make_settings`) or `clock` to change what its container is built from.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import hypothesis
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core import migrations
from app.core.clock import Clock, SystemClock
from app.core.database import Database
from app.main import create_app
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.factories import Person, create_person
from tests.postgres import private_server
from tests.servers import RunningServer, serve
from tests.waiting import until

type MakeSettings = Callable[..., Settings]
type MakeDatabase = Callable[[], str]

DEFAULT_DATABASE_URL = "postgresql+asyncpg://postgres@127.0.0.1:5432/postgres"
TEST_SECRET = "a secret that is known to everybody who reads the tests"

# How fast this machine is proves nothing; all else stays as Hypothesis has it, in CI and out of it.
hypothesis.settings.register_profile("timeless", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("timeless")

# A developer's own settings must not change what tests see.
for name in Settings.model_fields:
    os.environ.pop(name.upper(), None)


def in_thread[T](work: Callable[[], T]) -> T:
    """Run what starts an event loop of its own, away from the tests' one."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(work).result()


def run_sql(url: str, statement: str) -> None:
    """Run one statement outside any transaction, as CREATE DATABASE needs it."""

    async def run() -> None:
        connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    in_thread(lambda: asyncio.run(run()))


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded market data; where it is absent the test is left out, in CI it fails."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("RECORDED_DATA_DIR", default))
    if not folder.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"no recorded market data in {folder}; set RECORDED_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The url of a database on the server of this mode, from which others can be created."""
    if os.environ.get("TEST_MODE", "embedded") == "full":
        yield os.environ.get("TEST_DATABASE_URL", DEFAULT_DATABASE_URL)
        return
    with private_server() as url:
        yield url


@pytest.fixture(scope="session")
def empty_database(postgres_url: str) -> Iterator[MakeDatabase]:
    """Creates databases without tables; all are dropped at the end of the session."""
    with databases(postgres_url, "template0") as make:
        yield make


@pytest.fixture(scope="session")
def new_database(postgres_url: str) -> Iterator[MakeDatabase]:
    """Creates migrated databases, quickly, each a copy of one template."""
    with databases(postgres_url, "template0") as make:
        template = make()
        in_thread(lambda: migrations.upgrade(template))
        with databases(postgres_url, str(make_url(template).database)) as make_copy:
            yield make_copy


@pytest_asyncio.fixture
async def one_day() -> None:
    """For a test that must begin and end on one day by UTC: in the last minute of one it waits for the next."""
    await until(lambda: datetime.now(UTC).strftime("%H:%M") != "23:59", seconds=90)


@pytest.fixture(scope="module")
def database_url(new_database: MakeDatabase) -> str:
    """The module's own migrated database."""
    return new_database()


@pytest.fixture(scope="module")
def make_settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> MakeSettings:
    """Makes settings for the module's database: cheap hashes, no rate limits, no funding, and what a test changes."""

    def make(**changes: Any) -> Settings:
        unlimited = {name: 0 for name in Settings.model_fields if name.startswith("rate_limit_")}
        values: dict[str, Any] = {
            "environment": "test",
            "database_url": database_url,
            "secret_key": TEST_SECRET,
            "marqetfi_data_dir": tmp_path_factory.mktemp("data"),
            "password_memory_kib": 8,
            "password_time_cost": 1,
            # An instant of real time may pass in the middle of any test.
            "paper_funding_seconds": 0,
            **unlimited,
            **changes,
        }
        return Settings(_env_file=None, **values)

    return make


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    """The settings of the module's container; a module overrides this with `make_settings(...)`."""
    return make_settings()


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The clock of the module's container; a module overrides this with a ManualClock."""
    return SystemClock()


@pytest_asyncio.fixture(scope="module")
async def container(settings: Settings, clock: Clock) -> AsyncIterator[Container]:
    """The parts of a process, without its loops; `server` runs those."""
    async with bootstrap(settings, clock=clock) as container:
        yield container


@pytest.fixture(scope="module")
def database(container: Container) -> Database:
    """The module's database, connected."""
    return container.database


@pytest.fixture(scope="module")
def uow(container: Container) -> UnitOfWorkFactory:
    """Opens units of work on the module's database."""
    return container.uow


@pytest_asyncio.fixture(scope="module")
async def server(container: Container) -> AsyncIterator[RunningServer]:
    """A real server on a real port, with the module's container and its loops."""

    @asynccontextmanager
    async def ready(_: Settings) -> AsyncIterator[Container]:
        yield container

    async with serve(create_app(container.settings, build=ready)) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def client(server: RunningServer) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the module's server."""
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as client:
        yield client


@pytest_asyncio.fixture
async def user(container: Container) -> Person:
    """Somebody new for each test, registered and logged in."""
    return await create_person(container)


@pytest_asyncio.fixture
async def other_user(container: Container) -> Person:
    """Somebody else, whose things are not `user`'s."""
    return await create_person(container)


@pytest.fixture
def auth_headers(user: Person) -> dict[str, str]:
    """Headers that authenticate `user`."""
    return user.headers


@contextmanager
def databases(server_url: str, template: str) -> Iterator[MakeDatabase]:
    """Create databases from a template; drop them at the end, with whoever is still connected."""
    names: list[str] = []

    def make() -> str:
        database = f"test_{uuid.uuid4().hex[:16]}"
        run_sql(server_url, f"CREATE DATABASE {database} TEMPLATE {template}")
        names.append(database)
        # Processes of ours die in tests, never the machine: what is committed need not have reached its disk.
        run_sql(server_url, f"ALTER DATABASE {database} SET synchronous_commit = off")
        return make_url(server_url).set(database=database).render_as_string(hide_password=False)

    try:
        yield make
    finally:
        for database in names:
            run_sql(server_url, f"DROP DATABASE {database} WITH (FORCE)")
