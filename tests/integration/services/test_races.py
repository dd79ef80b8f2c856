"""Every pair of commands that may meet on one trade, run at once: each ends as docs/races.md says."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.invariant_service import InvariantService
from tests.desks import Desk
from tests.factories import patient_uow
from tests.races import (
    Race,
    amends,
    attaches,
    cancels_entry,
    cancels_exit,
    closes,
    closes_part,
    entry_fills,
    expires,
    liquidated,
    oco,
    opens_by_key,
    opens_by_name,
    protected,
    resting,
    settles,
    stop_fires,
    switch_fires,
    take_profit_fires,
    unheard,
)

TABLE = Path(__file__).parents[3] / "docs" / "races.md"
# A third of them start as they may, the others one by one.
RUNS = 6

RACES = (
    Race(opens_by_name, opens_by_name, protected),
    Race(opens_by_key, opens_by_key, protected),
    Race(amends, amends, protected),
    Race(amends, stop_fires, protected),
    Race(amends, cancels_exit, protected),
    Race(amends, closes, protected),
    Race(amends, closes_part, protected),
    Race(amends, liquidated, protected),
    Race(cancels_exit, cancels_exit, protected),
    Race(cancels_exit, stop_fires, protected),
    Race(cancels_exit, closes, protected),
    Race(attaches, closes, protected),
    Race(attaches, stop_fires, protected),
    Race(attaches, liquidated, protected),
    Race(attaches, entry_fills, resting),
    Race(cancels_entry, cancels_entry, resting),
    Race(cancels_entry, entry_fills, resting),
    Race(cancels_entry, expires, resting),
    Race(cancels_entry, closes, resting),
    Race(closes, entry_fills, resting),
    Race(expires, entry_fills, resting),
    Race(expires, expires, resting),
    Race(closes, closes, protected),
    Race(closes, closes_part, protected),
    Race(closes_part, closes_part, protected),
    Race(closes, stop_fires, protected),
    Race(closes, stop_fires, oco),
    Race(closes_part, stop_fires, protected),
    Race(closes_part, stop_fires, oco),
    Race(closes, liquidated, protected),
    Race(closes_part, liquidated, protected),
    Race(stop_fires, take_profit_fires, protected),
    Race(stop_fires, stop_fires, oco),
    Race(stop_fires, liquidated, protected),
    Race(settles, settles, unheard),
    Race(settles, closes, unheard),
    Race(settles, stop_fires, unheard),
    Race(settles, amends, unheard),
    Race(switch_fires, stop_fires, protected),
    Race(switch_fires, entry_fills, resting),
    Race(switch_fires, closes, protected),
    Race(switch_fires, amends, protected),
    Race(switch_fires, cancels_entry, resting),
)


def endings() -> dict[tuple[str, str, str], set[str]]:
    """How each pair may end, as the table tells."""
    rows = [line.strip("| ").split(" | ") for line in TABLE.read_text().splitlines()]
    return {(one, other, on): set(ends.strip("`").split("`<br>`")) for one, other, on, ends in _of_four(rows)}


def _of_four(rows: list[list[str]]) -> list[list[str]]:
    return [row for row in rows if len(row) == 4 and row[-1].startswith("`")]


@pytest_asyncio.fixture(scope="module")
async def second_pool(container: Container, database_url: str) -> AsyncIterator[UnitOfWorkFactory]:
    """The connections of another process."""
    async with patient_uow(container, database_url) as uow:
        yield uow


def test_the_table_is_complete() -> None:
    assert [race.row for race in RACES] == list(endings())


@pytest.mark.parametrize("race", RACES, ids=lambda race: " - ".join(race.row))
async def test_a_race_ends_as_the_table_says(race: Race, desk: Desk, second_pool: UnitOfWorkFactory) -> None:
    second = desk.beside(second_pool)

    seen = {await race.run(desk, second, number) for number in range(RUNS)}

    assert seen <= endings()[race.row]
    await desk.check()
    assert await InvariantService(desk.uow).check(has_deadlines=False) == []
