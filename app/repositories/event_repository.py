"""The event log: append with gapless per-user sequences, read, fan out."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Insert,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    column,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import TypeEngine

from app.core.json import encode_event
from app.domain.events import Event as NewEvent
from app.models.event import Event, EventCounter
from app.repositories.base import Repository

# The advisory lock of whoever relays events; any number would do, as long as nobody else takes it.
RELAY_LOCK = 8_215_337_001


class EventRepository(Repository[Event]):
    """The log. `append` belongs at the very end of a transaction: it locks each user's counter."""

    model = Event

    async def append(self, events: Sequence[NewEvent]) -> list[int]:
        """Write events in order, each with its user's next sequence; returns the users, ascending."""
        by_user: dict[int, list[NewEvent]] = defaultdict(list)
        for event in events:
            by_user[event.user_id].append(event)
        users = sorted(by_user)
        rows = [
            (user_id, len(by_user[user_id]) - 1 - i, event.type.value, encode_event(event.data))
            for user_id in users
            for i, event in enumerate(by_user[user_id])
        ]
        columns = zip(_NEW, zip(*rows, strict=True), strict=True)
        await self.session.flush()
        await self.session.execute(_APPEND, {name: list(values) for name, values in columns})
        return users

    async def after(
        self, user_id: int, sequence: int, *, limit: int, types: Sequence[str] | None = None
    ) -> Sequence[Event]:
        """A user's events with a higher sequence, oldest first, of the types named (all when None)."""
        query = select(Event).where(Event.user_id == user_id, Event.sequence > sequence)
        if types is not None:
            query = query.where(Event.type.in_(types))
        return await self.all_of(query.order_by(Event.sequence).limit(limit))

    async def last_before(self, user_id: int, instant: datetime) -> int:
        """The sequence of a user's last event before an instant; 0 where there is none."""
        query = select(Event.sequence).where(Event.user_id == user_id, Event.created_at < instant)
        return await self.session.scalar(query.order_by(Event.sequence.desc()).limit(1)) or 0

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
        """Events not yet fanned out, oldest first; none while another relay has some, so that their order stays."""
        # Its own statement: the next one must see what the relay before has marked.
        if not await self.session.scalar(select(func.pg_try_advisory_xact_lock(RELAY_LOCK))):
            return []
        query = select(Event).where(Event.fanned_out_at.is_(None)).order_by(Event.id).limit(limit)
        return await self.all_of(query)

    async def mark_sent(self, ids: Sequence[int]) -> None:
        """Note that events were fanned out."""
        await self.session.execute(update(Event).where(Event.id.in_(ids)).values(fanned_out_at=func.clock_timestamp()))


# `behind`: how many more of the user's events come after it.
_NEW: Mapping[str, TypeEngine[Any]] = {"user_id": BigInteger(), "behind": Integer(), "type": String(), "data": Text()}


def _append() -> Insert:
    """Count each user's counter up, locked in the order of their ids, and write the events, in one statement."""
    arrays = (bindparam(name, type_=ARRAY(kind)) for name, kind in _NEW.items())
    given = func.unnest(*arrays).table_valued(*(column(name, kind) for name, kind in _NEW.items()))
    new = select(given.render_derived()).cte("new")
    numbers = select(new.c.user_id, func.count()).group_by(new.c.user_id).order_by(new.c.user_id)
    counter = upsert(EventCounter).from_select(["user_id", "sequence"], numbers)
    counted = (
        counter.on_conflict_do_update(
            index_elements=[EventCounter.user_id], set_={"sequence": EventCounter.sequence + counter.excluded.sequence}
        )
        .returning(EventCounter.user_id, EventCounter.sequence)
        .cte("counted")
    )
    rows = (
        select(new.c.user_id, counted.c.sequence - new.c.behind, new.c.type, new.c.data)
        .join(counted, counted.c.user_id == new.c.user_id)
        .order_by(new.c.user_id, new.c.behind.desc())
    )
    return insert(cast(Table, Event.__table__)).from_select(["user_id", "sequence", "type", "data"], rows)


_APPEND = _append()
_FROZEN = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
