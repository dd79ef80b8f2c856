"""How the parts of trading are wired: venue, prices, services, and the loops that drive them."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from app.config.settings import Settings
from app.core.broadcast import Broadcast
from app.core.clock import Clock
from app.core.loop_groups import Group, LoopGroups
from app.core.supervision import Loop
from app.domain.leases import engine_lease
from app.domain.routing import RoutingRules, parse_rules
from app.domain.trading import VenueBalance
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.booking_service import BookingService
from app.services.candle_writer import CandleWriter
from app.services.claim_service import ClaimService
from app.services.dead_man_switch_service import DeadManSwitchService
from app.services.engine_watch import EngineWatch
from app.services.execution_service import ExecutionService
from app.services.exit_order_service import ExitOrderService
from app.services.funding_service import FundingService
from app.services.idempotency_service import IdempotencyService
from app.services.lease_keeper import LeaseKeeper
from app.services.market_view import MarketView
from app.services.order_engine import OrderEngine
from app.services.order_monitoring_service import OrderMonitoringService
from app.services.pair_directory import PairDirectory
from app.services.price_feed_service import PriceFeedService
from app.services.providers.base import BaseTradingProvider
from app.services.providers.factory import ProviderFactory
from app.services.providers.faults import with_faults
from app.services.providers.registry import PaperFeedChoice, PaperTerms, paper_feed, paper_provider
from app.services.providers.router import ProviderRouter
from app.services.resting_cancels import RestingCancels
from app.services.settlement_service import SettlementService
from app.services.trading_service import TradingService
from app.services.trading_state_service import TradingStateService

SETTLE_SECONDS = 1.0
RECONCILE_EVERY = 5
CATCH_UP_SECONDS = 60.0
# Told by whoever wants settlement to look now.
SETTLE_TOPIC = "settle"


@dataclass(slots=True)
class Trading:
    """The parts of trading, as routes and loops use them."""

    directory: PairDirectory
    board: PriceFeedService
    router: ProviderRouter
    market: MarketView
    trading: TradingService
    exits: ExitOrderService
    states: TradingStateService
    switches: DeadManSwitchService
    idempotency: IdempotencyService
    settlement: SettlementService
    monitor: OrderMonitoringService
    engines: EngineWatch
    reset_paper: Callable[[int], Awaitable[VenueBalance]]


async def wire_trading(
    settings: Settings,
    clock: Clock,
    broadcast: Broadcast,
    uow: UnitOfWorkFactory,
    engine_uow: UnitOfWorkFactory,
    loops: LoopGroups,
    *,
    is_engine: bool,
) -> Trading:
    """Build the parts of trading on the paper venue.

    `engine_uow` works on the pool that engine and settlement have to themselves, so that requests cannot starve them.
    `is_engine`: the loops of the engine will run here; else nobody here judges ticks, which are shown as they come.
    """
    directory = PairDirectory(uow)
    board = PriceFeedService(uow, directory, [paper_feed(_feed_choice(settings), clock)], broadcast, clock)
    paper = paper_provider(engine_uow, board, directory, clock, _paper_terms(settings))
    faulty = partial(with_faults, entries=settings.venue_faults, seed=settings.faults_seed, clock=clock)
    engine_venue, venue = faulty(paper), faulty(paper.on_pool(uow))
    engine_factory, factory = ProviderFactory({paper.name: engine_venue}), ProviderFactory({paper.name: venue})
    router = ProviderRouter(factory, _rules(settings), directory)
    await directory.refresh(paper)

    netting = _netting(paper)
    booking = BookingService(engine_uow, board, clock, netting)
    funding = FundingService(engine_uow, engine_factory, directory)
    _listen(engine_venue, booking, funding)
    _listen(venue, booking, funding)
    market = MarketView(uow, directory, router, board, clock, settings.caps)
    execution = ExecutionService(uow, factory, directory, BookingService(uow, board, clock, netting), clock)
    engine_execution = ExecutionService(engine_uow, engine_factory, directory, booking, clock)
    engines = EngineWatch(engine_uow, directory, clock, factory.names)
    others = None if is_engine else engines
    trading = TradingService(uow, market, execution, broadcast, clock, settings.trade_wait_seconds, engines=others)
    settlement = SettlementService(engine_uow, engine_execution, booking, trading, engine_factory, directory, clock)
    exits = ExitOrderService(uow, market, trading, execution)
    cancels = RestingCancels(engine_uow, trading, exits, engine_execution)
    states = TradingStateService(engine_uow, cancels, board, broadcast, factory.names)
    # Who runs the embedded database holds a lock, which proves that no other engine runs on it.
    is_alone = settings.database_url is None
    lease = LeaseKeeper(engine_uow, engine_lease(paper.name), _holder(), predecessor_is_dead=is_alone)
    engine = OrderEngine(engine_uow, board, paper.market, ClaimService(engine_uow, clock), engine_execution)
    monitor, candles = OrderMonitoringService(engine, lease, broadcast), CandleWriter(engine_uow)
    if is_engine:
        _show_ticks(board, monitor, candles)
    parts = Trading(
        directory=directory,
        board=board,
        router=router,
        market=market,
        trading=trading,
        exits=exits,
        states=states,
        switches=DeadManSwitchService(engine_uow, cancels),
        idempotency=IdempotencyService(uow, settings.trade_wait_seconds),
        settlement=settlement,
        monitor=monitor,
        engines=engines,
        reset_paper=paper.reset,
    )
    loops[Group.GATEWAY] += [] if is_engine else await _followers(parts)
    loops[Group.MARKET] += [board.run, directory.keep_fresh]
    loops[Group.ENGINE] += [*_engine_loops(parts, broadcast, funding, paper.name), candles.run]
    return parts


async def _followers(parts: Trading) -> list[Loop]:
    """What keeps in sight what the engines of other processes do; it has been seen once."""
    await parts.engines.look()
    return [parts.states.follow, parts.engines.follow]


def _engine_loops(parts: Trading, broadcast: Broadcast, funding: FundingService, venue: str) -> list[Loop]:
    """What an engine does, in the order in which it starts."""
    return [
        partial(settle_forever, parts.settlement, broadcast, venue),
        partial(catch_up_forever, funding, venue),
        *_controls(parts.states, parts.switches),
        partial(parts.monitor.run, [pair.id for pair in parts.directory.listed(venue=venue)]),
    ]


def _listen(venue: BaseTradingProvider, booking: BookingService, funding: FundingService) -> None:
    """Book what a venue tells unasked."""
    venue.on_fill(booking.book_fill)
    venue.on_funding(funding.book)


def _netting(venue: BaseTradingProvider) -> list[str]:
    """The name of a venue that nets."""
    return [venue.name] if venue.capabilities.netting else []


def _show_ticks(board: PriceFeedService, monitor: OrderMonitoringService, candles: CandleWriter) -> None:
    """Every tick is judged before it is written down; the feed waits for who judges."""
    board.subscribe(monitor.on_tick)
    board.add_gate(monitor.keep_up)
    board.subscribe(candles.on_tick)


def _rules(settings: Settings) -> RoutingRules:
    return parse_rules(settings.default_venue, settings.asset_venues, settings.category_venues)


def _holder() -> str:
    """A name for this process as the holder of leases: process ids come again, this does not."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def _controls(states: TradingStateService, switches: DeadManSwitchService) -> list[Loop]:
    """What holds trading back, each in a loop of its own, so that none waits for another."""
    return [states.release, states.guard, switches.watch]


async def settle_forever(settlement: SettlementService, broadcast: Broadcast, venue: str) -> None:
    """Settle each second and when told to, reconcile with the venue at the start and every few seconds."""
    is_wanted = asyncio.Event()
    unsubscribe = broadcast.subscribe(SETTLE_TOPIC, lambda _: is_wanted.set())
    passes = 0
    try:
        while True:
            is_wanted.clear()
            await settlement.run(venue, reconciles=passes % RECONCILE_EVERY == 0)
            passes += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS):
                    await is_wanted.wait()
    finally:
        unsubscribe()


async def catch_up_forever(funding: FundingService, venue: str) -> None:
    """Book fundings that the venue did not tell of, at the start and every minute."""
    while True:
        await funding.catch_up_all(venue)
        await asyncio.sleep(CATCH_UP_SECONDS)


def _paper_terms(settings: Settings) -> PaperTerms:
    return PaperTerms(
        starting_balance=Decimal(settings.paper_starting_balance),
        settle_ticks=settings.paper_settle_ticks,
        fill_parts=settings.paper_fill_parts,
        funding_rate=settings.paper_funding_rate,
        funding_seconds=settings.paper_funding_seconds,
        native_exits=settings.paper_native_exits,
        netting=settings.paper_netting,
    )


def _feed_choice(settings: Settings) -> PaperFeedChoice:
    return PaperFeedChoice(
        seed=settings.paper_seed,
        hz=settings.paper_simulated_hz,
        replay=settings.paper_replay if settings.paper_feed == "replay" else (),
        speed=settings.paper_replay_speed,
        starts_over=settings.paper_replay_loop,
    )
