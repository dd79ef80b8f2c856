"""One simulated clock for the processes and for the database, which is asked for it as for its own."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import make_url

from tests.conftest import run_sql

# A Monday: every market of the catalogue trades.
BEGAN_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
_CLOCK = (
    "CREATE SCHEMA sim",
    "CREATE TABLE sim.clock (now_at timestamptz NOT NULL)",
    f"INSERT INTO sim.clock VALUES ('{BEGAN_AT.isoformat()}')",  # noqa: S608 - our own constant
    "CREATE FUNCTION sim.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT now_at FROM sim.clock'",
)


def give_clock(url: str) -> None:
    """Let clock_timestamp() of an empty database be a row that a test writes."""
    for statement in _CLOCK:
        run_sql(url, statement)
    use_clock(url)


def use_clock(url: str) -> None:
    """Let new connections find the simulated clock before the real one."""
    name = make_url(url).database
    run_sql(url, f'ALTER DATABASE "{name}" SET search_path = public, sim, pg_catalog')


class SimulatedClock:
    """The clock of every simulated process; `World.pass_time` moves it together with the database's."""

    def __init__(self) -> None:
        self.instant = BEGAN_AT

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return (self.instant - BEGAN_AT).total_seconds()

    def pass_time(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)
