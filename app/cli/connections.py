"""Redis and RabbitMQ as a command finds them: that they answer, or why they cannot be used and what to do."""

import asyncio
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from app.cli.failure import Failure
from app.core.clock import SystemClock
from app.core.logging import struck_out
from app.core.redis_clients import REDIS_FAILURES, redis_clients

# What the client of RabbitMQ puts before the server's own words.
NO_METHOD = "(0, 0): "
UNREADABLE = "it is no URL; in a password, signs such as / and @ are written as %2F and %40"


def check_cache(url: str) -> str:
    """Say where the Redis of REDIS_URL answers; Failure where it does not."""
    try:
        where = _where(url)
        asyncio.run(_ask_redis(url))
    except (*REDIS_FAILURES, ValueError) as error:
        raise Failure(
            "CACHE_UNAVAILABLE",
            f"Redis at REDIS_URL cannot be used: {_reason(error)}.",
            hint="Is it running? REDIS_URL names host, port, user, password and database.",
        ) from None
    return f"Redis answers at {where}"


def check_broker(url: str, queue: str) -> str:
    """Say where the RabbitMQ of BROKER_URL answers; Failure where it does not."""
    # Loaded where it is used: Celery takes a third of a second, and those who have no broker need none of it.
    celery: Any = import_module("app.core.celery_queue")
    try:
        where = _where(url)
        asyncio.run(celery.CeleryQueue(celery.make_celery(url, queue), SystemClock()).ping())
    except (*celery.BROKER_FAILURES, ValueError) as error:
        raise broker_failure(error) from None
    return f"RabbitMQ answers at {where}"


def broker_failure(error: Exception) -> Failure:
    """Why RabbitMQ cannot be used."""
    return Failure(
        "BROKER_UNAVAILABLE",
        f"RabbitMQ at BROKER_URL cannot be used: {_reason(error)}.",
        hint="BROKER_URL names host, user, password and virtual host; BROKER_QUEUE a queue of ours.",
    )


async def _ask_redis(url: str) -> None:
    clients = redis_clients(url)
    try:
        await clients.once.ping()
    finally:
        await clients.aclose()


def _where(url: str) -> str:
    """Host and port of a url; ValueError where it is none."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        # Its text holds what was taken for a port, which may be half a password.
        raise ValueError(UNREADABLE) from None


def _reason(error: Exception) -> str:
    """What a client says went wrong, without secrets, as a part of a sentence."""
    return struck_out(str(error)).removeprefix(NO_METHOD).rstrip(".") or type(error).__name__
