"""The composition root: settings in, a container of wired parts out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from app.config.settings import Settings
from app.container import Container, Part, Ping
from app.core import faults, migrations
from app.core.cache import Cache
from app.core.clock import Clock, SystemClock
from app.core.database import Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.loop_groups import EVERY_GROUP, Group, LoopGroups, loop_groups, loops_of
from app.core.security import AccessTokens, Cipher, PasswordHasher, stored_secret
from app.domain.errors import Unavailable
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.analytics_service import AnalyticsService
from app.services.auth_service import AuthService, SessionLife
from app.services.event_relay_service import EventRelayService
from app.services.lease_keeper import LIFE
from app.services.price_cache import PriceCache
from app.services.ready_prices import ReadyPrices
from app.services.session_cache import SessionCache
from app.services.webhook_fan_out import fan_out
from app.shared_wiring import Shared, wire_shared
from app.webhook_wiring import wire_webhooks
from app.websocket_wiring import wire_websockets
from app.wiring import wire_trading

type Bootstrap = Callable[[Settings], AbstractAsyncContextManager[Container]]

__all__ = ["Bootstrap", "Container", "Part", "Ping", "bootstrap"]

DATABASE_WATCH_SECONDS = 1.0
# Engine and settlement have connections of their own, so that requests cannot starve them.
ENGINE_POOL_SIZE = 10


@asynccontextmanager
async def bootstrap(
    settings: Settings, *, clock: Clock | None = None, groups: frozenset[Group] = EVERY_GROUP
) -> AsyncIterator[Container]:
    """Build everything the settings ask for; closed in reverse order.

    The container's loops are those of the groups; they are left to the caller.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        _install_faults(settings, stack)
        loops = loop_groups()
        database, engine_database = await _databases(settings, stack, loops)
        shared = wire_shared(settings, clock, engine_database, stack, loops)
        broadcast, cache, secret = shared.gateways, shared.cache, _secret(settings)
        uow = partial(UnitOfWork, database, shared.hints)
        read_uow = _reading(settings, shared, stack) or uow
        engine_uow = partial(UnitOfWork, engine_database, shared.hints)
        is_engine, cipher = Group.ENGINE in groups, partial(_cipher, settings, secret)
        parts = await wire_trading(settings, clock, shared.local, uow, engine_uow, loops, is_engine=is_engine)
        price_cache = PriceCache(cache, parts.board, parts.directory, parts.router, clock)
        relay = EventRelayService(engine_uow, shared.local, fan_out=[fan_out])
        _add_loops(loops, price_cache, relay)
        webhooks = wire_webhooks(settings, loops, stack, cipher("webhook"), uow, shared.local, clock)
        container = Container(
            settings=settings,
            clock=clock,
            database=database,
            uow=uow,
            read_uow=read_uow,
            broadcast=broadcast,
            cache=cache,
            limiter=shared.limiter,
            cipher=cipher,
            auth=_auth_service(settings, secret, stack, uow=uow, clock=clock, cache=cache),
            websockets=wire_websockets(settings, parts, loops, uow=uow, broadcast=broadcast, cache=cache, clock=clock),
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
            webhooks=webhooks,
            analytics=AnalyticsService(uow, read_uow),
            settlement=parts.settlement,
            monitor=parts.monitor,
            reset_paper=parts.reset_paper,
            queue=shared.queue,
            relay=relay,
            engines=parts.engines,
            loops=loops_of(loops, groups),
        )
        _watch(container, shared, is_engine=is_engine)
        yield container


def _add_loops(loops: LoopGroups, price_cache: PriceCache, relay: EventRelayService) -> None:
    loops[Group.MARKET].append(price_cache.run)
    loops[Group.RELAY].append(relay.run)


def _watch(container: Container, shared: Shared, *, is_engine: bool) -> None:
    """Tell the health of every part."""
    database = container.database
    container.watch("database", database.ping, is_required=True)
    container.watch("migrations", partial(_at_head, database), is_required=True)
    container.watch("cache", container.cache.ping)
    if shared.redis is not None:
        container.watch("live_updates", shared.redis.ping)
    container.watch("prices", container.board.ping)
    container.watch("order_engine", container.monitor.ping if is_engine else container.engines.ping)


def _install_faults(settings: Settings, stack: AsyncExitStack) -> None:
    if settings.faults:
        faults.install(faults.injector(faults.parse(settings.faults), settings.faults_seed))
        stack.callback(faults.install, None)


async def _databases(settings: Settings, stack: AsyncExitStack, loops: LoopGroups) -> tuple[Database, Database]:
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


async def _database_url(settings: Settings, stack: AsyncExitStack, loops: LoopGroups) -> str:
    """The url of the database given, or of our own, started and migrated."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    postgres = EmbeddedPostgres(settings.marqetfi_data_dir)
    # Before the start: one that is cancelled goes on in its thread, and the stop waits for it.
    stack.push_async_callback(asyncio.to_thread, postgres.stop)
    await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(migrations.upgrade, postgres.url)
    loops[Group.SHARED].append(partial(_keep_running, postgres))
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
