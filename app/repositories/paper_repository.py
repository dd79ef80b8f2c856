"""The paper venue's orders and positions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, exists, select, tuple_, update

from app.domain.enums import PaperOrderStatus, PaperPositionStatus
from app.domain.errors import InvalidTransition
from app.domain.money import ZERO
from app.models.paper import PaperAccount, PaperOrder, PaperPosition
from app.repositories.base import Repository


class Execution(NamedTuple):
    """An order and the position that it opened or reduced; None where it has none (yet)."""

    order: PaperOrder
    position: PaperPosition | None


class PaperRepository(Repository[PaperOrder]):
    """Whoever changes an order or a position has locked its account first, and reads it after that."""

    model = PaperOrder

    async def by_client_ids(self, client_ids: Sequence[int]) -> dict[int, Execution]:
        """The orders of client ids as they are now, by client id."""
        return {found.order.client_id: found for found in await self._executions(PaperOrder.client_id.in_(client_ids))}

    async def orders(self, ids: Sequence[int]) -> dict[int, Execution]:
        """Orders as they are now, by id."""
        return {found.order.id: found for found in await self._executions(PaperOrder.id.in_(ids))}

    async def positions(self, ids: Sequence[int]) -> dict[int, PaperPosition]:
        """Positions as they are now, by id."""
        query = select(PaperPosition).where(PaperPosition.id.in_(ids))
        return {row.id: row for row in await self.session.scalars(query, execution_options=_AS_IT_IS)}

    async def resting_orders(self, pair_ids: Sequence[int]) -> Sequence[PaperOrder]:
        """Every resting order of pairs, by id."""
        is_resting = PaperOrder.status == PaperOrderStatus.RESTING
        query = select(PaperOrder).where(PaperOrder.pair_id.in_(pair_ids), is_resting)
        return await self.all_of(query.order_by(PaperOrder.id))

    async def open_positions(self, pair_ids: Sequence[int]) -> Sequence[PaperPosition]:
        """Every open position of pairs, by id."""
        query = select(PaperPosition).where(PaperPosition.pair_id.in_(pair_ids), _IS_OPEN)
        return (await self.session.scalars(query.order_by(PaperPosition.id))).all()

    async def open_positions_of(
        self, users_and_pairs: Sequence[tuple[int, int]]
    ) -> Sequence[tuple[PaperPosition, int]]:
        """The open positions of (user id, pair id) with their user ids, by id."""
        owner = PaperAccount.user_id
        query = select(PaperPosition, owner).join(PaperAccount, PaperAccount.id == PaperPosition.account_id)
        query = query.where(_IS_OPEN, tuple_(owner, PaperPosition.pair_id).in_(users_and_pairs))
        return [
            (position, user_id) for position, user_id in await self.session.execute(query.order_by(PaperPosition.id))
        ]

    async def fills_since(self, account_id: int, pair_id: int, since: datetime) -> Sequence[Execution]:
        """The executions of an account on a pair, oldest first."""
        is_filled = PaperOrder.status == PaperOrderStatus.FILLED
        mine = (PaperOrder.account_id == account_id) & (PaperOrder.pair_id == pair_id)
        return await self._executions(mine & is_filled & (PaperOrder.filled_at >= since), by=PaperOrder.filled_at)

    async def is_in_use(self, account_id: int) -> bool:
        """Whether an account has an open position or a resting order."""
        is_resting = PaperOrder.status == PaperOrderStatus.RESTING
        order = exists().where(PaperOrder.account_id == account_id, is_resting)
        position = exists().where(PaperPosition.account_id == account_id, _IS_OPEN)
        return bool(await self.session.scalar(select(order | position)))

    async def owners(self, position_ids: Sequence[int], order_ids: Sequence[int]) -> Sequence[int]:
        """The accounts that positions and orders belong to."""
        of_positions = select(PaperPosition.account_id).where(PaperPosition.id.in_(position_ids))
        of_orders = select(PaperOrder.account_id).where(PaperOrder.id.in_(order_ids))
        return (await self.session.scalars(of_positions.union(of_orders))).all()

    async def add_all(self, rows: Sequence[PaperOrder | PaperPosition]) -> None:
        """Insert rows and read back what the database gave them."""
        self.session.add_all(rows)
        await self.session.flush()

    async def change_order(self, order: PaperOrder, **values: object) -> None:
        """UPDATE an order where it rests; raises InvalidTransition where it does not."""
        is_resting = PaperOrder.status == PaperOrderStatus.RESTING
        statement = update(PaperOrder).where(PaperOrder.id == order.id, is_resting).values(values)
        if await self.session.scalar(statement.returning(PaperOrder), execution_options=_AS_IT_IS) is None:
            raise InvalidTransition(f"paper order {order.id} does not rest")

    async def change_position(self, position: PaperPosition, **values: object) -> None:
        """UPDATE a position where it is open; raises InvalidTransition where it is not."""
        statement = update(PaperPosition).where(PaperPosition.id == position.id, _IS_OPEN).values(values)
        if await self.session.scalar(statement.returning(PaperPosition), execution_options=_AS_IT_IS) is None:
            raise InvalidTransition(f"paper position {position.id} is not open")

    async def end_positions(self, ids: Sequence[int], end: PaperPositionStatus, at: datetime) -> None:
        """UPDATE positions to nothing left where they are open; raises InvalidTransition when one is not."""
        statement = update(PaperPosition).where(PaperPosition.id.in_(ids), _IS_OPEN)
        ended = statement.values(status=end, size=ZERO, margin=ZERO, closed_at=at).returning(PaperPosition.id)
        if ids and len((await self.session.scalars(ended, execution_options=_AS_IT_IS)).all()) != len(ids):
            raise InvalidTransition(f"not every one of the paper positions {list(ids)} is open")

    async def _executions(self, *which: ColumnElement[bool], by: Any = PaperOrder.id) -> list[Execution]:
        joined = select(PaperOrder, PaperPosition).outerjoin(PaperPosition, PaperPosition.id == PaperOrder.position_id)
        query = joined.where(*which).order_by(by, PaperOrder.id).execution_options(**_AS_IT_IS)
        return [Execution(order, position) for order, position in await self.session.execute(query)]


_IS_OPEN = PaperPosition.status == PaperPositionStatus.OPEN
_AS_IT_IS = {"populate_existing": True, "synchronize_session": False}
