"""Whether order engines do their work, as the database tells any process."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.bootstrap import Container
from app.core.broadcast import MemoryBroadcast
from app.core.metrics import CHECKPOINTS_STANDING, ENGINES_MISSING
from app.domain.candles import Bar
from app.domain.errors import Unavailable
from app.domain.prices import Tick
from app.repositories.engine_state_repository import EngineState
from app.repositories.unit_of_work import UnitOfWork
from app.services.engine_watch import EngineWatch
from app.services.lease_keeper import LIFE
from tests.fakes import ManualClock
from tests.logs import heard

LEASE = "engine:paper"


@pytest.fixture
def told() -> Iterator[list[str]]:
    with heard("ERROR") as lines:
        yield lines


async def test_an_engine_that_nobody_runs_is_missed(container: Container, told: list[str]) -> None:
    watch = EngineWatch(container.uow, container.directory, container.clock, ["paper"])
    with pytest.raises(Unavailable, match=LEASE):
        await watch.ping()
    await watch.check()
    assert ENGINES_MISSING._value.get() == 1
    assert told == [f"No order engine holds {LEASE}: exits do not fire\n"]

    async with container.uow() as work:
        token = await work.engine_state.take_lease(LEASE, "me", timedelta(seconds=60), predecessor_is_dead=False)
    await watch.ping()
    await watch.check()
    assert ENGINES_MISSING._value.get() == 0

    assert token is not None
    async with container.uow() as work:
        await work.engine_state.release_lease(LEASE, token)
    with pytest.raises(Unavailable):
        await watch.ping()


async def test_an_engine_that_stands_still_while_prices_come_is_told(container: Container, told: list[str]) -> None:
    pair = container.directory.listed()[0]
    watch = EngineWatch(container.uow, container.directory, container.clock, [])

    async def see(newest: int, judged: int) -> float:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        tick = Tick(pair.id, judged, Decimal(1), Decimal(1), at, "test")
        one = Decimal(1)
        async with container.uow() as work:
            await work.candles.merge([Bar(pair.id, at, one, one, one, one, newest, newest)])
            await work.engine_state.save([EngineState(tick, {}, [])], 1)
        await watch.check()
        return float(CHECKPOINTS_STANDING._value.get())

    assert await see(10, 10) == 0
    assert await see(20, 20) == 0
    # No prices: nothing to judge.
    assert await see(20, 20) == 0
    assert await see(30, 20) == 1
    assert told == [f"The order engine stands still at {pair.symbol} while prices come\n"]
    assert await see(40, 40) == 0


async def test_nothing_is_opened_where_nobody_would_let_exits_fire(container: Container) -> None:
    clock = ManualClock()
    watch = EngineWatch(container.uow, container.directory, clock, ["elsewhere"])

    def refusal() -> Unavailable:
        with pytest.raises(Unavailable) as caught:
            watch.require("elsewhere")
        return caught.value

    never_looked = refusal()
    await watch.look()
    assert never_looked.code == refusal().code == "ENGINE_UNAVAILABLE"
    assert (never_looked.retry_after, never_looked.details) == (5, {"venue": "elsewhere"})

    async with container.uow() as work:
        token = await work.engine_state.take_lease("engine:elsewhere", "me", LIFE, predecessor_is_dead=False)
    assert token is not None
    await watch.look()
    watch.require("elsewhere")
    # Nobody looks again, since the database is away: what was seen is believed for its lease and a hand-over.
    clock.advance(4)
    watch.require("elsewhere")
    clock.advance(4)
    refusal()

    async with container.uow() as work:
        await work.engine_state.release_lease("engine:elsewhere", token)
    await watch.look()
    watch.require("elsewhere")
    clock.advance(5)
    refusal()


async def test_what_a_look_has_read_counts_from_its_own_moment(container: Container) -> None:
    """Requests are judged while a look still commits: not by what it has read with the age of the look before."""
    clock = ManualClock()
    verdicts: list[bool] = []

    def may_open() -> bool:
        with suppress(Unavailable):
            watch.require("late")
            return True
        return False

    class Committing(UnitOfWork):
        async def __aexit__(self, *ending: Any) -> None:
            verdicts.append(may_open())
            await super().__aexit__(*ending)

    watch = EngineWatch(lambda: Committing(container.database, MemoryBroadcast()), container.directory, clock, ["late"])
    for seconds in (0, 3, 6):
        # What ended so long ago by the database's clock.
        async with container.uow() as work:
            ended = timedelta(seconds=-seconds)
            assert await work.engine_state.take_lease("engine:late", "me", ended, predecessor_is_dead=True)
        await watch.look()
        verdicts.append(may_open())
        clock.advance(3)
    assert verdicts == [False, True, True, True, False, False]
