"""Questions about orders."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.exc import IntegrityError

from app.core.database import constraint_of
from app.domain.enums import OrderRole, OrderStatus, OrderType, TradeStatus
from app.domain.errors import Conflict
from app.domain.lifecycle import ORDER_MOVES
from app.models.trading import WATCHED_EXITS, Order, Trade
from app.repositories.base import LifecycleRepository, insert_all

# The constraint that a second order with a user's client_order_id breaks.
_NAMED_ONCE = "uq_orders_user_id_client_order_id"


class OrderRepository(LifecycleRepository[Order, OrderStatus]):
    """Questions about orders; every one about a user's names the user."""

    model = Order
    moves = ORDER_MOVES

    async def owned(self, user_id: int, order_id: int) -> Order | None:
        """A user's order by id."""
        return await self.session.scalar(_owned(user_id).where(Order.id == order_id))

    async def by_client_order_id(self, user_id: int, client_order_id: str) -> Order | None:
        """The order that its user calls `client_order_id`."""
        return await self.session.scalar(_owned(user_id).where(Order.client_order_id == client_order_id))

    async def add_named(self, order: Order, exits: Sequence[Order] = ()) -> Order:
        """Insert an order that may have a client_order_id, with exits; ALREADY_EXISTS when it was taken just now."""
        try:
            await insert_all(self.session, [order, *exits])
        except IntegrityError as error:
            if constraint_of(error) != _NAMED_ONCE:
                raise
            raise Conflict(
                f"client_order_id {order.client_order_id} was used a moment ago.", code="ALREADY_EXISTS"
            ) from error
        return order

    async def of_user(
        self,
        user_id: int,
        *,
        statuses: Sequence[OrderStatus] | None,
        trade_id: int | None,
        before: int | None,
        limit: int,
    ) -> Sequence[Order]:
        """A user's orders, newest first, of the statuses and the trade named (all when there is none)."""
        query = _owned(user_id)
        if trade_id is not None:
            query = query.where(Order.trade_id == trade_id)
        if statuses:
            return await self.page_of_statuses(query, statuses, before=before, limit=limit)
        return await self.page(query, before=before, limit=limit)

    async def of_trade(self, trade_id: int) -> Sequence[Order]:
        """Every order of a trade, oldest first."""
        return await self.all_of(select(Order).where(Order.trade_id == trade_id).order_by(Order.id))

    async def of_trades_locked(self, trade_ids: Sequence[int]) -> dict[int, list[Order]]:
        """Every order of trades as it is now, by trade, oldest first; all locked together in ascending order of id."""
        query = select(Order).where(Order.trade_id.in_(trade_ids)).order_by(Order.id).with_for_update()
        found: dict[int, list[Order]] = {trade_id: [] for trade_id in trade_ids}
        for order in await self.all_of(query.execution_options(populate_existing=True)):
            if order.trade_id is not None:
                found[order.trade_id].append(order)
        return found

    async def exit_ids(self, trade_ids: Sequence[int], statuses: Iterable[OrderStatus]) -> dict[int, list[int]]:
        """The ids of the trades' exits that have one of the statuses, by trade."""
        query = select(Order.trade_id, Order.id).where(
            Order.trade_id.in_(trade_ids), Order.role == OrderRole.EXIT, Order.status.in_(statuses)
        )
        found: dict[int, list[int]] = defaultdict(list)
        for trade_id, order_id in await self.session.execute(query.order_by(Order.id)):
            if trade_id is not None:
                found[trade_id].append(order_id)
        return found

    async def locked_with_trades(self, ids: Sequence[int]) -> dict[int, tuple[Order, Trade]]:
        """Orders with their trades as they are now, both locked, by order id; those that others hold are left out."""
        query = select(Order, Trade).join(Trade, Trade.id == Order.trade_id).where(Order.id.in_(ids))
        query = query.order_by(Trade.id, Order.id).with_for_update(of=[Trade, Order], skip_locked=True)
        rows = await self.session.execute(query, execution_options={"populate_existing": True})
        return {order.id: (order, trade) for order, trade in rows}

    async def entry_of(self, trade_id: int) -> Order | None:
        """The order that opens a trade."""
        return await self.session.scalar(select(Order).where(Order.trade_id == trade_id, Order.role == OrderRole.ENTRY))

    async def entries_of(self, trade_ids: Sequence[int]) -> dict[int, int]:
        """The id of the order that opens each trade, by trade."""
        query = select(Order.trade_id, Order.id).where(Order.trade_id.in_(trade_ids), Order.role == OrderRole.ENTRY)
        return {trade_id: order_id for trade_id, order_id in await self.session.execute(query) if trade_id is not None}

    async def watched(self, pair_ids: Sequence[int]) -> Sequence[Order]:
        """Every exit that waits for a price on the pairs, by id."""
        return await self.all_of(_watched().where(Order.pair_id.in_(pair_ids)).order_by(Order.id))

    async def trailing_of(self, user_ids: Sequence[int]) -> Sequence[Order]:
        """The trailing stops of users that wait for a price, by id."""
        query = select(Order).where(
            text(WATCHED_EXITS), Order.user_id.in_(user_ids), Order.order_type == OrderType.TRAILING_STOP
        )
        return await self.all_of(query.order_by(Order.id))

    async def changed_exits(self, pair_ids: Sequence[int], since: datetime) -> Sequence[Order]:
        """Exits on the pairs whose row changed after an instant of the database's clock, by id."""
        query = select(Order).where(Order.role == OrderRole.EXIT, Order.pair_id.in_(pair_ids), Order.updated_at > since)
        return await self.all_of(query.order_by(Order.id))

    async def retryable(self, pair_ids: Sequence[int]) -> Sequence[Order]:
        """Latched exits of open trades whose time to be claimed again has come."""
        query = (
            _watched()
            .join(Trade, Trade.id == Order.trade_id)
            .where(
                Order.pair_id.in_(pair_ids),
                Order.latched_sequence.is_not(None),
                Trade.status == TradeStatus.OPEN,
                func.coalesce(Order.next_run_at, func.clock_timestamp()) <= func.clock_timestamp(),
            )
        )
        return await self.all_of(query.order_by(Order.latched_sequence, Order.id))

    async def any_latched(self, pair_ids: Sequence[int]) -> bool:
        """Whether any exit on the pairs is latched, claimable now or later."""
        query = _watched().where(Order.pair_id.in_(pair_ids), Order.latched_sequence.is_not(None))
        return await self.session.scalar(query.limit(1)) is not None

    async def rows(self, ids: Sequence[int]) -> Sequence[Order]:
        """Orders by id, in id order."""
        return await self.all_of(select(Order).where(Order.id.in_(ids)).order_by(Order.id))

    async def flag_for_review(self, order_id: int) -> None:
        """Note that a person has to look at an order; its status stays what is known."""
        await self.session.execute(update(Order).where(Order.id == order_id).values(needs_review=True))

    async def expired_entries(self, now: datetime, limit: int) -> Sequence[Order]:
        """Entries that rest, whole or what a part fill left of them, and whose expires_at has passed."""
        resting = (OrderStatus.PENDING, OrderStatus.PARTIALLY_FILLED)
        query = select(Order).where(Order.role == OrderRole.ENTRY, Order.status.in_(resting), Order.expires_at <= now)
        return await self.all_of(query.order_by(Order.id).limit(limit))


def _owned(user_id: int) -> Select[Order]:
    return select(Order).where(Order.user_id == user_id)


def _watched() -> Select[Order]:
    return select(Order).where(Order.role == OrderRole.EXIT, Order.status == OrderStatus.PENDING)
