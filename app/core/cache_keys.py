"""The names that things are cached under, and how long they are kept; whoever shares the cache shares these."""

import secrets
from uuid import UUID

PRICE_SECONDS = 30.0
SESSION_SECONDS = 1800.0
# A kept session that is older is read again, so that a change which could not be told to the cache is soon seen.
SESSION_FRESH_SECONDS = 60.0
# Pairs are few and asked for with every request: each process keeps them itself.
PAIRS_SECONDS = 300.0


def price_key(base: str, quote: str, venue: str | None = None) -> str:
    """A pair's last price; `venue` where the pair is not the one that its asset routes to."""
    return f"price:{base}:{quote}" if venue is None else f"price:{venue}:{base}:{quote}"


def session_key(session_id: UUID) -> str:
    """Who a login session belongs to, by its public id: no token is in the cache."""
    return f"session:{session_id}"


def varied(seconds: float) -> float:
    """A life of about so many seconds, 10 % more or less, so that what was kept together does not end together."""
    return seconds * (9_000 + secrets.randbelow(2_001)) / 10_000
