"""A cluster whose every part is killed in turn while people trade and read along: nothing is lost, nothing doubled.

CHAOS_SECONDS, CHAOS_USERS, CHAOS_READERS and CHAOS_ENDPOINTS say for how long, and with how many:
`make soak ARGS=chaos` asks for two minutes with 50 users, 200 readers and 20 webhook endpoints.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from scripts.topology.cluster import Cluster, Member, Shape
from tests.integration.cluster.crowd import PAIR, Reader, Trader, write_market
from tests.integration.cluster.hooks import Hook
from tests.integration.engine.processes import Installation
from tests.integration.webhooks.receiver import running_receiver
from tests.ports import free_ports
from tests.redis_server import once_only
from tests.waiting import until

pytestmark = [once_only, pytest.mark.crash]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
USERS = int(os.environ.get("CHAOS_USERS", "5"))
READERS = int(os.environ.get("CHAOS_READERS", "20"))
ENDPOINTS = int(os.environ.get("CHAOS_ENDPOINTS", "8"))
READY_SECONDS, QUIET_SECONDS = 120.0, 240.0
SEED = 7


@dataclass(repr=False)
class Fire:
    """A cluster, its users, and what was done to it; `log` is each event of each user as the database has it."""

    cluster: Cluster
    installation: Installation
    traders: list[Trader]
    readers: list[Reader]
    hooks: list[Hook]
    choice: random.Random
    done: list[str] = field(default_factory=list)
    log: dict[int, list[int]] = field(default_factory=dict)

    async def is_ready(self) -> bool:
        """Whether every process does its work again."""
        return await asyncio.to_thread(lambda: all(member.is_ready for member in self._members()))

    async def burn(self) -> None:
        """Kill every part once, and in ever new orders until the time is over; each has come back before the next."""
        ends_at = time.monotonic() + SECONDS
        is_first = True
        while is_first or time.monotonic() < ends_at:
            for name, deed in self.choice.sample(self._deeds(), len(self._deeds())):
                if not is_first and time.monotonic() > ends_at:
                    break
                await asyncio.to_thread(deed)
                self.done.append(name)
                await until(self.is_ready, seconds=READY_SECONDS)
            is_first = False

    async def remember(self) -> None:
        """Read what the log holds of each user."""
        rows = await self.installation.query("SELECT user_id, sequence FROM events ORDER BY user_id, sequence")
        for row in rows:
            self.log.setdefault(row["user_id"], []).append(row["sequence"])

    async def has_no_trailing_stop(self) -> bool:
        """Whether the market, which swings, has reached every trailing stop."""
        return not await self.installation.query(
            "SELECT 1 FROM orders WHERE order_type = 'TRAILING_STOP'"
            " AND status IN ('waiting', 'pending', 'triggered', 'submitted', 'unknown') LIMIT 1"
        )

    async def is_everything_told(self) -> bool:
        """Whether every reader knows the end of its user's log."""
        await self.remember()
        ends = {user_id: sequences[-1] for user_id, sequences in self.log.items()}
        self.log.clear()
        return all(reader.sequences[-1:] == [ends[reader.trader.user_id]] for reader in self.readers)

    async def is_everything_delivered(self) -> bool:
        """Whether no webhook is on its way any more."""
        return not await self.installation.query("SELECT 1 FROM webhook_deliveries WHERE status = 'pending' LIMIT 1")

    def _members(self) -> list[Member]:
        return list(self.cluster.members.values())

    def _deeds(self) -> list[tuple[str, Callable[[], None]]]:
        """What can be done to the cluster, each by its name."""
        cluster = self.cluster

        def wipe_rabbitmq() -> None:
            cluster.rabbitmq.kill()
            cluster.rabbitmq.wipe()
            cluster.rabbitmq.start()

        def restart_postgres() -> None:
            cluster.postgres.kill()
            cluster.postgres.start()

        def empty_redis() -> None:
            cluster.redis.kill()
            cluster.redis.start()

        def kill(kind: str) -> Callable[[], None]:
            def deed() -> None:
                victims = [member for member in self._members() if member.name.startswith(kind)]
                self.choice.choice(victims).send(signal.SIGKILL)

            return deed

        servers = [("redis", empty_redis), ("rabbitmq", wipe_rabbitmq), ("postgres", restart_postgres)]
        return servers + [(kind, kill(kind)) for kind in ("api", "engine", "worker")]


@pytest_asyncio.fixture(scope="module")
async def fire(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fire]:
    """A cluster after the fire, quiet again, with its readers still there."""
    folder = tmp_path_factory.mktemp("cluster")
    limits = {f"RATE_LIMIT_{name}": "0" for name in ("TRADE", "DEFAULT", "PRICE", "CLOSE", "REGISTER", "LOGIN")}
    settings = {
        "PAPER_FEED": "replay",
        "PAPER_REPLAY": f"{PAIR}={write_market(folder)}",
        "PAPER_FUNDING_SECONDS": "0",
        "PASSWORD_MEMORY_KIB": "8",
        "PASSWORD_TIME_COST": "1",
        "WEBHOOK_ALLOW_LOCAL": "true",
        "WEBSOCKET_CONNECTIONS_PER_USER": str(READERS),
        "LOG_LEVEL": "WARNING",
        **limits,
    }
    cluster = Cluster(folder / "cluster", Shape(first_port=free_ports(4)), settings)
    choice = random.Random(SEED)
    is_over = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    stack = AsyncExitStack()
    try:
        receiver = await stack.enter_async_context(running_receiver())
        await asyncio.to_thread(cluster.start)
        urls = [api.url for api in cluster.apis]
        traders = [Trader(number, urls, random.Random(number)) for number in range(USERS)]
        readers = [Reader(traders[number % USERS], urls, random.Random(number)) for number in range(READERS)]
        installation = Installation(database_url=cluster.postgres.url, folder=folder)
        hooks = [Hook(number, traders[number % USERS], receiver) for number in range(ENDPOINTS)]
        found = Fire(cluster, installation, traders, readers, hooks, choice)
        await until(found.is_ready, seconds=READY_SECONDS)
        async with asyncio.TaskGroup() as group:
            for trader in traders:
                group.create_task(trader.sign_in())
        async with asyncio.TaskGroup() as group:
            for hook in hooks:
                group.create_task(hook.create())
        tasks += [asyncio.create_task(reader.read()) for reader in readers]
        trading = [asyncio.create_task(trader.trade(is_over)) for trader in traders]
        await found.burn()
        is_over.set()
        await asyncio.gather(*trading)
        # The market goes on; nothing else is left that it could trigger.
        await until(found.has_no_trailing_stop, seconds=QUIET_SECONDS)
        await until(installation.is_quiet, seconds=QUIET_SECONDS)
        await until(found.is_everything_told, seconds=QUIET_SECONDS)
        await until(found.is_everything_delivered, seconds=QUIET_SECONDS)
        await found.remember()
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(cluster.stop)
        await stack.aclose()


async def test_every_part_died_and_people_went_on(fire: Fire, capsys: pytest.CaptureFixture[str]) -> None:
    refused = Counter(error for reader in fire.readers for error in reader.errors)
    with capsys.disabled():
        opened, told = sum(len(trader.opened) for trader in fire.traders), sum(map(len, fire.log.values()))
        print(f"\n{Counter(fire.done)}; {opened} trades, {told} events; readers were refused {refused}")  # noqa: T201
    assert set(fire.done) >= {"redis", "rabbitmq", "postgres", "api", "engine", "worker"}
    assert all(trader.opened for trader in fire.traders)
    assert sum(reader.connections for reader in fire.readers) > len(fire.readers), "no reader had to resume"
    assert all(reader.prices for reader in fire.readers)


async def test_every_reader_has_every_event_once_and_in_order(fire: Fire) -> None:
    for reader in fire.readers:
        assert reader.snapshots == 0, "a reader could not resume"
        assert all(told == sorted(told) for told in reader.told.values())
        assert reader.sequences == fire.log[reader.trader.user_id]


async def test_every_endpoint_got_every_event(fire: Fire) -> None:
    assert not await fire.installation.query("SELECT 1 FROM webhook_configurations WHERE NOT is_active")
    for hook in fire.hooks:
        names: dict[int, set[str]] = {}
        for request in hook.received:
            assert request.problems(hook.secret) == []
            names.setdefault(request.sequence, set()).add(request.event_id)
        assert sorted(names) == fire.log[hook.trader.user_id]
        assert all(len(event_ids) == 1 for event_ids in names.values()), "an event came under two ids"


async def test_every_answer_is_one_trade(fire: Fire) -> None:
    answered = {trade_id for trader in fire.traders for trade_id in trader.opened}
    rows = await fire.installation.query("SELECT id, status FROM trades")
    assert {row["id"] for row in rows if row["status"] != "failed"} <= answered <= {row["id"] for row in rows}


async def test_the_books_hold(fire: Fire) -> None:
    await fire.installation.assert_books_hold()
