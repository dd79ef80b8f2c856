"""Sessions that were looked up a moment ago, kept where all processes see when one of them ends."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.core.cache import Cache
from app.core.cache_keys import SESSION_FRESH_SECONDS, SESSION_SECONDS, session_key, varied
from app.core.clock import Clock
from app.core.json import decode, encode
from app.models.auth import Session
from app.models.user import User

_FRESH = timedelta(seconds=SESSION_FRESH_SECONDS)


class SessionCache:
    """Facts of open sessions and their users. Without a cache (None) nothing is kept.

    Whoever ends a session forgets it here after the commit. What was read before and is kept after that, or could not
    be forgotten, is believed for a minute at most.
    """

    def __init__(self, cache: Cache | None, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock

    async def find(self, session_id: UUID) -> dict[str, Any] | None:
        """The facts of a session that is kept, fresh, and not over."""
        kept = None if self._cache is None else await self._cache.get(session_key(session_id))
        if kept is None:
            return None
        facts: dict[str, Any] = decode(kept)
        now = self._clock.now()
        is_fresh = timedelta() <= now - datetime.fromisoformat(facts["read_at"]) < _FRESH
        return facts if is_fresh and now < datetime.fromisoformat(facts["ends_at"]) else None

    async def keep(self, session: Session, user: User) -> dict[str, Any]:
        """Keep what was just read; its facts."""
        facts = {
            "id": user.id,
            "email": user.email,
            "permissions": list(user.permissions),
            "feature_access_level": user.feature_access_level,
            "is_superuser": user.is_superuser,
            "is_sandbox": user.is_sandbox,
            "ends_at": session.expires_at,
            "read_at": self._clock.now(),
        }
        if self._cache is not None:
            key, life = session_key(session.public_id), varied(SESSION_SECONDS)
            await self._cache.set(key, encode(facts), ttl_seconds=life)
        return facts

    async def forget(self, session_id: UUID) -> None:
        """Let a session be read anew."""
        if self._cache is not None:
            await self._cache.delete(session_key(session_id))
