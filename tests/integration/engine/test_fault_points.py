"""The real server dies at every fault point once, is started again, and keeps every promise."""

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core.faults import POINTS as EVERY_POINT
from tests.conftest import MakeDatabase
from tests.integration.engine.endings import assert_ends_of_the_oracle, assert_nothing_doubled
from tests.integration.engine.processes import Installation, Server
from tests.integration.engine.scenario import (
    FAST,
    PAIR,
    ServerDied,
    User,
    last_wave,
    market_rows,
    write_market,
)
from tests.waiting import until

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(
        os.environ.get("TEST_MODE") != "full" and not os.environ.get("SOAK"),
        reason="the server is killed at its fault points in the full mode alone: once is enough",
    ),
]

LEAST_ROUNDS = 3
# Webhooks have a chain of their own, tests/integration/webhooks/test_kill.py.
POINTS = [point for point in EVERY_POINT if not point.startswith("webhook.")]


@dataclass(frozen=True)
class Death:
    """Where the server dies, at which pass, and who brings it there: users, the server itself, or falling prices."""

    point: str
    nth: int = 1
    by: str = "users"


def _request(point: str, nth: int) -> Death:
    return Death(point, nth)


def _tick(point: str) -> Death:
    return Death(point, by="prices")


# Each chain is one installation that dies at each of its points in turn. Waves 2 to 8 of the market do, in this order:
# stop, fill of an entry, trailing stop, take-profit, liquidation, stop; each gives one death.
CHAINS = {
    "opening": [
        _request("open.committed", 2),
        _request("intent.taken", 3),
        Death("settlement.asked", by="itself"),
        _request("venue.committed", 4),
        _request("intent.answered", 2),
        _request("intent.booked", 3),
        _tick("claim.committed"),
    ],
    # A limit, and one that is to be withdrawn, are answered as pending, and the venue has never heard of them.
    "resting": [
        _request("intent.taken", 3),
        _request("intent.taken", 4),
    ],
    "answering": [
        _request("idempotency.claimed", 3),
        _request("idempotency.done", 4),
        _request("idempotency.stored", 5),
        _request("close.committed", 1),
        _request("cancel.committed", 1),
        _tick("intent.taken"),
    ],
    "telling": [
        _request("relay.read", 4),
        _request("relay.told", 6),
        Death("checkpoint.begun", 3, by="itself"),
        Death("checkpoint.committed", 5, by="itself"),
        _tick("checkpoint.committed"),
    ],
    "falling": [
        _tick("claim.begun"),
        _tick("match.committed"),
        _tick("intent.answered"),
        _tick("venue.committed"),
        _tick("match.told"),
        _tick("intent.booked"),
    ],
}
# Users do some things once; of all others a different pass is made to fail at each point.
ONCE = ("close.committed", "cancel.committed", "settlement.asked")
RAISED = {point: 1 if point in ONCE else 2 + number % 5 for number, point in enumerate(POINTS)}


@dataclass
class Chain:
    """One installation, its server and its user."""

    server: Server
    user: User
    market: Path

    @property
    def installation(self) -> Installation:
        return self.server.installation

    async def die_of_requests(self, death: Death) -> None:
        """Live at the speed of users until the fault point is reached."""
        await self.server.start(FAULTS=f"{death.point}:kill:nth={death.nth}")
        with pytest.raises(ServerDied):
            for _ in range(LEAST_ROUNDS):
                await self.user.carry_on()
            await until(lambda: not self.server.is_alive)
            raise ServerDied
        await self._is_dead(death)

    async def die_alone(self, death: Death, speed: int = 1) -> None:
        """Live until the fault point is reached by what ticks, checkpoints or settlement do."""
        settings = {"PORT": str(self.server.port), "PAPER_REPLAY_SPEED": str(speed)}
        await self.server.launch("serve", FAULTS=f"{death.point}:kill:nth={death.nth}", **settings)
        await until(lambda: not self.server.is_alive, seconds=90)
        await self._is_dead(death)

    async def finish_requests(self, **settings: str) -> None:
        """Let the user have everything answered, and at least one whole round done; then kill the server."""
        await self.server.start(**settings)
        await self.user.carry_on()
        await self.server.end(signal.SIGKILL)
        await self.installation.expire_locks()

    async def finish_market(self, **settings: str) -> None:
        """Live until prices have fallen and nothing is on its way."""
        await self.server.start(PAPER_REPLAY_SPEED=str(FAST), **settings)
        installation, end = self.installation, last_wave(self.market)
        await until(lambda: installation.has_judged(end), seconds=90)
        await until(installation.is_quiet, seconds=60)
        await self.server.end(signal.SIGKILL)

    async def verify(self, deaths: int) -> None:
        """Every promise, and the end that each trade was meant to have."""
        await self.installation.assert_books_hold()
        await assert_nothing_doubled(self.installation)
        await assert_ends_of_the_oracle(self.installation, market_rows(self.market))
        trades = {row["id"]: row for row in await self.installation.query("SELECT * FROM trades")}
        assert len(trades) == len(self.user.asked), "one trade for each key"
        told = {asked.answer["trade_id"]: asked for asked in self.user.asked.values() if asked.answer}
        wrong = {id_: trades[id_]["status"] for id_, asked in told.items() if trades[id_]["status"] not in asked.ends}
        assert wrong == {}
        refused = [key for key, asked in self.user.asked.items() if asked.is_refused]
        unheard = [id_ for id_ in told if trades[id_]["status"] == "failed"]
        assert len(refused) + len(unheard) <= deaths
        assert {trade["status"] for id_, trade in trades.items() if id_ not in told} <= {"failed"}
        bare = """
            SELECT t.id FROM trades t WHERE t.status = 'open'
            AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.trade_id = t.id AND o.role = 'exit' AND o.status = 'pending')
        """
        assert await self.installation.query(bare) == [], "a position has lost its protection"

    async def _is_dead(self, death: Death) -> None:
        assert await self.server.gone() == -signal.SIGKILL, f"{death}: {self.server.tail()}"
        await self.installation.expire_locks()


@asynccontextmanager
async def new_chain(new_database: MakeDatabase, folder: Path) -> AsyncIterator[Chain]:
    """A chain on a database of its own; whatever happens its server is gone afterwards."""
    market = write_market(folder)
    settings = {
        "PAPER_FEED": "replay",
        "PAPER_REPLAY": f"{PAIR}={market}",
        "PAPER_FUNDING_SECONDS": "0",
        "TRADE_WAIT_SECONDS": "1",
    }
    installation = Installation(database_url=new_database(), folder=folder, settings=settings)
    server = Server(installation, "serve")
    try:
        yield Chain(server, User(server), market)
    finally:
        if server.process is not None:
            await server.end(signal.SIGKILL)
        await installation.aclose()


def test_every_point_is_in_a_chain() -> None:
    assert {death.point for deaths in CHAINS.values() for death in deaths} == set(POINTS)


@pytest.mark.parametrize("deaths", CHAINS.values(), ids=CHAINS)
async def test_it_dies_at_each_point_and_keeps_its_promises(
    new_database: MakeDatabase, tmp_path: Path, deaths: Sequence[Death]
) -> None:
    async with new_chain(new_database, tmp_path) as chain:
        for death in deaths:
            match death.by:
                case "users":
                    await chain.die_of_requests(death)
                case "itself":
                    await chain.die_alone(death)
        await chain.finish_requests()
        for death in deaths:
            if death.by == "prices":
                await chain.die_alone(death, FAST)
        await chain.finish_market()
        await chain.verify(len(deaths))


async def test_an_error_at_each_point_breaks_no_promise(new_database: MakeDatabase, tmp_path: Path) -> None:
    async with new_chain(new_database, tmp_path) as chain:
        await chain.finish_requests(FAULTS=",".join(f"{point}:raise:nth={nth}" for point, nth in RAISED.items()))
        await chain.finish_market(FAULTS=",".join(f"{point}:raise:nth=1" for point in POINTS))
        log = chain.server.log.read_text()
        # A pass of settlement tells of its first error alone.
        silent = {point for point in POINTS if f"FaultInjected: {point}" not in log} - {"settlement.asked"}
        assert silent == set()
        await chain.verify(2 * len(POINTS))


async def test_every_step_done_twice_is_done_once(new_database: MakeDatabase, tmp_path: Path) -> None:
    async with new_chain(new_database, tmp_path) as chain:
        await chain.finish_requests(FAULTS="*:repeat")
        await chain.finish_market(FAULTS="*:repeat")
        await chain.verify(0)
