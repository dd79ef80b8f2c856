"""Records of idempotent requests: who may run, what was answered."""

from datetime import timedelta

from sqlalchemy import ColumnElement, Update, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.errors import Conflict
from app.domain.idempotency import RequestKey
from app.models.event import IdempotencyRecord
from app.repositories.base import Repository


class IdempotencyRepository(Repository[IdempotencyRecord]):
    """Claim a key, bind it to an order, store its answer."""

    model = IdempotencyRecord

    async def claim(self, user_id: int, key: RequestKey, lock: timedelta) -> bool:
        """Take a key that is free, or whose first request died (its lock ran out with no answer)."""
        until = func.clock_timestamp() + lock
        row = upsert(IdempotencyRecord).values(
            user_id=user_id, key=key.key, fingerprint=key.fingerprint, locked_until=until
        )
        taken = await self.session.scalar(
            row.on_conflict_do_update(
                index_elements=[IdempotencyRecord.user_id, IdempotencyRecord.key],
                set_={"locked_until": until},
                where=(IdempotencyRecord.response_status.is_(None))
                & (IdempotencyRecord.locked_until < func.clock_timestamp())
                & (IdempotencyRecord.fingerprint == key.fingerprint),
            ).returning(IdempotencyRecord.user_id)
        )
        return taken is not None

    async def of_key(self, user_id: int, key: str) -> IdempotencyRecord | None:
        """The record of a user's key, as it is now."""
        return await self.session.scalar(
            select(IdempotencyRecord).where(IdempotencyRecord.user_id == user_id, IdempotencyRecord.key == key)
        )

    async def bind(self, user_id: int, key: RequestKey, order_id: int) -> None:
        """Note the order that the request wrote, in the transaction that writes it.

        Raises Conflict, which undoes that order, when the key was taken over from a run held for dead, or given up by
        it and taken for another request.
        """
        first = _one(user_id, key).where(IdempotencyRecord.order_id.is_(None)).values(order_id=order_id)
        if await self.session.scalar(first.returning(IdempotencyRecord.order_id)) is None:
            raise Conflict(code="IDEMPOTENCY_IN_FLIGHT", retry_after=1)

    async def release(self, user_id: int, key: RequestKey) -> None:
        """Forget a request that was refused before it wrote anything."""
        await self.session.execute(
            delete(IdempotencyRecord).where(
                *_of(user_id, key),
                IdempotencyRecord.order_id.is_(None),
                IdempotencyRecord.response_status.is_(None),
            )
        )

    async def unlock(self, user_id: int, key: RequestKey) -> None:
        """End the run without an answer to store: the next request tells the order's state."""
        await self.session.execute(_one(user_id, key).values(locked_until=None))

    async def store(self, user_id: int, key: RequestKey, status: int, body: bytes) -> None:
        """Keep the answer that was sent; the first one stands."""
        await self.session.execute(
            _one(user_id, key)
            .where(IdempotencyRecord.response_status.is_(None))
            .values(response_status=status, response_body=body, locked_until=None)
        )

    async def answer(self, user_id: int, key: RequestKey, status: int, body: bytes) -> None:
        """Keep an answer in the transaction that does what it tells of.

        Raises Conflict, which undoes that, where another run with the key has answered, or the key is gone.
        """
        first = _one(user_id, key).where(IdempotencyRecord.response_status.is_(None))
        kept = first.values(response_status=status, response_body=body, locked_until=None)
        if await self.session.scalar(kept.returning(IdempotencyRecord.response_status)) is None:
            raise Conflict(code="IDEMPOTENCY_IN_FLIGHT", retry_after=1)

    async def purge(self, older_than: timedelta, limit: int) -> int:
        """Delete up to `limit` records older than given; how many went."""
        old = select(IdempotencyRecord.user_id, IdempotencyRecord.key).where(
            IdempotencyRecord.created_at < func.clock_timestamp() - older_than
        )
        gone = (await self.session.execute(old.limit(limit))).all()
        for user_id, key in gone:
            await self.session.execute(
                delete(IdempotencyRecord).where(IdempotencyRecord.user_id == user_id, IdempotencyRecord.key == key)
            )
        return len(gone)


def _one(user_id: int, key: RequestKey) -> Update:
    return update(IdempotencyRecord).where(*_of(user_id, key))


def _of(user_id: int, key: RequestKey) -> tuple[ColumnElement[bool], ...]:
    """Which record is a run's own."""
    return (
        IdempotencyRecord.user_id == user_id,
        IdempotencyRecord.key == key.key,
        IdempotencyRecord.fingerprint == key.fingerprint,
    )
