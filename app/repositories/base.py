"""The base of all repositories: get, lock, add, keyset pages, and compare-and-set moves."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    ClauseElement,
    CursorResult,
    Select,
    Table,
    TableValuedAlias,
    Update,
    bindparam,
    column,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.types import TypeEngine

from app.domain.lifecycle import Moves, advance
from app.models.base import Base


class Repository[M: Base]:
    """One table's questions; holds the session of the unit of work it belongs to."""

    model: type[M]

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def get(self, row_id: int) -> M | None:
        """The row, or None."""
        return await self.session.get(self.model, row_id)

    async def get_for_update(self, row_id: int) -> M | None:
        """The row as it is now, locked until the end of the transaction."""
        return await self.session.get(self.model, row_id, with_for_update=True, populate_existing=True)

    async def add(self, row: M) -> M:
        """Insert the row and read back what the database gave it."""
        await insert_all(self.session, [row])
        return row

    async def write_together(self, rows: Sequence[M], names: Sequence[str]) -> None:
        """UPDATE the named columns of rows that this transaction has locked to what they show, in one statement."""
        if not rows:
            return
        kept = ("id", *names)
        values = {_given(name): [getattr(row, name) for row in rows] for name in kept}
        # Or each row would be written on its own before.
        with self.session.no_autoflush:
            await self.session.execute(_write_statement(cast(Any, self.model).__table__, kept), values)
        for row in rows:
            for name in names:
                set_committed_value(row, name, getattr(row, name))

    async def all_of(self, query: Select[M]) -> Sequence[M]:
        """Every row of a query."""
        return (await self.session.scalars(query)).all()

    async def page(self, query: Select[M], *, before: int | None, limit: int) -> Sequence[M]:
        """Up to `limit` rows with an id below `before`, newest first."""
        row_id = cast(Any, self.model).id
        if before is not None:
            query = query.where(row_id < before)
        return await self.all_of(query.order_by(row_id.desc()).limit(limit))

    async def page_of_statuses(
        self, query: Select[M], statuses: Iterable[StrEnum], *, before: int | None, limit: int
    ) -> Sequence[M]:
        """A page of the rows of a query that have one of the statuses.

        Each status is read by itself, and no further than a page: rows that have none of them are never looked at.
        """
        model = cast(Any, self.model)
        if before is not None:
            query = query.where(model.id < before)
        ids = [
            query.where(model.status == status)
            .with_only_columns(model.id)
            .order_by(model.id.desc())
            .limit(limit)
            .subquery()
            for status in sorted(set(statuses))
        ]
        among = union_all(*(select(each.c.id) for each in ids))
        return await self.all_of(select(self.model).where(model.id.in_(among)).order_by(model.id.desc()).limit(limit))


class LifecycleRepository[M: Base, S: StrEnum](Repository[M]):
    """A table whose rows have a status that moves by a lifecycle table."""

    moves: Moves[S]

    async def move(self, row: M, target: S, **values: object) -> bool:
        """UPDATE to `target` and `values` where the status is still the one `row` shows; False when it is not.

        On success the row shows the new values. Raises InvalidTransition for a move that the table lacks.
        """
        shown = cast(Any, row)
        advance(self.moves, shown.status, target)
        return await self.change(row, status=target, **values)

    def move_locked(self, row: M, target: S, **values: object) -> None:
        """Set `target` and `values` on a row that this transaction has locked FOR UPDATE; written at its end.

        The lock makes it a compare-and-set on the status just read. Raises InvalidTransition.
        """
        shown = cast(Any, row)
        values["status"] = advance(self.moves, shown.status, target)
        for name, value in values.items():
            setattr(row, name, value)

    async def locked(self, ids: Sequence[int], *, skip: bool = False) -> dict[int, M]:
        """The rows as they are now, locked in ascending order, by id; `skip` leaves out what others hold."""
        row_id = cast(Any, self.model).id
        query = select(self.model).where(row_id.in_(ids)).order_by(row_id).with_for_update(skip_locked=skip)
        rows = await self.session.scalars(query, execution_options={"populate_existing": True})
        return {cast(Any, row).id: row for row in rows}

    async def change(self, row: M, **values: object) -> bool:
        """UPDATE `values` where the status is still the one `row` shows; False when it is not."""
        model, shown = cast(Any, self.model), cast(Any, row)
        statement = update(self.model).where(model.id == shown.id, model.status == shown.status).values(**values)
        result = cast(CursorResult[Any], await self.session.execute(statement, execution_options=_NO_SYNC))
        if result.rowcount != 1:
            return False
        await self.session.refresh(row)
        return True


async def insert_all(session: AsyncSession, rows: Sequence[Base]) -> None:
    """Insert rows in their order and read back what the database gave them.

    One alone goes past the unit of work of the ORM, which costs as much again as the statement. Changes of other rows
    that wait for a flush come after it: flush first where a constraint needs them.
    """
    if len(rows) != 1 or rows[0] in session:
        session.add_all(rows)
        await session.flush()
        return
    (row,) = rows
    given = {name: value for name, value in row.__dict__.items() if name != _STATE}
    # What the database is to compute is no value yet: it is read back too.
    computed = {name: given.pop(name) for name in list(given) if isinstance(given[name], ClauseElement)}
    statement, left = _insert_statement(type(row), frozenset(given))
    result = await session.execute(statement.values(computed) if computed else statement, given)
    for name, value in zip(left, result.one(), strict=True):
        set_committed_value(row, name, value)
    make_transient_to_detached(row)
    session.add(row)


@cache
def _insert_statement(model: type[Base], names: frozenset[str]) -> tuple[ReturningInsert[Any], Sequence[str]]:
    """INSERT of the named columns that returns the others, and their names; made once, since making it costs more."""
    table = cast(Table, model.__table__)
    left = [each for each in table.columns if each.key not in names]
    return insert(table).returning(*left), [each.key for each in left]


@cache
def _write_statement(table: Table, names: tuple[str, ...]) -> Update:
    """UPDATE of the columns to what one array each gives, by the first; made once, since making it costs more."""
    arrays = (bindparam(_given(name), type_=ARRAY(table.c[name].type)) for name in names)
    described = (column(name, table.c[name].type) for name in names)
    shown = func.unnest(*arrays).table_valued(*described).render_derived()
    key, *others = names
    return update(table).where(table.c[key] == shown.c[key]).values({name: shown.c[name] for name in others})


def _given(name: str) -> str:
    """The parameter of a column; the column's own name is taken in an UPDATE."""
    return f"given_{name}"


def values_table(columns: Mapping[str, TypeEngine[Any]], rows: Sequence[tuple[object, ...]]) -> TableValuedAlias:
    """A table made of values, sent as one array per column: the statement is the same for any number of rows."""
    arrays = (literal([row[i] for row in rows], ARRAY(kind)) for i, kind in enumerate(columns.values()))
    described = (column(name, kind) for name, kind in columns.items())
    return func.unnest(*arrays).table_valued(*described).render_derived()


def insert_of(model: type[Base], rows: Sequence[Mapping[str, object]]) -> Insert:
    """INSERT of one row or more of the same columns, the same statement for any number; ON CONFLICT is to be said."""
    table, names = cast(Table, model.__table__), list(rows[0])
    given = values_table({name: table.c[name].type for name in names}, [tuple(map(row.get, names)) for row in rows])
    return upsert(table).from_select(names, select(*given.c))


_NO_SYNC = {"synchronize_session": False}
# Where the ORM keeps its own word on a row, beside the row's columns.
_STATE = "_sa_instance_state"
