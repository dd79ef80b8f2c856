"""The composition root: settings in, a container of wired parts out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from app.config.settings import Settings
from app.core import faults, migrations
from app.core.broadcast import Broadcast
from app.core.cache import Cache
from app.core.clock import Clock, SystemClock
from app.core.database import Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.rate_limit import RateLimiter
from app.core.security import AccessTokens, Cipher, PasswordHasher, stored_secret
from app.core.supervision import Loop
from app.domain.errors import Unavailable
from app.domain.trading import VenueBalance
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.auth_service import AuthService, SessionLife
from app.services.dead_man_switch_service import DeadManSwitchService
from app.services.exit_order_service import ExitOrderService
from app.services.idempotency_service import IdempotencyService
from app.services.lease_keeper import LIFE
from app.services.market_view import MarketView
from app.services.order_monitoring_service import OrderMonitoringService
from app.services.pair_directory import PairDirectory
from app.services.price_cache import PriceCache
from app.services.price_feed_service import PriceFeedService
from app.services.providers.router import ProviderRouter
from app.services.ready_prices import ReadyPrices
from app.services.session_cache import SessionCache
from app.services.settlement_service import SettlementService
from app.services.trading_service import TradingService
from app.services.trading_state_service import TradingStateService
from app.services.websocket_service import WebSocketManager
from app.shared_wiring import Shared, wire_shared
from app.websocket_wiring import wire_websockets
from app.wiring import wire_trading

type Ping = Callable[[], Awaitable[None]]
type Bootstrap = Callable[[Settings], AbstractAsyncContextManager[Container]]

DATABASE_WATCH_SECONDS = 1.0
# Engine and settlement have connections of their own, so that requests cannot starve them.
ENGINE_POOL_SIZE = 10


@dataclass(frozen=True, slots=True)
class Part:
    """Something whose health is told; readiness fails only with a required one."""

    ping: Ping
    is_required: bool


@dataclass(slots=True)
class Container:
    """The parts of one running process. Parts that are built later add their loops and pings."""

    settings: Settings
    clock: Clock
    database: Database
    uow: UnitOfWorkFactory
    # For reads that may be a moment old; on the replica, where there is one.
    read_uow: UnitOfWorkFactory
    broadcast: Broadcast
    cache: Cache
    limiter: RateLimiter
    cipher: Callable[[str], Cipher]
    auth: AuthService
    websockets: WebSocketManager
    directory: PairDirectory
    board: PriceFeedService
    ready_prices: ReadyPrices
    price_cache: PriceCache
    router: ProviderRouter
    market: MarketView
    trading: TradingService
    exits: ExitOrderService
    states: TradingStateService
    switches: DeadManSwitchService
    idempotency: IdempotencyService
    settlement: SettlementService
    monitor: OrderMonitoringService
    reset_paper: Callable[[int], Awaitable[VenueBalance]]
    loops: list[Loop] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    is_draining: bool = False

    def watch(self, name: str, ping: Ping, *, is_required: bool = False) -> None:
        """Tell a part's health: `ping` raises when it is down."""
        self.parts[name] = Part(ping, is_required)


@asynccontextmanager
async def bootstrap(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Container]:
    """Build everything the settings ask for; closed in reverse order. Loops are left to the caller."""
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        _install_faults(settings, stack)
        loops: list[Loop] = []
        database, engine_database = await _databases(settings, stack, loops)
        shared = wire_shared(settings, clock, engine_database, stack, loops)
        broadcast, cache = shared.gateways, shared.cache
        uow = partial(UnitOfWork, database, shared.hints)
        engine_uow = partial(UnitOfWork, engine_database, shared.hints)
        secret = _secret(settings)
        parts = await wire_trading(
            settings, clock, shared.local, uow, engine_uow, predecessor_is_dead=settings.database_url is None
        )
        price_cache = PriceCache(cache, parts.board, parts.directory, parts.router, clock)
        loops.extend([*parts.loops, price_cache.run])
        websockets = wire_websockets(settings, parts, loops, uow=uow, broadcast=broadcast, cache=cache, clock=clock)
        container = Container(
            settings=settings,
            clock=clock,
            database=database,
            uow=uow,
            read_uow=_reading(settings, shared, stack) or uow,
            broadcast=broadcast,
            cache=cache,
            limiter=shared.limiter,
            cipher=partial(_cipher, settings, secret),
            auth=_auth_service(settings, secret, stack, uow=uow, clock=clock, cache=cache),
            websockets=websockets,
            directory=parts.directory,
            board=parts.board,
            ready_prices=ReadyPrices(parts.directory, parts.board, parts.router, clock),
            price_cache=price_cache,
            router=parts.router,
            market=parts.market,
            trading=parts.trading,
            exits=parts.exits,
            states=parts.states,
            switches=parts.switches,
            idempotency=parts.idempotency,
            settlement=parts.settlement,
            monitor=parts.monitor,
            reset_paper=parts.reset_paper,
            loops=loops,
        )
        container.watch("database", database.ping, is_required=True)
        container.watch("migrations", partial(_at_head, database), is_required=True)
        container.watch("cache", cache.ping)
        if shared.redis is not None:
            container.watch("live_updates", shared.redis.ping)
        container.watch("prices", parts.board.ping)
        container.watch("order_engine", parts.monitor.ping)
        yield container


def _install_faults(settings: Settings, stack: AsyncExitStack) -> None:
    if settings.faults:
        faults.install(faults.injector(faults.parse(settings.faults), settings.faults_seed))
        stack.callback(faults.install, None)


async def _databases(settings: Settings, stack: AsyncExitStack, loops: list[Loop]) -> tuple[Database, Database]:
    """The pool of requests, and that of engine and settlement."""
    url = await _database_url(settings, stack, loops)
    database = Database(
        url,
        application_name="marqetfi",
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        pool_timeout=settings.database_pool_timeout,
    )
    stack.push_async_callback(database.aclose)
    engine_database = Database(
        url,
        application_name="marqetfi engine",
        pool_size=ENGINE_POOL_SIZE,
        # An engine that is paused in a transaction must not keep the next one from the lease row.
        idle_in_transaction_timeout_seconds=LIFE.total_seconds(),
    )
    stack.push_async_callback(engine_database.aclose)
    return database, engine_database


def _reading(settings: Settings, shared: Shared, stack: AsyncExitStack) -> UnitOfWorkFactory | None:
    """Units of work on the replica, where there is one."""
    if settings.database_replica_url is None:
        return None
    replica = Database(
        settings.database_replica_url.get_secret_value(),
        application_name="marqetfi reader",
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        pool_timeout=settings.database_pool_timeout,
    )
    stack.push_async_callback(replica.aclose)
    return partial(UnitOfWork, replica, shared.hints)


async def _database_url(settings: Settings, stack: AsyncExitStack, loops: list[Loop]) -> str:
    """The url of the database given, or of our own, started and migrated."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    postgres = EmbeddedPostgres(settings.marqetfi_data_dir)
    # Before the start: one that is cancelled goes on in its thread, and the stop waits for it.
    stack.push_async_callback(asyncio.to_thread, postgres.stop)
    await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(migrations.upgrade, postgres.url)
    loops.append(partial(_keep_running, postgres))
    return postgres.url


def _secret(settings: Settings) -> str:
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    return stored_secret(settings.marqetfi_data_dir)


def _cipher(settings: Settings, secret: str, purpose: str) -> Cipher:
    keys = [key.get_secret_value() for key in settings.encryption_keys]
    return Cipher(keys or [secret], purpose=purpose, salt=settings.encryption_salt)


def _auth_service(
    settings: Settings, secret: str, stack: AsyncExitStack, *, uow: UnitOfWorkFactory, clock: Clock, cache: Cache
) -> AuthService:
    hasher = PasswordHasher(memory_kib=settings.password_memory_kib, time_cost=settings.password_time_cost)
    stack.callback(hasher.close)
    life = SessionLife(
        access=timedelta(seconds=settings.access_token_seconds),
        idle=timedelta(days=settings.refresh_token_days),
        longest=timedelta(days=settings.refresh_token_max_days),
    )
    # Where the cache is memory, other processes could not make it forget a session.
    known = SessionCache(None if settings.redis_url is None else cache, clock)
    tokens = AccessTokens(secret, clock)
    return AuthService(uow=uow, clock=clock, cache=cache, hasher=hasher, tokens=tokens, life=life, known=known)


async def _keep_running(postgres: EmbeddedPostgres) -> None:
    while True:
        await asyncio.sleep(DATABASE_WATCH_SECONDS)
        await asyncio.to_thread(postgres.ensure_running)


async def _at_head(database: Database) -> None:
    if await migrations.current(database) != migrations.head():
        raise Unavailable("The database is not at the newest migration; run `marqetfi migrate`.")
