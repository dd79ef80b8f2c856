"""The paper venue's orders, fills and positions."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, Select, any_, bindparam, exists, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute

from app.domain.enums import PaperOrderStatus, PaperPositionStatus
from app.domain.errors import InvalidTransition
from app.domain.money import ZERO
from app.models.paper import PaperAccount, PaperFill, PaperOrder, PaperPosition
from app.repositories.base import Repository, insert_all

LIVE = (PaperOrderStatus.WORKING, PaperOrderStatus.RESTING)


class Execution(NamedTuple):
    """An order, the position that it opened or reduces (None where it has none yet), and its fills in order."""

    order: PaperOrder
    position: PaperPosition | None
    fills: Sequence[PaperFill] = ()


class PaperRepository(Repository[PaperOrder]):
    """Whoever changes an order or a position has locked its account first, and reads it after that."""

    model = PaperOrder

    async def by_client_ids(self, client_ids: Sequence[int]) -> dict[int, Execution]:
        """The orders of client ids as they are now, by client id."""
        return {found.order.client_id: found for found in await self._executions(_BY_CLIENT_IDS, client_ids)}

    async def orders(self, ids: Sequence[int]) -> dict[int, Execution]:
        """Orders as they are now, by id."""
        return {found.order.id: found for found in await self._executions(_BY_IDS, ids)}

    async def positions(self, ids: Sequence[int]) -> dict[int, PaperPosition]:
        """Positions as they are now, by id."""
        return {row.id: row for row in await self.session.scalars(_POSITIONS, {"ids": ids})}

    async def live_orders(self, pair_ids: Sequence[int]) -> Sequence[PaperOrder]:
        """Every working or resting order of pairs, by id."""
        query = select(PaperOrder).where(PaperOrder.pair_id.in_(pair_ids), _IS_LIVE)
        return await self.all_of(query.order_by(PaperOrder.id))

    async def live_orders_on(self, position_ids: Sequence[int]) -> Sequence[PaperOrder]:
        """The orders as they are now that still open, reduce or guard positions, by id."""
        return (await self.session.scalars(_LIVE_ORDERS_ON, {"ids": position_ids})).all()

    async def open_positions(self, pair_ids: Sequence[int]) -> Sequence[PaperPosition]:
        """Every open position of pairs, by id."""
        query = select(PaperPosition).where(PaperPosition.pair_id.in_(pair_ids), _IS_OPEN)
        return (await self.session.scalars(query.order_by(PaperPosition.id))).all()

    async def open_on(self, account_id: int, pair_id: int) -> PaperPosition | None:
        """The oldest open position of an account on a pair as it is now: the only one where the venue nets."""
        query = select(PaperPosition).where(PaperPosition.account_id == account_id, PaperPosition.pair_id == pair_id)
        query = query.where(_IS_OPEN).order_by(PaperPosition.id).limit(1)
        return await self.session.scalar(query, execution_options=_AS_IT_IS)

    async def changed_since(self, pair_ids: Sequence[int], since: datetime) -> Sequence[PaperPosition | PaperOrder]:
        """Open positions and live orders of pairs whose rows changed after an instant of the database's clock."""
        positions = select(PaperPosition).where(PaperPosition.pair_id.in_(pair_ids), _IS_OPEN)
        orders = select(PaperOrder).where(PaperOrder.pair_id.in_(pair_ids), PaperOrder.status.in_(LIVE))
        found: list[PaperPosition | PaperOrder] = []
        found += await self.session.scalars(
            positions.where(PaperPosition.updated_at > since).order_by(PaperPosition.id)
        )
        found += await self.session.scalars(orders.where(PaperOrder.updated_at > since).order_by(PaperOrder.id))
        return found

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
        """The executions of an account on a pair, oldest first, each with its one fill."""
        query = (
            select(PaperOrder, PaperPosition, PaperFill)
            .join(PaperFill, PaperFill.order_id == PaperOrder.id)
            .join(PaperPosition, PaperPosition.id == PaperFill.position_id)
            .where(PaperOrder.account_id == account_id, PaperOrder.pair_id == pair_id, PaperFill.at >= since)
            .order_by(PaperFill.at, PaperFill.id)
            .execution_options(**_AS_IT_IS)
        )
        return [Execution(order, position, [fill]) for order, position, fill in await self.session.execute(query)]

    async def is_in_use(self, account_id: int) -> bool:
        """Whether an account has an open position, or an order that works or rests."""
        order = exists().where(PaperOrder.account_id == account_id, _IS_LIVE)
        position = exists().where(PaperPosition.account_id == account_id, _IS_OPEN)
        return bool(await self.session.scalar(select(order | position)))

    async def owners(self, position_ids: Sequence[int], order_ids: Sequence[int]) -> Sequence[int]:
        """The accounts that positions and orders belong to."""
        of_positions = select(PaperPosition.account_id).where(PaperPosition.id.in_(position_ids))
        of_orders = select(PaperOrder.account_id).where(PaperOrder.id.in_(order_ids))
        return (await self.session.scalars(of_positions.union(of_orders))).all()

    async def add_all(self, rows: Sequence[PaperOrder | PaperPosition | PaperFill]) -> None:
        """Insert rows and read back what the database gave them."""
        await insert_all(self.session, rows)

    async def change_order(self, order: PaperOrder, **values: object) -> None:
        """UPDATE an order where it works or rests; raises InvalidTransition where it does not."""
        statement = update(PaperOrder).where(PaperOrder.id == order.id, _IS_LIVE).values(values)
        if await self.session.scalar(statement.returning(PaperOrder), execution_options=_AS_IT_IS) is None:
            raise InvalidTransition(f"paper order {order.id} neither works nor rests")

    async def change_position(self, position: PaperPosition, **values: object) -> None:
        """UPDATE a position where it is open; raises InvalidTransition where it is not."""
        statement = update(PaperPosition).where(PaperPosition.id == position.id, _IS_OPEN).values(values)
        if await self.session.scalar(statement.returning(PaperPosition), execution_options=_AS_IT_IS) is None:
            raise InvalidTransition(f"paper position {position.id} is not open")

    async def end_positions(self, ends: Sequence[tuple[int, int]], end: PaperPositionStatus, at: datetime) -> None:
        """UPDATE positions (id, tick) to nothing left where they are open; InvalidTransition when one is not."""
        for sequence in sorted({sequence for _, sequence in ends}):
            ids = [row_id for row_id, ended_by in ends if ended_by == sequence]
            statement = update(PaperPosition).where(PaperPosition.id.in_(ids), _IS_OPEN)
            ended = statement.values(status=end, size=ZERO, margin=ZERO, closed_at=at, closed_sequence=sequence)
            done = await self.session.scalars(ended.returning(PaperPosition.id), execution_options=_AS_IT_IS)
            if len(done.all()) != len(ids):
                raise InvalidTransition(f"not every one of the paper positions {ids} is open")

    async def _executions(self, query: Select[PaperOrder, PaperPosition], ids: Sequence[int]) -> list[Execution]:
        rows = (await self.session.execute(query, {"ids": ids})).all()
        filled = [order.id for order, _ in rows if order.fill_count]
        fills = select(PaperFill).where(PaperFill.order_id.in_(filled)).order_by(PaperFill.order_id, PaperFill.number)
        fills_of: dict[int, list[PaperFill]] = {order.id: [] for order, _ in rows}
        for fill in await self.session.scalars(fills) if filled else ():
            fills_of[fill.order_id].append(fill)
        return [Execution(order, position, fills_of[order.id]) for order, position in rows]


_IS_OPEN = PaperPosition.status == PaperPositionStatus.OPEN
_IS_LIVE = PaperOrder.status.in_(LIVE)
_AS_IT_IS = {"populate_existing": True, "synchronize_session": False}


def _executions_by(column: InstrumentedAttribute[int]) -> Select[PaperOrder, PaperPosition]:
    """Orders as they are now by one of their columns, with the position of each."""
    joined = select(PaperOrder, PaperPosition).outerjoin(PaperPosition, PaperPosition.id == PaperOrder.position_id)
    return joined.where(column == _IDS).order_by(PaperOrder.id).execution_options(**_AS_IT_IS)


# Made once: making a statement costs more than sending it.
_IDS = any_(bindparam("ids", type_=ARRAY(BigInteger())))
_BY_CLIENT_IDS, _BY_IDS = _executions_by(PaperOrder.client_id), _executions_by(PaperOrder.id)
_POSITIONS = select(PaperPosition).where(PaperPosition.id == _IDS).execution_options(**_AS_IT_IS)
_LIVE_ORDERS_ON = (
    select(PaperOrder)
    .where(PaperOrder.position_id == _IDS, _IS_LIVE)
    .order_by(PaperOrder.id)
    .execution_options(**_AS_IT_IS)
)
