"""Secrets of webhook endpoints: made, sealed for the database, opened to sign."""

import asyncio
import secrets
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from app.core.security import Cipher
from app.domain.webhooks import SECRET_BYTES, generated_secret

# How many secrets are kept open in memory: opening one costs as much as signing ten bodies.
KEPT_OPEN = 4096
HINT_LENGTH = 4


class Sealed(Protocol):
    """The secrets of an endpoint as they are stored."""

    @property
    def id(self) -> int:
        """The endpoint, for which alone they were sealed."""

    @property
    def secret(self) -> str:
        """The present one."""

    @property
    def secret_previous(self) -> str | None:
        """The one before."""

    @property
    def previous_until(self) -> datetime | None:
        """Until when the one before counts too."""


class WebhookSecrets:
    """Seals each secret for its endpoint alone, so that no text in the database can stand in for another."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher
        self._is_ready = False
        self._open = lru_cache(KEPT_OPEN)(self._decrypted)

    async def get_ready(self) -> None:
        """Derive the keys, once, in a thread: that takes 0.1 s for each."""
        if not self._is_ready:
            await asyncio.to_thread(self._cipher.encrypt, "", context="webhook")
            self._is_ready = True

    def new(self) -> str:
        """A secret that nobody has yet."""
        return generated_secret(secrets.token_bytes(SECRET_BYTES))

    def sealed(self, webhook_id: int, secret: str) -> dict[str, str]:
        """The columns of an endpoint that has this secret."""
        sealed = self._cipher.encrypt(secret, context=_context(webhook_id))
        return {"secret": sealed, "secret_hint": secret[-HINT_LENGTH:]}

    def signing(self, endpoint: Sealed, now: datetime) -> tuple[str, ...]:
        """What signs at an instant: the present secret, then the one before while both count; DecryptionFailed."""
        signing = [self._open(endpoint.secret, endpoint.id)]
        if endpoint.secret_previous and endpoint.previous_until and now < endpoint.previous_until:
            signing.append(self._open(endpoint.secret_previous, endpoint.id))
        return tuple(signing)

    def _decrypted(self, stored: str, webhook_id: int) -> str:
        return self._cipher.decrypt(stored, context=_context(webhook_id))


def _context(webhook_id: int) -> str:
    return f"webhook_configurations/{webhook_id}"
