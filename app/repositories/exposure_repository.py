"""Questions about what users have at venues: how much it is, and what of it could be cancelled."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, case, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.domain.enums import OrderRole, OrderStatus, StateScope
from app.domain.lifecycle import LIVE_ORDER, UNFILLED_TRADE
from app.domain.limits import Usage
from app.domain.trading_state import StateRow
from app.models.trading import LIVE_ENTRIES, LIVE_TRADES, Order, Trade

# Literals, so that every plan can use the partial indexes.
_LIVE = text(f"trades.{LIVE_TRADES}")
_LIVE_ENTRY = text(LIVE_ENTRIES.replace("role", "orders.role").replace("status", "orders.status"))
_HELD = (Order.held_since.is_not(None), Order.status == OrderStatus.PENDING)
# An entry that a cancel can be asked for.
_CANCELLABLE = (OrderStatus.PENDING, OrderStatus.PARTIALLY_FILLED)


class ExposureRepository:
    """Trades and orders that have not ended."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def usage(self, venue_account_id: int) -> Usage:
        """What an account has; exact where the caller holds the account's lock."""
        row = (await self.session.execute(_USAGE, {"venue_account_id": venue_account_id})).one()
        open_trades, open_notional, open_orders, pending_notional = row
        return Usage(open_trades, open_orders, Decimal(open_notional or 0) + Decimal(pending_notional or 0))

    async def live_on(self, venue_account_id: int, pair_id: int) -> Sequence[Trade]:
        """The trades of an account on a pair that have not ended, by id."""
        query = select(Trade).where(Trade.venue_account_id == venue_account_id, Trade.pair_id == pair_id, _LIVE)
        return (await self.session.scalars(query.order_by(Trade.id))).all()

    async def entries_under(self, state: StateRow, after: int, limit: int) -> Sequence[Order]:
        """Entries that a state is about and that a cancel can be asked for, with an id above `after`, ascending."""
        narrow: dict[StateScope, Sequence[ColumnElement[bool]]] = {StateScope.GLOBAL: ()}
        if state.scope is StateScope.VENUE:
            narrow[state.scope] = [Order.provider == state.key]
        elif state.scope is not StateScope.GLOBAL:
            column = Order.pair_id if state.scope is StateScope.PAIR else Order.user_id
            narrow[state.scope] = [column == int(state.key)]
        query = _entries().where(Order.status.in_(_CANCELLABLE), Order.id > after, *narrow[state.scope])
        return (await self.session.scalars(query.order_by(Order.id).limit(limit))).all()

    async def entries_of(self, user_id: int, until: datetime, after: int, limit: int) -> Sequence[Order]:
        """A user's entries written by an instant that a cancel can be asked for, with an id above `after`."""
        query = _entries().where(
            Order.user_id == user_id, Order.created_at <= until, Order.status.in_(_CANCELLABLE), Order.id > after
        )
        return (await self.session.scalars(query.order_by(Order.id).limit(limit))).all()

    async def exits_of(self, user_id: int, until: datetime, after: int, limit: int) -> Sequence[Order]:
        """A user's exits written by an instant that have not fired, with an id above `after`."""
        query = select(Order).where(
            Order.user_id == user_id,
            Order.created_at <= until,
            Order.role == OrderRole.EXIT,
            Order.status.in_([OrderStatus.PENDING, OrderStatus.WAITING]),
            Order.id > after,
        )
        return (await self.session.scalars(query.order_by(Order.id).limit(limit))).all()

    async def has_entries(self, user_id: int, until: datetime) -> bool:
        """Whether an entry of a user, written by an instant, could still fill."""
        query = _entries().where(Order.user_id == user_id, Order.created_at <= until)
        return await self.session.scalar(query.limit(1)) is not None

    async def held_exits(self, after: int, limit: int) -> Sequence[Order]:
        """Exits whose crossing was let go while trading was halted, with an id above `after`, ascending."""
        query = select(Order).where(*_HELD, Order.id > after)
        return (await self.session.scalars(query.order_by(Order.id).limit(limit))).all()

    async def count_held(self) -> int:
        """How many exits are held."""
        return (await self.session.scalars(select(func.count()).select_from(Order).where(*_HELD))).one()


def _entries() -> Select[Order]:
    """Entries that could still fill."""
    return select(Order).where(_LIVE_ENTRY)


def _usage() -> Select[Any]:
    """What an account's trades and orders are, and are for; made once, since making it costs more."""
    mine = (Trade.venue_account_id == bindparam("venue_account_id", type_=BigInteger()), _LIVE)
    held = func.sum(Trade.size * func.coalesce(Trade.entry_price, 0))
    trades = select(func.count().label("count"), held.label("notional")).where(*mine).subquery()
    rest = (Order.quantity - Order.filled_quantity) * func.coalesce(Order.price, Trade.entry_price, 0)
    to_come = case(
        (Order.role != OrderRole.ENTRY, 0),
        (Trade.status.in_(UNFILLED_TRADE), Trade.collateral * Trade.leverage),
        else_=rest,
    )
    orders = (
        select(func.count().label("count"), func.sum(to_come).label("notional"))
        .select_from(Order)
        .join(Trade, Trade.id == Order.trade_id)
        .where(*mine, Order.role.in_([OrderRole.ENTRY, OrderRole.EXIT]), Order.status.in_(LIVE_ORDER))
        .subquery()
    )
    return select(trades, orders).join(orders, true())


_USAGE = _usage()
