"""The clients of Redis: one for each kind of use, as each has to fail in its own way.

Redis 6.2 or newer, one server or what stands for one (Sentinel's or a cluster's proxy): every command names one key.
"""

from dataclasses import dataclass

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

# A timeout is a Redis error, an OSError or neither, by where it happens.
REDIS_FAILURES = (RedisError, OSError, TimeoutError)
CONNECTIONS = 20
WAIT_SECONDS = 1.0
CONNECT_SECONDS = 0.5
CACHE_SECONDS = 0.25
LIMITER_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class RedisClients:
    """What may be sent again goes through `cache`; what must be sent once at most through the other three.

    A command that timed out may have been done all the same: sent again it would count twice.
    """

    cache: Redis
    once: Redis
    limiter: Redis
    pubsub: Redis

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (self.cache, self.once, self.limiter, self.pubsub):
            await client.aclose()


def redis_clients(url: str) -> RedisClients:
    """Clients of a redis:// or rediss:// url; they connect when they are used."""
    return RedisClients(
        cache=_client(url, CACHE_SECONDS, retries=1),
        once=_client(url, CACHE_SECONDS, retries=0),
        limiter=_client(url, LIMITER_SECONDS, retries=0),
        # It waits for messages as long as none come; who listens knows by pings whether the server is there.
        pubsub=_client(url, None, retries=0),
    )


def _client(url: str, timeout_seconds: float | None, *, retries: int) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=WAIT_SECONDS,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=CONNECT_SECONDS,
        retry=Retry(NoBackoff(), retries),
        # With these on, a pooled connection that the server has closed is not seen to be so before it is used.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)
