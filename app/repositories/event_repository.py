"""The event log: append with gapless per-user sequences, read, fan out."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import BigInteger, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.json import encode_event
from app.domain.events import Event as NewEvent
from app.models.event import Event, EventCounter
from app.repositories.base import Repository, values_table


class EventRepository(Repository[Event]):
    """The log. `append` belongs at the very end of a transaction: it locks each user's counter."""

    model = Event

    async def append(self, events: Sequence[NewEvent]) -> list[int]:
        """Write events in order, each with its user's next sequence; returns the users, ascending."""
        by_user: dict[int, list[NewEvent]] = defaultdict(list)
        for event in events:
            by_user[event.user_id].append(event)
        users = sorted(by_user)
        last = await self._count(users, [len(by_user[user_id]) for user_id in users])
        rows: list[dict[str, object]] = []
        for user_id in users:
            mine = by_user[user_id]
            first = last[user_id] - len(mine) + 1
            rows += [
                {"user_id": user_id, "sequence": first + i, "type": event.type, "data": encode_event(event.data)}
                for i, event in enumerate(mine)
            ]
        await self.session.execute(insert(Event), rows)
        return users

    async def _count(self, users: Sequence[int], numbers: Sequence[int]) -> dict[int, int]:
        """Count each user's counter up, locked in the order given; the last sequence of each."""
        more = values_table({"user_id": BigInteger(), "number": BigInteger()}, list(zip(users, numbers, strict=True)))
        source = select(more.c.user_id, more.c.number).order_by(more.c.user_id)
        counter = upsert(EventCounter).from_select(["user_id", "sequence"], source)
        counted = counter.on_conflict_do_update(
            index_elements=[EventCounter.user_id], set_={"sequence": EventCounter.sequence + counter.excluded.sequence}
        )
        return dict((await self.session.execute(counted.returning(EventCounter.user_id, EventCounter.sequence))).all())

    async def after(
        self, user_id: int, sequence: int, *, limit: int, types: Sequence[str] | None = None
    ) -> Sequence[Event]:
        """A user's events with a higher sequence, oldest first, of the types named (all when None)."""
        query = select(Event).where(Event.user_id == user_id, Event.sequence > sequence)
        if types is not None:
            query = query.where(Event.type.in_(types))
        return await self.all_of(query.order_by(Event.sequence).limit(limit))

    async def last_sequence(self, user_id: int) -> int:
        """The sequence of a user's newest event; 0 where there is none."""
        counter = await self.session.get(EventCounter, user_id)
        return counter.sequence if counter else 0

    async def last_sequences(self, user_ids: Collection[int]) -> dict[int, int]:
        """The sequence of the newest event of each user who has one."""
        query = select(EventCounter.user_id, EventCounter.sequence).where(EventCounter.user_id.in_(user_ids))
        return dict((await self.session.execute(query)).all())

    async def freeze(self, user_id: int) -> int:
        """Let the whole transaction see the database as of now, read only; the user's last sequence in it.

        Must be the first question of its transaction.
        """
        await self.session.connection(execution_options=_FROZEN)
        return await self.last_sequence(user_id)

    async def claim_unsent(self, limit: int) -> Sequence[Event]:
        """Events not yet fanned out, oldest first, locked against other relays."""
        query = select(Event).where(Event.fanned_out_at.is_(None)).order_by(Event.id).limit(limit)
        return await self.all_of(query.with_for_update(skip_locked=True))

    async def mark_sent(self, ids: Sequence[int]) -> None:
        """Note that events were fanned out."""
        await self.session.execute(update(Event).where(Event.id.in_(ids)).values(fanned_out_at=func.clock_timestamp()))


_FROZEN = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
