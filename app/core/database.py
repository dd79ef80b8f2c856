"""The database: engine, sessions, the marker of open transactions, and what its failures mean."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, NotSupportedError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection, QueuePool

# Whatever goes wrong with a statement or a connection.
DatabaseError = SQLAlchemyError

DRIVER = "postgresql+asyncpg"
RECYCLE_SECONDS = 1800
CONNECT_SECONDS = 5.0
PING_SECONDS = 1.0
# A connection idle for longer may have been dropped by the network without a word.
IDLE_SECONDS = 30.0
PREPARED_STATEMENTS = 500
# How much longer than the server's own limit we wait for its word: then it hangs, or the network does.
SILENCE_SECONDS = 5.0

SERIALIZATION_FAILURE = "40001"
DEADLOCK = "40P01"
LOCK_TIMEOUT = "55P03"
STATEMENT_TIMEOUT = "57014"
IDLE_IN_TRANSACTION_TIMEOUT = "25P03"
READ_ONLY = "25006"
# Does not fit its type, breaks a constraint.
REFUSED_CLASSES = ("22", "23")
# Connection lost, out of disk, memory or connections, shutting down, disk failure.
UNAVAILABLE_CLASSES = ("08", "53", "57P", "58")


class DatabaseUnreachable(ConnectionError):
    """No connection could be made: refused, no such socket or host, no route."""


class TransactionMarker:
    """Says whether the running task is inside a transaction, where it must not wait for the network.

    A task started inside one counts as inside until that transaction ends, and no longer.
    """

    def __init__(self) -> None:
        self._current: ContextVar[_Mark | None] = ContextVar("transaction", default=None)

    def get(self) -> bool:
        """True while a transaction is open here."""
        mark = self._current.get()
        return mark is not None and mark.is_open

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Mark the block as a transaction."""
        mark = _Mark(outer=self._current.get())
        self._current.set(mark)
        try:
            yield
        finally:
            mark.is_open = False
            self._current.set(mark.outer)


@dataclass(slots=True)
class _Mark:
    outer: "_Mark | None"
    is_open: bool = True


in_transaction = TransactionMarker()


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Connections of one pool: kept at most, in use, idle, and open beyond `size`."""

    size: int
    checked_out: int
    checked_in: int
    overflow: int


class Database:
    """A pool of connections to one PostgreSQL, and, where a replica is given, one for plain reads.

    Each connection has a statement, lock and idle-in-transaction limit, UTC and no JIT. A dead connection is found
    before it is used, and replaced. Errors carry no parameter values.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        pool_size: int = 20,
        max_overflow: int = 10,
        pool_timeout: float = 30.0,
        replica_url: str | None = None,
        statement_timeout_seconds: float = 5.0,
        lock_timeout_seconds: float = 2.0,
        idle_in_transaction_timeout_seconds: float = 15.0,
    ) -> None:
        settings = {
            "application_name": application_name,
            "statement_timeout": _milliseconds(statement_timeout_seconds),
            "lock_timeout": _milliseconds(lock_timeout_seconds),
            "idle_in_transaction_session_timeout": _milliseconds(idle_in_transaction_timeout_seconds),
            "jit": "off",
            "timezone": "UTC",
        }
        command_timeout = statement_timeout_seconds + SILENCE_SECONDS if statement_timeout_seconds else None
        engine = partial(
            _engine,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=pool_timeout,
            command_timeout=command_timeout,
        )
        self.engine = engine(url, settings)
        self._replica = (
            engine(replica_url, {**settings, "default_transaction_read_only": "on"}) if replica_url else None
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        # READ COMMITTED gives each statement its own snapshot: BEGIN and ROLLBACK would add two round trips, no more.
        reads = (self._replica or self.engine).execution_options(isolation_level="AUTOCOMMIT")
        self._read_sessions = async_sessionmaker(reads, expire_on_commit=False)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """One session for one task, marked as a transaction for its life; what is not committed is rolled back."""
        async with self._sessions() as session:
            with in_transaction.scope():
                yield session

    @asynccontextmanager
    async def read_session(self) -> AsyncIterator[AsyncSession]:
        """A session for plain reads, each statement on its own; on the replica, and so behind, where there is one."""
        async with self._read_sessions() as session:
            with in_transaction.scope():
                yield session

    async def ping(self) -> None:
        """Return when the database answers within a second; else raise what `is_unavailable` knows."""
        async with asyncio.timeout(PING_SECONDS), self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    def pool_statistics(self) -> PoolStatistics:
        """The pool of the primary as it is now."""
        pool = self.engine.pool
        if not isinstance(pool, QueuePool):
            raise TypeError(f"{type(pool).__name__} does not count its connections")
        return PoolStatistics(pool.size(), pool.checkedout(), pool.checkedin(), max(0, pool.overflow()))

    async def aclose(self) -> None:
        """Close every connection of the pools."""
        await self.engine.dispose()
        if self._replica is not None:
            await self._replica.dispose()


def is_retryable(error: BaseException) -> bool:
    """Whether a transaction that failed so was surely rolled back and may succeed when run again from its start."""
    if isinstance(error, NotSupportedError):
        # Another session altered a table since this connection prepared its statement.
        return "cached statement plan is invalid" in str(error.orig)
    return _sqlstate(error) in {SERIALIZATION_FAILURE, DEADLOCK}


def is_unavailable(error: BaseException) -> bool:
    """Whether something failed for want of a database or of room in it, not for what it asked.

    Where it was a COMMIT its outcome is unknown: read by key, never repeat blindly.
    """
    # A server that falls silent is a bare TimeoutError of the driver.
    if isinstance(error, PoolTimeoutError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    code = _sqlstate(error)
    return code in {LOCK_TIMEOUT, STATEMENT_TIMEOUT, IDLE_IN_TRANSACTION_TIMEOUT, READ_ONLY} or code.startswith(
        UNAVAILABLE_CLASSES
    )


def is_passing(error: BaseException) -> bool:
    """Whether the same work may succeed later as it is: unavailable, or to be retried."""
    return is_unavailable(error) or is_retryable(error)


def is_locked(error: BaseException) -> bool:
    """Whether a row was held by another transaction for too long."""
    return _sqlstate(error) == LOCK_TIMEOUT


def is_refused(error: BaseException) -> bool:
    """Whether a constraint or a type refused what was to be written: it would be refused again."""
    return _sqlstate(error).startswith(REFUSED_CLASSES)


def constraint_of(error: BaseException) -> str | None:
    """The name of the constraint that refused a row, where the database tells it."""
    source = error.orig if isinstance(error, DBAPIError) else error
    # SQLAlchemy's own error keeps the driver's as its cause.
    name = getattr(source, "constraint_name", None) or getattr(source and source.__cause__, "constraint_name", None)
    return name if isinstance(name, str) else None


def _sqlstate(error: BaseException) -> str:
    """PostgreSQL's five letters, from SQLAlchemy's error or from the driver's own (connecting raises those)."""
    source = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(source, "sqlstate", None)
    return code if isinstance(code, str) else ""


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _engine(
    url: str,
    settings: dict[str, str],
    *,
    pool_size: int,
    max_overflow: int,
    pool_timeout: float,
    command_timeout: float | None,
) -> AsyncEngine:
    parsed = make_url(url)
    if parsed.drivername != DRIVER:
        raise ValueError(f"the database URL must begin with {DRIVER}://, not {parsed.drivername}://")
    arguments: dict[str, Any] = {
        "server_settings": settings,
        "timeout": CONNECT_SECONDS,
        "command_timeout": command_timeout,
    }
    if "prepared_statement_cache_size" not in parsed.query:
        arguments["prepared_statement_cache_size"] = PREPARED_STATEMENTS
    engine = create_async_engine(
        parsed,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=pool_timeout,
        pool_use_lifo=True,
        pool_recycle=RECYCLE_SECONDS,
        hide_parameters=True,
        json_serializer=partial(json.dumps, allow_nan=False),
        connect_args=arguments,
    )
    _name_failures_to_connect(engine)
    _replace_dead_connections(engine)
    return engine


def _name_failures_to_connect(engine: AsyncEngine) -> None:
    """The driver leaves what the system says as it is; FileNotFoundError alone would not tell of a database."""

    def connect(
        dialect: Dialect, _entry: ConnectionPoolEntry, positional: list[Any], named: dict[str, Any]
    ) -> DBAPIConnection:
        try:
            return dialect.connect(*positional, **named)
        except TimeoutError:
            raise
        except OSError as error:
            raise DatabaseUnreachable(error.errno, error.strerror) from error

    event.listen(engine.sync_engine, "do_connect", connect)


def _replace_dead_connections(engine: AsyncEngine) -> None:
    """Look at each connection before it is handed out, as pool_pre_ping does, at its three round trips' cost rarely.

    A server that ends a connection says so, and the driver has heard it; only a long idle one is asked.
    """
    dialect = engine.sync_engine.dialect

    def on_checkin(_connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = time.monotonic()

    def on_checkout(connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        if entry.driver_connection is None or entry.driver_connection.is_closed():
            raise DisconnectionError("the server closed this connection")
        if time.monotonic() - entry.info.get("idle_since", time.monotonic()) > IDLE_SECONDS:
            try:
                dialect.do_ping(connection)
            except (dialect.loaded_dbapi.Error, OSError) as error:
                raise DisconnectionError("this connection no longer answers") from error

    event.listen(engine.sync_engine, "checkin", on_checkin)
    event.listen(engine.sync_engine, "checkout", on_checkout)
