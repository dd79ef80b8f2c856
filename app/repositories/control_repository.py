"""Questions about what holds trading back: trading states, and dead man's switches."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import ARRAY, Select, String, and_, bindparam, case, column, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.enums import StateScope, SwitchScope, TradingState
from app.domain.trading_state import Ruling, StateKey, Subject, effective
from app.models.control import DeadManSwitch, TradingStateChange, TradingStateRow
from app.repositories.base import Repository


class TradingStateRepository(Repository[TradingStateRow]):
    """Trading states; what no row tells of is active."""

    model = TradingStateRow

    async def all(self) -> Sequence[TradingStateRow]:
        """Every state that was ever set, by scope and key."""
        return await self.all_of(select(TradingStateRow).order_by(TradingStateRow.scope, TradingStateRow.key))

    async def restricted(self) -> Sequence[TradingStateRow]:
        """The states that are not active."""
        return await self.all_of(select(TradingStateRow).where(TradingStateRow.state != TradingState.ACTIVE))

    async def ruling(self, subject: Subject) -> Ruling:
        """The state that counts for a subject, as this transaction sees it."""
        return (await self.states_for([subject]))[subject]

    async def states_for(self, subjects: Collection[Subject]) -> dict[Subject, Ruling]:
        """The states that count for several subjects, in one query by the unique index."""
        keys = {key for subject in subjects for key in subject.keys}
        rows: dict[StateKey, TradingStateRow] = {}
        if keys:
            scopes, names = zip(*sorted(keys), strict=True)
            found = await self.session.scalars(_RESTRICTING, {"scopes": list(scopes), "keys": list(names)})
            rows = {(row.scope, row.key): row for row in found}
        return {subject: effective(rows[key] for key in subject.keys if key in rows) for subject in subjects}

    async def set_state(
        self, scope: StateScope, key: str, state: TradingState, reason: str, changed_by: str
    ) -> TradingStateRow:
        """Set a state, with the change in the audit; setting it twice is two changes."""
        first = upsert(TradingStateRow).values(
            scope=scope, key=key, state=TradingState.ACTIVE, reason=reason, changed_by=changed_by
        )
        await self.session.execute(first.on_conflict_do_nothing(index_elements=["scope", "key"]))
        query = select(TradingStateRow).where(TradingStateRow.scope == scope, TradingStateRow.key == key)
        (row,) = await self._as_now(query.with_for_update())
        self.session.add(
            TradingStateChange(
                scope=scope, key=key, old_state=row.state, new_state=state, reason=reason, changed_by=changed_by
            )
        )
        values = {"state": state, "reason": reason, "changed_by": changed_by, "updated_at": func.clock_timestamp()}
        await self.session.execute(update(TradingStateRow).where(TradingStateRow.id == row.id).values(**values))
        await self.session.flush()
        await self.session.refresh(row)
        return row

    async def changes(self, *, before: int | None, limit: int) -> Sequence[TradingStateChange]:
        """The audit, newest first."""
        query = select(TradingStateChange).order_by(TradingStateChange.id.desc()).limit(limit)
        if before is not None:
            query = query.where(TradingStateChange.id < before)
        return (await self.session.scalars(query)).all()

    async def _as_now(self, query: Select[TradingStateRow]) -> Sequence[TradingStateRow]:
        return await self.all_of(query.execution_options(populate_existing=True))


class DeadManSwitchRepository(Repository[DeadManSwitch]):
    """Dead man's switches, by the database's clock."""

    model = DeadManSwitch

    async def of_user(self, user_id: int) -> DeadManSwitch | None:
        """A user's switch; None where there never was one, or it has done its work."""
        query = select(DeadManSwitch).where(DeadManSwitch.user_id == user_id)
        return await self.session.scalar(query.execution_options(populate_existing=True))

    async def arm(self, user_id: int, scope: SwitchScope, after: timedelta | None) -> DeadManSwitch | None:
        """Let the switch fire after so long, anew where it is armed; None disarms. A firing goes on either way."""
        fires_at = None if after is None else func.clock_timestamp() + after
        row = upsert(DeadManSwitch).values(user_id=user_id, scope=scope, fires_at=fires_at)
        await self.session.execute(
            row.on_conflict_do_update(
                index_elements=[DeadManSwitch.user_id],
                set_={"scope": scope, "fires_at": fires_at, "updated_at": func.clock_timestamp()},
            )
        )
        await self._sweep(user_id)
        return await self.of_user(user_id)

    async def take_due(
        self, limit: int, again_after: timedelta, *, besides: Collection[int] = ()
    ) -> Sequence[DeadManSwitch]:
        """Switches to work on, each by one taker at a time: those whose time has come fire, those that fired go on.

        Those that never fired come first, and the others in turn, the longest due first, so that none waits behind
        firings that do not end; `besides` are the users whose firings the taker is at. What a taker leaves unfinished
        is taken again after `again_after`. A switch that was armed anew meanwhile fires again once that is finished:
        what a firing cancels is never more than it was about.
        """
        now = func.clock_timestamp()
        query = (
            select(DeadManSwitch)
            .where(
                or_(
                    and_(DeadManSwitch.fired_at.is_(None), DeadManSwitch.fires_at <= now),
                    and_(DeadManSwitch.fired_at.is_not(None), DeadManSwitch.next_run_at <= now),
                ),
                DeadManSwitch.user_id.not_in(tuple(besides)),
            )
            .order_by(DeadManSwitch.fired_at.is_not(None), _DUE_AT, DeadManSwitch.user_id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = await self.all_of(query.execution_options(populate_existing=True))
        instant = (await self.session.scalars(select(now))).one()
        for row in rows:
            if row.fired_at is None:
                row.fired_at, row.fired_scope, row.fires_at = row.fires_at, row.scope, None
            row.next_run_at = instant + again_after
        await self.session.flush()
        return rows

    async def finish(self, switch: DeadManSwitch) -> None:
        """The firing has done its work; a switch that is not armed again is gone."""
        done = (DeadManSwitch.user_id == switch.user_id, DeadManSwitch.fired_at == switch.fired_at)
        await self.session.execute(update(DeadManSwitch).where(*done).values(fired_at=None, fired_scope=None))
        await self._sweep(switch.user_id)

    async def _sweep(self, user_id: int) -> None:
        """Delete a switch that is neither armed nor firing."""
        idle = delete(DeadManSwitch).where(
            DeadManSwitch.user_id == user_id, DeadManSwitch.fires_at.is_(None), DeadManSwitch.fired_at.is_(None)
        )
        await self.session.execute(idle, execution_options={"synchronize_session": False})


_DUE_AT = case((DeadManSwitch.fired_at.is_(None), DeadManSwitch.fires_at), else_=DeadManSwitch.next_run_at)


def _restricting() -> Select[TradingStateRow]:
    """The states of some (scope, key), as they are now, that are not active; made once, since making it costs more."""
    arrays = (bindparam(name, type_=ARRAY(String())) for name in ("scopes", "keys"))
    given = func.unnest(*arrays).table_valued(column("scope", String()), column("key", String())).render_derived()
    query = select(TradingStateRow).join(
        given, and_(TradingStateRow.scope == given.c.scope, TradingStateRow.key == given.c.key)
    )
    return query.where(TradingStateRow.state != TradingState.ACTIVE).execution_options(populate_existing=True)


_RESTRICTING = _restricting()
