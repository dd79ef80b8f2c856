"""The paper venue's fundings: how far each pair is funded, who was open at an instant, and what was paid."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.enums import PaperPositionStatus
from app.models.paper import PaperFill, PaperFunding, PaperFundingMark, PaperOrder, PaperPosition
from app.repositories.base import Repository, insert_all


class Held(NamedTuple):
    """A position as it is now, and the size that it had before a tick."""

    position: PaperPosition
    size: Decimal


class PaperFundingRepository(Repository[PaperFunding]):
    """Rows are added by whoever holds the accounts; a pair's mark is held from before they are."""

    model = PaperFunding

    async def marks(self, pair_ids: Sequence[int]) -> Sequence[PaperFundingMark]:
        """The marks of those pairs that have one, by pair, locked."""
        query = select(PaperFundingMark).where(PaperFundingMark.pair_id.in_(pair_ids))
        query = query.order_by(PaperFundingMark.pair_id).with_for_update()
        return (await self.session.scalars(query, execution_options={"populate_existing": True})).all()

    async def begin(self, pair_id: int, instant: datetime, sequence: int, seconds: int) -> bool:
        """Write a pair's first mark; False where it has one."""
        row = upsert(PaperFundingMark).values(pair_id=pair_id, instant=instant, sequence=sequence, seconds=seconds)
        written = row.on_conflict_do_nothing().returning(PaperFundingMark.pair_id)
        return await self.session.scalar(written) is not None

    async def locked_mark(self, pair_id: int) -> PaperFundingMark:
        """A pair's mark, locked; LookupError where it has none."""
        mark = await self.session.get(PaperFundingMark, pair_id, with_for_update=True, populate_existing=True)
        if mark is None:
            raise LookupError(f"pair {pair_id} has no funding mark")
        return mark

    async def owners_open_before(self, pair_id: int, sequence: int) -> Sequence[int]:
        """The accounts that have a position of a pair which was open just before a tick."""
        query = select(PaperPosition.account_id).where(*_open_before(pair_id, sequence)).distinct()
        return (await self.session.scalars(query)).all()

    async def open_before(self, account_ids: Sequence[int], pair_id: int, sequence: int) -> Sequence[Held]:
        """The positions of accounts that were open just before a tick, by id, with their size of then."""
        signed = case((PaperOrder.reduce_only, -PaperFill.size), else_=PaperFill.size)
        size = func.sum(signed).label("size")
        sizes = (
            select(PaperFill.position_id, size)
            .join(PaperOrder, PaperOrder.id == PaperFill.order_id)
            .join(PaperPosition, PaperPosition.id == PaperFill.position_id)
            .where(*_open_before(pair_id, sequence), PaperFill.sequence < sequence)
            .group_by(PaperFill.position_id)
            .having(size > 0)
            .subquery()
        )
        query = (
            select(PaperPosition, sizes.c.size)
            .join(sizes, sizes.c.position_id == PaperPosition.id)
            .where(PaperPosition.account_id.in_(account_ids))
            .order_by(PaperPosition.id)
            .execution_options(populate_existing=True)
        )
        return [Held(row[0], row[1]) for row in await self.session.execute(query)]

    async def since(self, account_id: int, pair_id: int, since: datetime) -> Sequence[PaperFunding]:
        """The fundings of an account's positions on a pair whose instant is not before `since`, oldest first."""
        query = (
            select(PaperFunding)
            .join(PaperPosition, PaperPosition.id == PaperFunding.position_id)
            .where(
                PaperPosition.account_id == account_id,
                PaperPosition.pair_id == pair_id,
                PaperFunding.instant >= since,
            )
        )
        return await self.all_of(query.order_by(PaperFunding.instant, PaperFunding.id))

    async def add_all(self, fundings: Sequence[PaperFunding]) -> None:
        """Insert fundings; each (position, instant) once."""
        await insert_all(self.session, fundings)


def _open_before(pair_id: int, sequence: int) -> tuple[ColumnElement[bool], ...]:
    is_open = PaperPosition.status == PaperPositionStatus.OPEN
    return PaperPosition.pair_id == pair_id, is_open | (PaperPosition.closed_sequence >= sequence)
