"""One simulated server: the real services on the real database, its loops taken step by step, and its deaths."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self

from app.core.broadcast import MemoryBroadcast
from app.core.database import Database
from app.core.json import decode
from app.domain.prices import Tick
from app.domain.routing import parse_rules
from app.models.trading import Intent
from app.repositories.unit_of_work import UnitOfWork
from app.services.booking_service import EXITS_TOPIC, BookingService
from app.services.claim_service import ClaimService
from app.services.dead_man_switch_service import DeadManSwitchService
from app.services.execution_service import ExecutionService
from app.services.exit_order_service import ExitOrderService
from app.services.lease_keeper import LeaseKeeper, LeaseLost
from app.services.market_view import MarketView
from app.services.order_engine import OrderEngine
from app.services.pair_directory import PairDirectory
from app.services.providers.base import BaseTradingProvider
from app.services.providers.factory import ProviderFactory
from app.services.providers.paper.provider import PaperProvider
from app.services.providers.paper.terms import PaperTerms
from app.services.providers.router import ProviderRouter
from app.services.resting_cancels import RestingCancels
from app.services.settlement_service import SettlementService
from app.services.trading_service import TradingService
from app.services.trading_state_service import TradingStateService
from tests.simulation.board import SimulatedBoard
from tests.simulation.clock import SimulatedClock

MOST_ROUNDS = 50


class Crashed(BaseException):
    """The process died here: nothing after this line happened. No handler of errors may catch it."""


class Fate(Protocol):
    """Decides when a process dies."""

    def may_die(self, process: "SimulatedProcess", where: str) -> bool:
        """Whether it dies here and now."""
        ...


class MortalWork(UnitOfWork):
    """A unit of work whose process may die before it begins, before it commits, and when it has committed."""

    def __init__(self, process: "SimulatedProcess") -> None:
        super().__init__(process.database, process.broadcast)
        self._process = process

    async def __aenter__(self) -> Self:
        self._process.live("begin")
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._process.live("commit")
            except Crashed as crash:
                await super().__aexit__(Crashed, crash, None)
                raise
        await super().__aexit__(kind, error, trace)
        if error is None:
            self._process.live("committed")


class SteppedExecution(ExecutionService):
    """What is to be sent waits for its step, so that anything may come in between."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waiting: list[int] = []

    @property
    def is_idle(self) -> bool:
        return not self.waiting

    def start(self, intent_ids: Sequence[int]) -> asyncio.Task[None]:
        self.waiting += intent_ids
        return asyncio.get_running_loop().create_task(_nothing())

    def start_new(self, intents: Sequence[Intent]) -> asyncio.Task[None]:
        return self.start([intent.id for intent in intents])

    async def deliver(self) -> None:
        """Send what waits, one after the other."""
        waiting, self.waiting = self.waiting, []
        await self.send(waiting)


async def _nothing() -> None:
    return


class SimulatedProcess:
    """The services of one server, made anew after each death; `number` counts the lives."""

    def __init__(
        self,
        name: str,
        holder: str,
        database: Database,
        clock: SimulatedClock,
        history: Sequence[Tick],
        terms: PaperTerms,
        fate: Fate,
        around: Callable[[BaseTradingProvider], BaseTradingProvider],
    ) -> None:
        self.name = name
        self.database = database
        self.fate = fate
        self.is_dead = False
        self.token: int | None = None
        self.changed: set[int] = set()
        self.broadcast = MemoryBroadcast()
        self.broadcast.subscribe(EXITS_TOPIC, lambda message: self.changed.update(decode(message)))
        self.board = SimulatedBoard(history, clock)
        self.uow = partial(MortalWork, self)
        self.directory = PairDirectory(self.uow)
        self.paper = PaperProvider(self.uow, self.board, self.directory, clock, terms)
        venue = around(self.paper)
        factory = ProviderFactory({venue.name: venue})
        router = ProviderRouter(factory, parse_rules(venue.name, [], []), self.directory)
        self.booking = BookingService(self.uow, self.board, clock)
        venue.on_fill(self.booking.book_fill)
        market = MarketView(self.uow, self.directory, router, self.board, clock)
        self.execution = SteppedExecution(self.uow, factory, self.directory, self.booking, clock, at_once=1)
        self.trading = TradingService(self.uow, market, self.execution, self.broadcast, clock, 0)
        self.exits = ExitOrderService(self.uow, market, self.trading, self.execution)
        self.settlement = SettlementService(
            self.uow, self.execution, self.booking, self.trading, factory, self.directory, clock, at_once=1
        )
        cancels = RestingCancels(self.uow, self.trading, self.exits, self.execution)
        self.states = TradingStateService(self.uow, cancels, self.board, self.broadcast, {venue.name})
        self.switches = DeadManSwitchService(self.uow, cancels, at_once=1)
        claims = ClaimService(self.uow, clock)
        self.engine = OrderEngine(self.uow, self.board, self.paper.market, claims, self.execution)
        self.lease = LeaseKeeper(self.uow, f"engine:{venue.name}", holder, predecessor_is_dead=False)

    def live(self, where: str) -> None:
        """Go on living, or die here."""
        if self.is_dead or self.fate.may_die(self, where):
            self.is_dead = True
            raise Crashed(f"{self.name} at {where}")

    async def start(self) -> None:
        """What a server does before anything else."""
        await self.directory.refresh(self.paper)

    async def keep_lease(self) -> None:
        """Renew the lease, or try to take it and load the engine; let go of everything when it is lost."""
        try:
            if self.token is not None:
                await self.lease.renew(self.token)
                return
            self.token = await self.lease.try_take()
            if self.token is not None:
                await self.engine.load([pair.id for pair in self.directory.listed(venue=self.paper.name)])
        except LeaseLost:
            self.lose_lease()

    def lose_lease(self) -> None:
        """As OrderMonitoringService ends a run."""
        self.token = None
        self.engine.stop()
        self.engine.stand_by()

    async def see(self, most: int) -> None:
        """Take up to so many ticks of the feed, unless the engine's backlog holds it back."""
        if self.board.must_start:
            async with self.uow() as work:
                pairs = [pair.id for pair in self.directory.listed(venue=self.paper.name)]
                self.board.start(await work.engine_state.checkpoints(pairs))
        for _ in range(most):
            tick = self.board.next_tick()
            if tick is None:
                return
            self.engine.on_tick(tick)

    async def commit(self) -> None:
        """Commit what ticks did."""
        if self.token is not None:
            await self.engine.work_off()

    async def follow(self) -> None:
        """Take up the exits that hints told of."""
        ids, self.changed = sorted(self.changed), set()
        if self.token is not None:
            await self.engine.follow(ids)

    async def sweep(self) -> None:
        """Take up the exits whose hint was lost."""
        if self.token is not None:
            await self.engine.sweep()

    async def catch_up(self) -> None:
        """Take up what the other process has traded."""
        if self.token is not None:
            await self.engine.catch_up()

    async def retry(self) -> None:
        """Claim latched exits again."""
        if self.token is not None:
            await self.engine.retry_latched()

    async def checkpoint(self) -> None:
        """Make durable what was judged."""
        if self.token is None:
            return
        try:
            await self.engine.checkpoint(self.lease, self.token)
        except LeaseLost:
            self.lose_lease()

    async def settle(self) -> None:
        """One pass of settlement."""
        await self.settlement.settle()

    async def expire(self) -> None:
        """Cancel what has expired."""
        await self.settlement.expire()

    async def guard(self) -> None:
        """Enforce trading states, and let go of what they held."""
        await self.states.enforce()
        await self.states.release_held()

    async def fire_switches(self) -> None:
        """Fire the dead man's switches that are due."""
        await self.switches.fire_due()

    async def reconcile(self) -> None:
        """Compare with the venue."""
        await self.settlement.reconcile(self.paper.name)
