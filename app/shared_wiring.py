"""What processes share: cache, rate limits, broadcasts, jobs; in this process's memory, or in servers."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from app.config.settings import Settings
from app.core.broadcast import Broadcast, MemoryBroadcast
from app.core.broadcast_bridge import BroadcastBridge
from app.core.cache import Cache, MemoryCache
from app.core.clock import Clock
from app.core.database import Database
from app.core.loop_groups import Group, LoopGroups
from app.core.queue import MemoryQueue, Queue
from app.core.rate_limit import MemoryRateLimiter, RateLimiter
from app.core.redis_broadcast import RedisBroadcast
from app.core.redis_cache import RedisCache
from app.core.redis_clients import redis_clients
from app.core.redis_rate_limit import RedisRateLimiter
from app.domain.channels import is_for_gateways


@dataclass(frozen=True, slots=True)
class Shared:
    """`local` stays within this process, `hints` reach whoever else may listen, `gateways` is what those listen on."""

    cache: Cache
    limiter: RateLimiter
    local: Broadcast
    hints: Broadcast
    gateways: Broadcast
    queue: Queue
    redis: RedisBroadcast | None = None


def wire_shared(
    settings: Settings, clock: Clock, database: Database, stack: AsyncExitStack, loops: LoopGroups
) -> Shared:
    """What the settings ask for; `database` is the one that carries hints between engines."""
    local, queue = MemoryBroadcast(), _queue(settings, clock)
    hints: Broadcast = local
    if settings.database_url is not None:
        # Other processes may work on this database.
        hints = bridge = BroadcastBridge(database, local)
        loops[Group.SHARED].append(bridge.run)
    if settings.redis_url is None:
        return Shared(MemoryCache(clock), MemoryRateLimiter(clock), local, hints, local, queue)
    prefix = settings.redis_prefix
    clients = redis_clients(settings.redis_url.get_secret_value())
    stack.push_async_callback(clients.aclose)
    broadcast = RedisBroadcast(clients, local, hints, clock, carried=is_for_gateways, prefix=prefix)
    loops[Group.SHARED].append(broadcast.run)
    return Shared(
        RedisCache(clients, clock, prefix=prefix),
        RedisRateLimiter(clients, clock, prefix=prefix),
        local,
        hints=broadcast,
        gateways=broadcast,
        queue=queue,
        redis=broadcast,
    )


def _queue(settings: Settings, clock: Clock) -> Queue:
    if settings.broker_url is None:
        return MemoryQueue()
    # Loaded where it is used: Celery takes a third of a second, and those who have no broker need none of it.
    celery: Any = import_module("app.core.celery_queue")
    app = celery.make_celery(settings.broker_url.get_secret_value(), settings.broker_queue)
    queue: Queue = celery.CeleryQueue(app, clock)
    return queue
