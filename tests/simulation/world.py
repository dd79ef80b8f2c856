"""A world that one seed decides: two servers, a venue, a clock, users, and everything that can go wrong with them."""

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Self

from sqlalchemy import text

from app.core import faults
from app.core.database import Database, in_transaction
from app.domain.enums import StateScope, TradingState
from app.domain.prices import Market, Tick
from app.models.market import Pair
from app.models.user import User
from app.services.providers.base import BaseTradingProvider
from app.services.providers.paper.terms import PaperTerms
from tests.simulation.board import OPEN
from tests.simulation.checks import Checks
from tests.simulation.clock import SimulatedClock
from tests.simulation.process import Crashed, SimulatedProcess
from tests.simulation.users import Command, SimulatedUser
from tests.simulation.venue import CALM, ROUGH, LateRequest, RoughVenue

SYMBOLS = ("BTCUSDT", "EURUSD")
STARTING_BALANCE = Decimal(10_000)
USERS = 3
CLOSED = Market(is_open=False)


class Chances:
    """How likely each misfortune is, per place where it may happen."""

    def __init__(self, *, death: float = 0.004, interleaved: float = 0.08, repeated: float = 0.1) -> None:
        self.death = death
        self.interleaved = interleaved
        self.repeated = repeated

    def end(self) -> None:
        """Nothing goes wrong from now on."""
        self.death = self.interleaved = self.repeated = 0.0


# What the venue is like, by the seed: most fill at once, some later, some in parts.
TERMS = (
    *[PaperTerms(starting_balance=STARTING_BALANCE)] * 3,
    PaperTerms(starting_balance=STARTING_BALANCE, settle_ticks=2),
    PaperTerms(starting_balance=STARTING_BALANCE, fill_parts=3),
    PaperTerms(starting_balance=STARTING_BALANCE, settle_ticks=1, fill_parts=2),
)


class World:
    """Everything runs in one task, one thing at a time: the same seed gives the same history, to the last row."""

    def __init__(self, url: str, seed: int, terms: PaperTerms | None = None) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.chances = Chances()
        self.clock = SimulatedClock()
        self.history: list[Tick] = []
        self.trace: list[str] = []
        self.users: list[SimulatedUser] = []
        self.unanswered: list[Command] = []
        self.market = OPEN
        self.prices: dict[int, Decimal] = {}
        self._terms = terms or TERMS[seed % len(TERMS)]
        self._database = Database(url, application_name="simulation", pool_size=6, max_overflow=10)
        self._running: list[SimulatedProcess] = []
        self._paused: set[str] = set()
        self._pairs: dict[int, Pair] = {}
        self._stack = AsyncExitStack()
        self.late: list[LateRequest] = []
        # In every third world somebody halts and releases trading.
        self._has_operator = seed % 3 == 0
        # Every second seed has a venue that fails.
        self._rates = ROUGH if seed % 2 else CALM
        self._venues: list[RoughVenue] = []
        self._lives = 0
        self.processes = [self._new_process(name) for name in ("alpha", "beta")]
        self.checks = Checks(url)

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self._database.aclose)
        self._stack.push_async_callback(self.checks.aclose)
        faults.install(self._at_fault_point)
        self._stack.callback(faults.install, None)
        rates, self.chances = self.chances, Chances()
        self.chances.end()
        for process in self.processes:
            await process.start()
        directory = self.processes[0].directory
        for symbol in SYMBOLS:
            pair = directory.resolve_pair(symbol, "paper")
            self._pairs[pair.id] = pair
            self.prices[pair.id] = Decimal(60_000) if symbol == "BTCUSDT" else Decimal("1.1")
        for number in range(USERS):
            self.users.append(SimulatedUser(await self._new_user(number), list(self._pairs.values())))
        self.move_market()
        for process in self.processes:
            await process.keep_lease()
            await process.see(100)
        self.chances = rates
        for venue in self._venues:
            venue.rates = self._rates
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"seed {self.seed}, the last of {len(self.trace)} steps: {', '.join(self.trace[-25:])}")
        await self._stack.aclose()

    async def step(self) -> None:
        """Let one thing happen, anywhere; then everything that must always hold is checked."""
        chance = self.random
        await self.pass_time(chance.choice([0.0, 0.05, 0.1, 0.5, 1.0, 2.0]))
        if chance.random() < 0.01:
            await self.pass_time(chance.uniform(3, 20))
        if chance.random() < 0.015:
            self.set_market_open(is_open=self.market is not OPEN)
        if chance.random() < 0.6:
            self.move_market()
        if chance.random() < 0.02:
            self._paused ^= {chance.choice(self.processes).name}
        process = chance.choice([p for p in self.processes if p.name not in self._paused] or self.processes)
        await self._land(process)
        await self.run(process, *self._something_for(process))
        await self.checks.always()

    async def run(self, process: SimulatedProcess, name: str, what: Callable[[], Awaitable[object]]) -> None:
        """Let a process do something; where it dies, a new one takes its place."""
        self.trace.append(f"{process.name}.{name}")
        self._running.append(process)
        try:
            await what()
        except Crashed:
            self.trace.append(f"{process.name} DIED")
        finally:
            self._running.pop()
        if process.is_dead and process in self.processes and process not in self._running:
            await self._replace(process)

    async def settle(self, most_rounds: int = 80) -> None:
        """Let nothing go wrong any more, and everything come to its end."""
        self.chances.end()
        for venue in self._venues:
            venue.rates = CALM
        self._paused.clear()
        self.set_market_open(is_open=True)
        for scope, key in self._places():
            await self.processes[0].states.set_state(scope, key, TradingState.ACTIVE, "the end", "operator")
        for _ in range(most_rounds):
            if not self.unanswered:
                break
            await self.run(self.processes[0], "retry", self.unanswered.pop(0).bind(self, self.processes[0]))
        was_settled = False
        for _ in range(most_rounds):
            await self.pass_time(1.0)
            self.move_market(is_calm=True)
            for process in self.processes:
                await self._land(process)
                await self._everything(process)
            is_settled = (
                not self.late
                and await self.checks.is_settled()
                and all(process.engine.is_idle for process in self.processes)
                and any(process.token is not None for process in self.processes)
            )
            # What the last round armed is watched from the next one on, by the engine that holds the lease.
            if is_settled and was_settled:
                return
            was_settled = is_settled
        raise AssertionError(f"not settled after {most_rounds} rounds: {await self.checks.unsettled()}")

    async def verify(self) -> None:
        """Everything that must hold at the end."""
        await self.checks.at_rest()
        await self.checks.against_oracle(self.history, self.users, self._terms.starting_balance)

    def move_market(self, *, is_calm: bool = False) -> None:
        """A tick of one or both pairs, now and then with a jump."""
        if self.market is not OPEN:
            return
        chance = self.random
        for pair_id, pair in self._pairs.items():
            if self.history and chance.random() < 0.4:
                continue
            size = (
                0.00005
                if is_calm
                else chance.choice([0.0005, 0.001, 0.002, 0.004, 0.02 if chance.random() < 0.1 else 0.001])
            )
            steps = max(1, int(self.prices[pair_id] * Decimal(str(size)) / pair.price_step))
            price = max(pair.price_step * 10, self.prices[pair_id] + chance.randint(-steps, steps) * pair.price_step)
            self.prices[pair_id] = price
            spread = pair.price_step * chance.choice([0, 1, 2])
            sequence = len(self.history) + 1
            self.history.append(Tick(pair_id, sequence, price, price + spread, self.clock.now(), "simulation", price))

    def set_market_open(self, *, is_open: bool) -> None:
        """Every market opens or closes."""
        self.market = OPEN if is_open else CLOSED
        for process in self.processes:
            process.board.set_market(self.market)

    async def pass_time(self, seconds: float) -> None:
        """Move the clocks of processes and database on."""
        if not seconds:
            return
        self.clock.pass_time(seconds)
        async with self._database.engine.begin() as connection:
            await connection.execute(text("UPDATE sim.clock SET now_at = :now"), {"now": self.clock.now()})

    def may_die(self, process: SimulatedProcess, where: str) -> bool:
        """Fate: by chance alone."""
        return self.random.random() < self.chances.death

    async def _at_fault_point(self, point: str) -> bool:
        """Death, another process in between, or once more."""
        process = self._running[-1] if self._running else None
        if process is None:
            return False
        process.live(point)
        chance = self.random
        if len(self._running) < 3 and not in_transaction.get() and chance.random() < self.chances.interleaved:
            other = chance.choice(self.processes)
            if other not in self._running and other.name not in self._paused:
                await self.run(other, *self._something_for(other))
                process.live(point)
        return chance.random() < self.chances.repeated

    def _something_for(self, process: SimulatedProcess) -> tuple[str, Callable[[], Awaitable[object]]]:
        chance = self.random
        if self._has_operator and chance.random() < 0.03:
            return "operator", lambda: self._operate(process)
        if self.unanswered and chance.random() < 0.3:
            command = self.unanswered.pop(0)
            return f"again {command.name}", command.bind(self, process)
        if chance.random() < 0.35:
            command = chance.choice(self.users).command(chance, self)
            return command.name, command.bind(self, process)
        passes: list[tuple[str, Callable[[], Awaitable[object]], int]] = [
            ("see", lambda: process.see(chance.choice([1, 2, 5, 50])), 8),
            ("commit", process.commit, 5),
            ("deliver", process.execution.deliver, 6),
            ("follow", process.follow, 3),
            ("sweep", process.sweep, 1),
            ("catch up", process.catch_up, 2),
            ("retry", process.retry, 2),
            ("checkpoint", process.checkpoint, 4),
            ("settle", process.settle, 3),
            ("expire", process.expire, 1),
            ("guard", process.guard, 1 + 2 * self._has_operator),
            ("switches", process.fire_switches, 1),
            ("reconcile", process.reconcile, 1),
            ("lease", process.keep_lease, 5),
        ]
        name, what, _ = chance.choices(passes, [weight for *_, weight in passes])[0]
        return name, what

    async def _everything(self, process: SimulatedProcess) -> None:
        """One round of all loops of a process."""
        for name, what in (
            ("lease", process.keep_lease),
            ("see", lambda: process.see(10_000)),
            ("commit", process.commit),
            ("deliver", process.execution.deliver),
            ("settle", process.settle),
            ("expire", process.expire),
            ("guard", process.guard),
            ("switches", process.fire_switches),
            ("reconcile", process.reconcile),
            ("follow", process.follow),
            ("sweep", process.sweep),
            ("retry", process.retry),
            ("commit", process.commit),
            ("deliver", process.execution.deliver),
            ("checkpoint", process.checkpoint),
        ):
            await self.run(process, name, what)

    async def _replace(self, process: SimulatedProcess) -> None:
        """A process that died is started again, and may die on the way."""
        place = self.processes.index(process)
        while True:
            heir = self.processes[place] = self._new_process(process.name)
            heir.board.set_market(self.market)
            self._running.append(heir)
            try:
                await heir.start()
            except Crashed:
                continue
            finally:
                self._running.pop()
            return

    def _new_process(self, name: str) -> SimulatedProcess:
        self._lives += 1
        return SimulatedProcess(
            name,
            f"{name}#{self._lives}",
            self._database,
            self.clock,
            self.history,
            self._terms,
            self,
            self._around,
        )

    async def _operate(self, process: SimulatedProcess) -> None:
        """Somebody halts, reduces or releases trading somewhere."""
        scope, key = self.random.choice(self._places())
        state = self.random.choice([*TradingState, TradingState.ACTIVE])
        await process.states.set_state(scope, key, state, "by chance", "operator")

    def _places(self) -> list[tuple[StateScope, str]]:
        pairs = [(StateScope.PAIR, str(pair_id)) for pair_id in self._pairs]
        return [(StateScope.GLOBAL, "all"), *pairs, (StateScope.USER, str(self.users[0].id))]

    def _around(self, venue: BaseTradingProvider) -> BaseTradingProvider:
        rates = self._rates if self.chances.death else CALM
        rough = RoughVenue(venue, rates, self.random.randrange(1 << 30), self.clock, self.late)
        self._venues.append(rough)
        return rough

    async def _land(self, process: SimulatedProcess) -> None:
        """What is late arrives, by the hands of a process that lives; nobody waits for its answer."""
        for late in [late for late in self.late if late.lands_at <= self.clock.now()]:
            self.late.remove(late)
            await self.run(process, "late", partial(late.land, process.paper))

    async def _new_user(self, number: int) -> int:
        async with self.processes[0].uow() as work:
            user = User(email=f"user{number}@example.com", username=f"user{number}", auth_method="email")
            return (await work.users.add(user)).id
