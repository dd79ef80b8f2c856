"""Two engines on one database: killed, paused and started again, one tick is still judged once.

ENGINE_SECONDS says for how long they are killed; `make soak` asks for two minutes.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import MakeDatabase
from tests.integration.engine.endings import assert_ends_of_the_oracle, assert_nothing_doubled
from tests.integration.engine.positions import Recorded, open_positions
from tests.integration.engine.processes import START_SECONDS, Installation, Running, Server
from tests.waiting import until

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.crash,
    pytest.mark.skipif(
        os.environ.get("TEST_MODE") != "full" and not os.environ.get("SOAK"),
        reason="two engines are killed in the full mode alone: once is enough",
    ),
]

SECONDS = float(os.environ.get("ENGINE_SECONDS", "20"))
SYMBOLS = ("EURUSD", "XAUUSD")
# Played at a speed at which kills end long before the recording does, and then as fast as can be.
RECORDED_SECONDS, SHARE = 86_400, 4
AT_ONCE = 100_000
POSITIONS = 60
# The promise is 5 s; a busy machine may take a little longer to notice.
HAND_OVER_SECONDS = 10.0
PAUSED_SECONDS, PAUSES = 8.0, 0.2
SEED = 4
CHECKPOINTS = "SELECT pair_id, sequence, token FROM price_checkpoints"


@dataclass
class Engine(Running):
    """One process of `marqetfi engine`; `starts` counts how often it was started."""

    starts: int = 0

    async def start(self, speed: int) -> None:
        """Start it, without waiting for it."""
        self.starts += 1
        await self.launch("engine", PAPER_REPLAY_SPEED=str(speed))

    def is_up(self) -> bool:
        """Whether it has said that it runs; AssertionError where it has ended by itself."""
        assert self.is_alive, self.tail()
        return self.log.read_text(errors="replace").count("order engine. Ctrl-C") >= self.starts


@dataclass
class Engines:
    """Two engines on one database, and how long their lease went without a holder."""

    installation: Installation
    recorded: Recorded
    choice: random.Random
    both: list[Engine]
    hand_overs: list[float] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    async def holder(self) -> Engine | None:
        """The engine that holds the lease, dead or alive; None where nobody does."""
        rows = await self.installation.query("SELECT holder, expires_at > now() AS is_live FROM leases")
        (lease,) = rows or [{"is_live": False}]
        pid = int(lease["holder"].split(":")[1]) if lease["is_live"] and lease["holder"] else 0
        return next((engine for engine in self.both if engine.pid == pid), None)

    async def both_up(self) -> Engine:
        """Wait until one watches and the other stands by; the one that watches."""
        for engine in self.both:
            await until(engine.is_up, seconds=START_SECONDS)
        found = await until(self.holder, seconds=HAND_OVER_SECONDS)
        assert found is not None
        return found

    async def progress(self) -> None:
        """Let some more rows be judged, or all."""
        goal = min(len(self.recorded.rows), await self.installation.judged() + self.choice.randrange(50, 2000))
        await until(lambda: self.installation.has_judged(goal), seconds=120)

    async def taken_over_by(self, engine: Engine) -> None:
        """Wait until an engine holds the lease, and note how long that took."""
        began = time.monotonic()

        async def is_holder() -> bool:
            return await self.holder() is engine

        await until(is_holder, seconds=HAND_OVER_SECONDS)
        self.hand_overs.append(time.monotonic() - began)

    async def kill_one(self) -> None:
        """Kill either, see the other take over where it was the one that watched, and start it again."""
        await self.both_up()
        await self.progress()
        victim, other = self.choice.sample(self.both, 2)
        is_holder = await self.holder() is victim
        assert await victim.end(signal.SIGKILL) == -signal.SIGKILL, victim.tail()
        self.events.append("killed" if is_holder else "killed beside")
        if is_holder:
            await self.taken_over_by(other)
        await victim.start(self.recorded.full_speed)

    async def pause_the_holder(self) -> None:
        """Stop the one that watches for a while; when it goes on, it writes nothing any more."""
        holder = await self.both_up()
        (other,) = (engine for engine in self.both if engine is not holder)
        began = time.monotonic()
        holder.send(signal.SIGSTOP)
        self.events.append("paused")
        await self.taken_over_by(other)
        (taken,) = await self.installation.query("SELECT token FROM leases")
        before = await self.installation.query(CHECKPOINTS)
        await self.progress()
        await until(lambda: time.monotonic() - began >= PAUSED_SECONDS)
        holder.send(signal.SIGCONT)
        await self.progress()
        after = await self.installation.query(CHECKPOINTS)
        assert [row for row in after if row["token"] < taken["token"] and row not in before] == []
        assert [row for row in after if row["token"] >= taken["token"]], "the one that took over has written"
        assert holder.is_alive, holder.tail()

    async def kill_both(self) -> None:
        """Let both die at once, and start them for what is left of the recording."""
        await self.both_up()
        for engine in self.both:
            assert await engine.end(signal.SIGKILL) == -signal.SIGKILL, engine.tail()
        for engine in self.both:
            await engine.start(AT_ONCE)


@pytest_asyncio.fixture(scope="module")
async def engines(
    new_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory, recorded_data: Path
) -> AsyncIterator[Engines]:
    """Two engines at the end of a replay in which they were killed in turn, and one was paused."""
    recorded = Recorded(SYMBOLS, 10, int(RECORDED_SECONDS / SECONDS / SHARE), recorded_data)
    installation = Installation(
        database_url=new_database(), folder=tmp_path_factory.mktemp("engines"), settings=recorded.settings
    )
    choice = random.Random(SEED)
    server = Server(installation, "serve")
    found = Engines(installation, recorded, choice, [Engine(installation, "one"), Engine(installation, "two")])
    try:
        await server.start(PAPER_REPLAY_SPEED=str(recorded.speed))
        await open_positions(server, SYMBOLS, POSITIONS, choice)
        assert await server.end(signal.SIGTERM) == 0, server.tail()
        for engine in found.both:
            await engine.start(recorded.full_speed)
        await found.kill_one()
        await found.pause_the_holder()
        ends_at = time.monotonic() + SECONDS
        while time.monotonic() < ends_at and not await installation.has_judged(len(recorded.rows)):
            await (found.pause_the_holder if choice.random() < PAUSES else found.kill_one)()
        await found.kill_both()
        await until(lambda: installation.has_judged(len(recorded.rows)), seconds=180)
        await until(installation.is_quiet, seconds=60)
        yield found
    finally:
        for process in (server, *found.both):
            if process.process is not None:
                await process.end(signal.SIGKILL)
        await installation.aclose()


async def test_another_takes_over_soon(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    took = ", ".join(f"{seconds:.1f}" for seconds in engines.hand_overs)
    with capsys.disabled():
        print(f"\n{Counter(engines.events)}; another had taken over after {took} s")  # noqa: T201
    assert len(engines.hand_overs) == engines.events.count("killed") + engines.events.count("paused") > 0


async def test_every_trigger_is_there_exactly_once(engines: Engines) -> None:
    assert len(await engines.installation.query("SELECT 1 FROM trades")) == POSITIONS
    assert await engines.installation.query("SELECT 1 FROM orders WHERE status = 'filled' AND role = 'exit'")
    await assert_nothing_doubled(engines.installation)
    await assert_ends_of_the_oracle(engines.installation, engines.recorded.rows)


async def test_every_invariant_holds(engines: Engines) -> None:
    await engines.installation.assert_books_hold()
