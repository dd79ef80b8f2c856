"""The database core on a real server: limits, exact numbers, the transaction marker, failures and what they mean."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Numeric, bindparam, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import database as database_module
from app.core.database import Database, DatabaseUnreachable, in_transaction, is_retryable, is_unavailable
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.postmaster import running_postmaster

SECRET = "correct horse battery staple"


@pytest.fixture(scope="module")
def server(made_data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """One server for the tests of this file that leave it alive."""
    started = EmbeddedPostgres(made_data_dir)
    started.start()
    yield started
    started.stop()


@pytest.fixture
async def database(server: EmbeddedPostgres) -> AsyncIterator[Database]:
    opened = Database(
        server.url,
        application_name="tests",
        pool_size=2,
        max_overflow=1,
        pool_timeout=0.05,
        statement_timeout_seconds=1.0,
        lock_timeout_seconds=0.05,
    )
    async with opened.session() as session:
        await session.execute(text("DROP TABLE IF EXISTS things"))
        await session.execute(text("CREATE TABLE things (id integer PRIMARY KEY, amount numeric(38, 18))"))
        await session.execute(text("INSERT INTO things VALUES (1, 1), (2, 2)"))
        await session.commit()
    yield opened
    await opened.aclose()


async def scalar(session: AsyncSession, statement: str) -> object:
    return (await session.execute(text(statement))).scalar_one()


async def failure_of(session: AsyncSession, statement: str) -> BaseException:
    with pytest.raises(DBAPIError) as caught:
        await session.execute(text(statement))
    return caught.value


class TestSessions:
    async def test_every_connection_has_its_limits(self, database: Database) -> None:
        async with database.session() as session:
            shown = {
                name: await scalar(session, f"SHOW {name}")
                for name in (
                    "statement_timeout",
                    "lock_timeout",
                    "idle_in_transaction_session_timeout",
                    "jit",
                    "timezone",
                    "application_name",
                )
            }
        assert shown == {
            "statement_timeout": "1s",
            "lock_timeout": "50ms",
            "idle_in_transaction_session_timeout": "15s",
            "jit": "off",
            "timezone": "UTC",
            "application_name": "tests",
        }

    @pytest.mark.parametrize(
        "amount",
        ["12345678901234567890.123456789012345678", "0.000000000000000001", "-0.1", "0", "99999999999999999999"],
    )
    async def test_decimals_come_back_exact(self, database: Database, amount: str) -> None:
        statement = text("INSERT INTO things VALUES (3, :amount) RETURNING amount").bindparams(
            bindparam("amount", type_=Numeric(38, 18))
        )
        async with database.session() as session:
            stored = (await session.execute(statement, {"amount": Decimal(amount)})).scalar_one()
        assert isinstance(stored, Decimal)
        assert stored == Decimal(amount)

    async def test_what_is_not_committed_is_rolled_back(self, database: Database) -> None:
        async with database.session() as session:
            await session.execute(text("DELETE FROM things"))
        async with database.read_session() as session:
            assert await scalar(session, "SELECT count(*) FROM things") == 2

    async def test_reads_need_no_transaction(self, database: Database) -> None:
        async with database.read_session() as session:
            assert await scalar(session, "SELECT now()") != await scalar(session, "SELECT now()")
        async with database.session() as session:
            assert await scalar(session, "SELECT now()") == await scalar(session, "SELECT now()")

    async def test_reads_go_to_the_replica_where_there_is_one(self, server: EmbeddedPostgres) -> None:
        database = Database(server.url, application_name="tests", replica_url=server.url)
        async with database.read_session() as session:
            assert await scalar(session, "SHOW default_transaction_read_only") == "on"
            refusal = await failure_of(session, "CREATE TABLE refused (id integer)")
        assert is_unavailable(refusal)
        async with database.session() as session:
            assert await scalar(session, "SHOW default_transaction_read_only") == "off"
        await database.aclose()

    async def test_the_pool_is_counted(self, database: Database) -> None:
        async with database.session() as first, database.session() as second, database.session() as third:
            for session in (first, second, third):
                await scalar(session, "SELECT 1")
            busy = database.pool_statistics()
        assert (busy.size, busy.checked_out, busy.checked_in, busy.overflow) == (2, 3, 0, 1)
        idle = database.pool_statistics()
        assert (idle.checked_out, idle.checked_in, idle.overflow) == (0, 2, 0)

    async def test_ping_answers(self, database: Database) -> None:
        await database.ping()
        assert database.pool_statistics().checked_out == 0

    @pytest.mark.parametrize("url", [f"postgresql://u:{SECRET}@h/d", f"sqlite+aiosqlite:///{SECRET}"])
    def test_other_drivers_are_refused_without_showing_the_url(self, url: str) -> None:
        with pytest.raises(ValueError, match="must begin with") as refused:
            Database(url, application_name="tests")
        assert SECRET not in str(refused.value)


class TestTransactionMarker:
    async def test_it_is_set_inside_a_session_only(self, database: Database) -> None:
        assert not in_transaction.get()
        async with database.session():
            assert in_transaction.get()
            async with database.read_session():
                assert in_transaction.get()
            assert in_transaction.get()
        assert not in_transaction.get()

    async def test_an_error_clears_it(self, database: Database) -> None:
        with suppress(ZeroDivisionError):
            async with database.session():
                _ = 1 / 0
        assert not in_transaction.get()

    async def test_a_task_started_inside_is_inside_until_the_transaction_ends(self, database: Database) -> None:
        started, ended = asyncio.Event(), asyncio.Event()

        async def inside_then_outside() -> tuple[bool, bool]:
            before = in_transaction.get()
            started.set()
            await ended.wait()
            return before, in_transaction.get()

        async with database.session():
            task = asyncio.create_task(inside_then_outside())
            await started.wait()
        ended.set()
        assert await task == (True, False)

    async def test_other_tasks_are_outside(self, database: Database) -> None:
        started, end = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with database.session():
                started.set()
                await end.wait()

        task = asyncio.create_task(hold())
        await started.wait()
        assert not in_transaction.get()
        end.set()
        await task


class TestFailures:
    async def test_mistakes_are_neither_retryable_nor_unavailability(self, database: Database) -> None:
        for statement in ("SELECT 1 / 0", "SELECT missing", "INSERT INTO things VALUES (1, 1)"):
            async with database.session() as session:
                error = await failure_of(session, statement)
            assert (is_retryable(error), is_unavailable(error)) == (False, False)
        assert (is_retryable(ValueError("5")), is_unavailable(ValueError("5"))) == (False, False)

    async def test_values_stay_out_of_messages(self, database: Database) -> None:
        async with database.session() as session:
            with pytest.raises(IntegrityError) as caught:
                await session.execute(text("INSERT INTO things SELECT 1, 1 WHERE :secret <> ''"), {"secret": SECRET})
        assert SECRET not in str(caught.value)

    async def test_a_slow_statement_is_ended_as_unavailable(self, database: Database) -> None:
        async with database.session() as session:
            error = await failure_of(session, "SELECT pg_sleep(30)")
        assert (is_retryable(error), is_unavailable(error)) == (False, True)

    async def test_a_lock_that_does_not_come_is_unavailable(self, database: Database) -> None:
        async with database.session() as holder, database.session() as waiter:
            await holder.execute(text("SELECT FROM things WHERE id = 1 FOR UPDATE"))
            error = await failure_of(waiter, "SELECT FROM things WHERE id = 1 FOR UPDATE")
        assert (is_retryable(error), is_unavailable(error)) == (False, True)

    async def test_an_empty_pool_is_unavailable(self, database: Database) -> None:
        async with database.session() as first, database.session() as second, database.session() as third:
            for session in (first, second, third):
                await scalar(session, "SELECT 1")
            async with database.session() as fourth:
                with pytest.raises(PoolTimeoutError) as caught:
                    await fourth.execute(text("SELECT 1"))
        assert (is_retryable(caught.value), is_unavailable(caught.value)) == (False, True)

    async def test_a_lost_serialization_is_retryable(self, database: Database) -> None:
        async with database.session() as first, database.session() as second:
            for session in (first, second):
                await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                await scalar(session, "SELECT amount FROM things WHERE id = 1")
            await first.execute(text("UPDATE things SET amount = 5 WHERE id = 1"))
            await first.commit()
            error = await failure_of(second, "UPDATE things SET amount = 6 WHERE id = 1")
        assert (is_retryable(error), is_unavailable(error)) == (True, False)

    async def test_a_deadlock_is_retryable(self, server: EmbeddedPostgres, database: Database) -> None:
        patient = Database(server.url, application_name="tests", lock_timeout_seconds=0)
        async with patient.session() as first, patient.session() as second:
            for session in (first, second):
                await session.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
            await first.execute(text("UPDATE things SET amount = 5 WHERE id = 1"))
            await second.execute(text("UPDATE things SET amount = 5 WHERE id = 2"))
            outcomes = await asyncio.gather(
                first.execute(text("UPDATE things SET amount = 5 WHERE id = 2")),
                second.execute(text("UPDATE things SET amount = 5 WHERE id = 1")),
                return_exceptions=True,
            )
        await patient.aclose()
        (error,) = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert (is_retryable(error), is_unavailable(error)) == (True, False)

    async def test_a_stale_plan_is_retryable_and_works_the_second_time(self, database: Database) -> None:
        async with database.session() as reader, database.session() as altering:
            await reader.execute(text("SELECT * FROM things"))
            await reader.commit()
            await altering.execute(text("ALTER TABLE things ADD COLUMN note text"))
            await altering.commit()
            error = await failure_of(reader, "SELECT * FROM things")
            await reader.rollback()
            await reader.execute(text("SELECT * FROM things"))
        assert (is_retryable(error), is_unavailable(error)) == (True, False)

    async def test_no_server_is_unavailable(self, base: Path) -> None:
        database = Database(f"postgresql+asyncpg://postgres@/marqetfi?host={base}", application_name="tests")
        with pytest.raises(DatabaseUnreachable, match="No such file") as caught:
            await database.ping()
        assert is_unavailable(caught.value)
        assert not is_unavailable(FileNotFoundError("another file"))


class TestDeadConnections:
    async def test_connections_that_the_server_ended_are_replaced_unseen(self, database: Database) -> None:
        async with database.session() as killer, database.session() as victim:
            await scalar(killer, "SELECT 1")
            ended = await scalar(victim, "SELECT pg_backend_pid()")
            await victim.commit()
            await scalar(killer, f"SELECT pg_terminate_backend({ended}, 5000)")
        async with database.session() as first, database.session() as second:
            assert ended not in {await scalar(session, "SELECT pg_backend_pid()") for session in (first, second)}

    async def test_a_server_that_restarts_is_found_again(self, data_dir: Path) -> None:
        server = EmbeddedPostgres(data_dir)
        await asyncio.to_thread(server.start)
        database = Database(server.url, application_name="tests")
        async with database.session() as session:
            await scalar(session, "SELECT 1")
            running = running_postmaster(server.placement.cluster)
            assert running is not None
            os.kill(running.pid, signal.SIGKILL)
            with pytest.raises(DBAPIError) as caught:
                await session.execute(text("SELECT pg_sleep(30)"))
            await session.invalidate()
        assert (is_retryable(caught.value), is_unavailable(caught.value)) == (False, True)
        with pytest.raises(DatabaseUnreachable) as refused:
            await database.ping()
        assert is_unavailable(refused.value)
        assert await asyncio.to_thread(server.ensure_running)
        await database.ping()
        await database.aclose()
        await asyncio.to_thread(server.stop)

    async def test_a_long_idle_connection_that_went_dumb_is_replaced(
        self, server: EmbeddedPostgres, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy = MutableProxy(server.placement.socket_dir)
        await proxy.open(base)
        monkeypatch.setattr(database_module, "IDLE_SECONDS", -1.0)
        monkeypatch.setattr(database_module, "SILENCE_SECONDS", 0.1)
        database = Database(
            f"postgresql+asyncpg://postgres@/marqetfi?host={base}",
            application_name="tests",
            statement_timeout_seconds=1.0,
        )
        async with database.session() as session:
            before = await scalar(session, "SELECT pg_backend_pid()")
        proxy.mute()
        async with database.session() as session:
            assert await scalar(session, "SELECT pg_backend_pid()") != before
        await database.aclose()
        await proxy.aclose()


class MutableProxy:
    """A socket before the server's own whose present connections can be made to swallow every byte."""

    def __init__(self, socket_dir: Path) -> None:
        self._socket_dir = socket_dir
        self._open_gates: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, directory: Path) -> None:
        self._server = await asyncio.start_unix_server(self._serve, directory / ".s.PGSQL.5432")

    def mute(self) -> None:
        for gate in self._open_gates:
            gate.clear()
        self._open_gates = []

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gate = asyncio.Event()
        gate.set()
        self._open_gates.append(gate)
        upstream = await asyncio.open_unix_connection(self._socket_dir / ".s.PGSQL.5432")
        for source, target in ((reader, upstream[1]), (upstream[0], writer)):
            task = asyncio.create_task(self._pump(source, target, gate))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        try:
            while data := await source.read(65536):
                if gate.is_set():
                    target.write(data)
                    await target.drain()
        finally:
            target.close()
