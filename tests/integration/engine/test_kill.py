"""The real server, killed with -9 at random instants of recorded data, and started again on what it left.

KILLS says how often for each recording; `make soak` asks for more.
"""

import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import pytest
import pytest_asyncio

from tests.conftest import MakeDatabase
from tests.integration.engine.endings import assert_ends_of_the_oracle, assert_nothing_doubled
from tests.integration.engine.positions import BTC, FOREX_AND_GOLD, Recorded, open_positions
from tests.integration.engine.processes import Installation, Server
from tests.waiting import until

pytestmark = [pytest.mark.recorded, pytest.mark.crash]

KILLS = int(os.environ.get("KILLS", "5"))
POSITIONS = 60
SEED = 9


@dataclass
class Survivor:
    """An installation at the end of its replay."""

    installation: Installation
    recorded: Recorded


@pytest_asyncio.fixture(scope="module", params=[BTC, FOREX_AND_GOLD], ids=["btc", "forex-and-gold"])
async def survivor(
    request: pytest.FixtureRequest, new_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Survivor]:
    """What is left when the server was killed again and again on the way."""
    recorded: Recorded = request.param(request.getfixturevalue("recorded_data"))
    folder = tmp_path_factory.mktemp("killed")
    installation = Installation(database_url=new_database(), folder=folder, settings=recorded.settings)
    server = Server(installation, "serve")
    choice = random.Random(SEED)
    try:
        await server.start(PAPER_REPLAY_SPEED=str(recorded.speed))
        await open_positions(server, recorded.symbols, POSITIONS, choice)
        await kill_often(server, recorded, choice)
        await until(lambda: is_over(installation, recorded), seconds=180)
        yield Survivor(installation, recorded)
    finally:
        await server.end(signal.SIGTERM)
        await installation.aclose()


async def kill_often(server: Server, recorded: Recorded, choice: random.Random) -> None:
    """Kill at random rows of the first nine tenths; every third time while the server starts."""
    installation, rows = server.installation, len(recorded.rows)
    first = await installation.judged()
    for kill, number in enumerate([first, *sorted(choice.choices(range(first, rows * 9 // 10), k=KILLS - 1))]):
        if kill % 3 == 2:
            await server.launch("serve", PORT=str(server.port), PAPER_REPLAY_SPEED=str(recorded.full_speed))
            await until(lambda: is_connected(installation), seconds=60)
        elif kill:
            await server.start(PAPER_REPLAY_SPEED=str(recorded.full_speed))
            await until(partial(installation.has_judged, number), seconds=180)
        assert await server.end(signal.SIGKILL) == -signal.SIGKILL, server.tail()
    await server.start(PAPER_REPLAY_SPEED=str(recorded.full_speed))


async def is_connected(installation: Installation) -> bool:
    """Whether a server that starts has come as far as its database."""
    mine = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'marqetfi%'"
    return bool(await installation.query(mine))


async def is_over(installation: Installation, recorded: Recorded) -> bool:
    """Whether every row has been judged and nothing is on its way any more."""
    return await installation.has_judged(len(recorded.rows)) and await installation.is_quiet()


async def test_no_order_is_lost_or_doubled(survivor: Survivor) -> None:
    assert len(await survivor.installation.query("SELECT 1 FROM trades")) == POSITIONS
    await assert_nothing_doubled(survivor.installation)


async def test_every_stop_is_that_of_a_run_that_was_never_killed(survivor: Survivor) -> None:
    await assert_ends_of_the_oracle(survivor.installation, survivor.recorded.rows)


async def test_every_invariant_holds(survivor: Survivor) -> None:
    await survivor.installation.assert_books_hold()
