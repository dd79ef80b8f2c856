"""Idempotency keys: the first request with a key runs, later ones are told what became of it."""

from dataclasses import dataclass
from datetime import timedelta

from app.domain.errors import Conflict, IdempotencyKeyReused
from app.domain.idempotency import RequestKey
from app.repositories.unit_of_work import UnitOfWorkFactory

# How long a run may hold its key beside its wait for the venue: two waits for a lock and one for a statement take
# less. A shorter hold lets the next request take over sooner from a process that died. It doubles nothing: what a run
# makes is bound to its key and its request in the transaction that makes it, and of two runs one is undone there.
LOCK = timedelta(seconds=12)
KEEP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nobody has used the key: run."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer that was sent before, to be sent again byte for byte."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Bound:
    """The first request wrote this order, and no final answer was sent: tell the order's state."""

    order_id: int


class IdempotencyService:
    """Answers who may run under a key. Keys are per user and kept for 24 hours."""

    def __init__(self, uow: UnitOfWorkFactory, wait_seconds: float = 0) -> None:
        """`wait_seconds` is how long a run waits for its venue to settle."""
        self._uow = uow
        self._lock = LOCK + timedelta(seconds=wait_seconds)

    async def begin(self, user_id: int, key: RequestKey) -> Fresh | Stored | Bound:
        """Claim a key; raises 409 while its first request runs, 422 when it was used with another request."""
        async with self._uow() as work:
            is_ours = await work.idempotency.claim(user_id, key, self._lock)
            record = await work.idempotency.of_key(user_id, key.key)
        if record is None:
            raise Conflict(code="IDEMPOTENCY_IN_FLIGHT", retry_after=1)
        if record.fingerprint != key.fingerprint:
            raise IdempotencyKeyReused()
        if record.response_status is not None:
            return Stored(record.response_status, record.response_body or b"")
        if record.order_id is not None and (is_ours or record.locked_until is None):
            return Bound(record.order_id)
        if is_ours:
            return Fresh()
        raise Conflict(code="IDEMPOTENCY_IN_FLIGHT", retry_after=1)

    async def abandon(self, user_id: int, key: RequestKey) -> None:
        """The run ended without an answer to keep: forget the key, or keep only the order it wrote."""
        async with self._uow() as work:
            await work.idempotency.release(user_id, key)
            await work.idempotency.unlock(user_id, key)

    async def store(self, user_id: int, key: RequestKey, status: int, body: bytes) -> None:
        """Keep the answer that is being sent."""
        async with self._uow() as work:
            await work.idempotency.store(user_id, key, status, body)

    async def purge(self, limit: int = 1000) -> int:
        """Forget keys older than 24 hours; how many went."""
        async with self._uow() as work:
            return await work.idempotency.purge(KEEP, limit)
