"""What commands share that work on the database themselves: its address, and units of work on it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import asyncpg

from app.cli.failure import EXIT_IN_USE, Failure
from app.config.settings import Settings
from app.core import migrations
from app.core.broadcast import MemoryBroadcast
from app.core.database import Database, DatabaseError
from app.core.embedded_postgres import DataDirInUse, EmbeddedPostgres, EmbeddedPostgresError
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory

APPLICATION_NAME = "marqetfi command"
STATEMENT_SECONDS = 300.0


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The url of a database that answers, for the length of a command.

    Without DATABASE_URL it is our own, started where no server of ours runs. Blocks: not for a running event loop.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        check_database(url)
        yield url
        return
    postgres = EmbeddedPostgres(settings.marqetfi_data_dir)
    try:
        with postgres.attach() as url:
            yield url
    except (DataDirInUse, EmbeddedPostgresError) as error:
        raise embedded_failure(error) from None


@contextmanager
def migrated_url(settings: Settings) -> Iterator[str]:
    """The url of a database at the newest migration: our own is brought there, that of DATABASE_URL must be."""
    with database_url(settings) as url:
        if settings.database_url is not None:
            check_migrations(url)
        elif check_database(url) != migrations.head():
            migrations.upgrade(url)
        yield url


@asynccontextmanager
async def units_of_work(url: str) -> AsyncIterator[tuple[Database, UnitOfWorkFactory]]:
    """A small pool of connections to a database, and units of work on it that may take their time."""
    database = Database(
        url,
        application_name=APPLICATION_NAME,
        pool_size=1,
        max_overflow=1,
        statement_timeout_seconds=STATEMENT_SECONDS,
    )
    try:
        yield database, partial(UnitOfWork, database, MemoryBroadcast())
    finally:
        await database.aclose()


def embedded_failure(error: DataDirInUse | EmbeddedPostgresError) -> Failure:
    """Why the embedded database cannot be had."""
    if isinstance(error, DataDirInUse):
        details = {} if error.pid is None else {"pid": error.pid}
        return Failure("DATA_DIR_IN_USE", f"{error}.", details=details, exit_code=EXIT_IN_USE)
    return Failure("DATABASE_FAILED", f"The embedded database cannot be used: {error}.")


def check_database(url: str) -> str | None:
    """Which revision the database of DATABASE_URL is at, None before the first; Failure where it lets us not in."""
    return asyncio.run(_revision(url))


def check_migrations(url: str) -> None:
    """Failure where the database of DATABASE_URL is older than this release."""
    revision = check_database(url)
    if revision is None or revision < migrations.head():
        raise Failure(
            "MIGRATIONS_PENDING",
            f"The database is at migration {revision or 'none'}; this release needs {migrations.head()}.",
            hint="marqetfi migrate",
        )


async def _revision(url: str) -> str | None:
    database = Database(url, application_name=APPLICATION_NAME, pool_size=1)
    try:
        await database.ping()
        return await migrations.current(database)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, DatabaseError) as error:
        # What the server said, without what the libraries between say of it.
        said = getattr(getattr(error, "orig", None), "__cause__", None) or error
        raise Failure(
            "DATABASE_FAILED",
            f"The database of DATABASE_URL does not let us in: {said or type(said).__name__}.",
            hint="Is it running, and are host, user, password and database right?",
        ) from None
    finally:
        await database.aclose()
