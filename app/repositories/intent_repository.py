"""Questions about intents: effects on venues, written before they are sent."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import ARRAY, BigInteger, CursorResult, Interval, Select, any_, bindparam, func, select, update
from sqlalchemy.orm import aliased
from sqlalchemy.orm.attributes import set_committed_value

from app.domain.enums import IntentKind, IntentStatus, OrderStatus, TradeStatus
from app.domain.lifecycle import INTENT_MOVES, ORDER_MOVES, TRADE_MOVES, advance
from app.models.trading import Intent, Order, Trade
from app.repositories.base import LifecycleRepository, insert_all


class Waiting(NamedTuple):
    """An intent that nobody has sent."""

    id: int
    trade_id: int
    venue_account_id: int


class Effect(NamedTuple):
    """An intent, and the order and the trade that it is about, both locked."""

    intent: Intent
    order: Order
    trade: Trade


class IntentRepository(LifecycleRepository[Intent, IntentStatus]):
    """Questions about intents."""

    model = Intent
    moves = INTENT_MOVES

    async def rows(self, ids: Sequence[int]) -> Sequence[Intent]:
        """Intents by id, in id order."""
        return await self.all_of(select(Intent).where(Intent.id.in_(ids)).order_by(Intent.id))

    async def waiting(self, ids: Sequence[int]) -> dict[int, Waiting]:
        """Those of the ids that nobody has sent, by id."""
        rows = await self.session.execute(_WAITING, {"ids": ids})
        return {row.id: Waiting(row.id, row.trade_id, row.venue_account_id) for row in rows}

    async def settled_among(self, ids: Sequence[int]) -> Sequence[int]:
        """The orders of those of the ids whose venue has said its last word, or that were withdrawn."""
        ended = (IntentStatus.DONE, IntentStatus.REJECTED)
        query = select(Intent.order_id).where(Intent.id.in_(ids), Intent.status.in_(ended))
        return (await self.session.scalars(query)).all()

    async def effect(self, intent_id: int, *, skip: bool) -> Effect | None:
        """An intent with its order and trade locked; None where `skip` passes over rows that others hold.

        The rows are as they are now, but for the intent's: that was read before the locks were had.
        """
        rows = await self.session.execute(_FREE_EFFECT if skip else _EFFECT, {"intent_id": intent_id})
        row = rows.one_or_none()
        return None if row is None else Effect(*row)

    async def with_orders(self, intent_id: int) -> tuple[Intent, list[Order]]:
        """An intent as it is now, and the orders of its trade, locked, oldest first; the trade is locked already.

        The intent is not locked: its status moves under its trade's lock alone.
        """
        rows = (await self.session.execute(_WITH_ORDERS, {"intent_id": intent_id})).all()
        return rows[0][0], [order for _, order in rows]

    async def add_all(self, intents: Sequence[Intent]) -> None:
        """Insert intents in one statement and read back their ids."""
        await insert_all(self.session, intents)

    async def take_for_sending(
        self, intent_id: int, life: timedelta, check_after: timedelta, *, moves: Sequence[Order | Trade] = ()
    ) -> Intent | None:
        """Move an intent from new to sent, by one taker only; with it move its locked order and trade to submitted.

        Returns it as it is now, or None where another was faster. It may land until now + `life` at the latest;
        `check_after` says when settlement may ask the venue about it.
        """
        targets = [(row, _submitted(row)) for row in moves]
        moved = frozenset(type(row) for row in moves)
        given = {"intent_id": intent_id, "life": life, "check_after": check_after}
        taken = await self.session.scalar(_take_statement(moved), given)
        for row, status in targets if taken is not None else ():
            set_committed_value(row, "status", status)
        return taken

    async def due(self, statuses: Sequence[IntentStatus], limit: int) -> Sequence[Intent]:
        """Intents of the statuses whose time has come, the longest due first."""
        query = select(Intent).where(Intent.status.in_(statuses), Intent.next_run_at <= func.clock_timestamp())
        return await self.all_of(query.order_by(Intent.next_run_at, Intent.id).limit(limit))

    async def ask_now(self, provider: str, status: IntentStatus) -> None:
        """Let a venue's intents of a status be asked about at once, since what it told may have been lost."""
        await self.session.execute(
            update(Intent)
            .where(Intent.provider == provider, Intent.status == status)
            .values(next_run_at=func.clock_timestamp())
        )

    async def postpone(self, intent_id: int, delay: timedelta) -> None:
        """Ask again later."""
        await self.session.execute(
            update(Intent).where(Intent.id == intent_id).values(next_run_at=func.clock_timestamp() + delay)
        )

    async def of_part_filled(self, trade_ids: Sequence[int]) -> Sequence[Intent]:
        """The openings of trades whose entry filled in part and can fill on, by id."""
        query = (
            select(Intent)
            .join(Order, Order.id == Intent.order_id)
            .where(
                Order.trade_id.in_(trade_ids),
                Order.status == OrderStatus.PARTIALLY_FILLED,
                Intent.kind == IntentKind.OPEN,
                Intent.status.in_((IntentStatus.SENT, IntentStatus.RESTING)),
            )
        )
        return await self.all_of(query.order_by(Intent.id))

    async def unknown_for(self, long: timedelta) -> Sequence[int]:
        """The ids of intents that were sent so long ago, and of which nothing is known since."""
        query = select(Intent.id).where(Intent.status == IntentStatus.SENT)
        found = await self.session.scalars(query.where(Intent.sent_at < func.clock_timestamp() - long))
        return found.all()

    @staticmethod
    def due_in(delay: timedelta) -> Any:
        """The instant so long from now by the database's clock, to be written as `next_run_at`."""
        return func.clock_timestamp() + delay

    async def is_closing(self, trade_id: int) -> bool:
        """Whether a closing effect of a trade is in flight."""
        live = (IntentStatus.NEW, IntentStatus.SENT)
        query = select(Intent.id).where(Intent.trade_id == trade_id, Intent.kind == IntentKind.CLOSE)
        return await self.session.scalar(query.where(Intent.status.in_(live)).limit(1)) is not None

    async def now(self) -> datetime:
        """The database's clock, by which `not_after` is set."""
        instant: datetime = (await self.session.scalars(select(func.clock_timestamp()))).one()
        return instant

    async def live_of_order(self, order_id: int, kind: IntentKind) -> Intent | None:
        """The intent of an order that has not ended, newest attempt first."""
        live = (IntentStatus.NEW, IntentStatus.SENT, IntentStatus.RESTING)
        query = select(Intent).where(Intent.order_id == order_id, Intent.kind == kind, Intent.status.in_(live))
        return await self.session.scalar(query.order_by(Intent.attempt.desc()).limit(1))

    async def withdraw_unsent(self, trade_id: int, reason: str, kind: IntentKind) -> bool:
        """Reject a trade's intents of a kind that nobody has sent; whether there was one.

        The trade and its orders are locked by the caller.
        """
        statement = (
            update(Intent)
            .where(Intent.trade_id == trade_id, Intent.kind == kind, Intent.status == IntentStatus.NEW)
            .values(status=IntentStatus.REJECTED, reason=reason, next_run_at=None)
        )
        result = cast(CursorResult[Any], await self.session.execute(statement))
        return result.rowcount > 0


# Made once: making a statement costs more than sending it.
_AS_IT_IS = {"populate_existing": True}
_ONE = Intent.id == bindparam("intent_id", type_=BigInteger())
_NEW = (Intent.id == any_(bindparam("ids", type_=ARRAY(BigInteger()))), Intent.status == IntentStatus.NEW)
_WAITING = select(Intent.id, Intent.trade_id, Intent.venue_account_id).where(*_NEW)
_ABOUT = (
    select(Intent, Order, Trade)
    .join(Order, Order.id == Intent.order_id)
    .join(Trade, Trade.id == Intent.trade_id)
    .where(_ONE)
    .execution_options(**_AS_IT_IS)
)
_EFFECT = _ABOUT.with_for_update(of=[Trade, Order])
_FREE_EFFECT = _ABOUT.with_for_update(of=[Trade, Order], skip_locked=True)
_WITH_ORDERS = (
    select(Intent, Order)
    .join(Order, Order.trade_id == Intent.trade_id)
    .where(_ONE)
    .order_by(Order.id)
    .with_for_update(of=Order)
    .execution_options(**_AS_IT_IS)
)
_NOW = func.clock_timestamp()
_SUBMITTED = {Order: OrderStatus.SUBMITTED, Trade: TradeStatus.SUBMITTED}


def _submitted(row: Order | Trade) -> OrderStatus | TradeStatus:
    """The status of a row that is on its way; InvalidTransition where its lifecycle does not lead there."""
    if isinstance(row, Order):
        return advance(ORDER_MOVES, row.status, OrderStatus.SUBMITTED)
    return advance(TRADE_MOVES, row.status, TradeStatus.SUBMITTED)


@cache
def _take_statement(moved: frozenset[type[Order | Trade]]) -> Select[Intent]:
    """new -> sent of one intent, and -> submitted of its order, its trade, or both, which are locked."""
    change = update(Intent).where(_ONE, Intent.status == IntentStatus.NEW)
    values = {
        "status": IntentStatus.SENT,
        "sent_at": _NOW,
        "not_after": func.least(Intent.not_after, _NOW + bindparam("life", type_=Interval())),
        "next_run_at": _NOW + bindparam("check_after", type_=Interval()),
    }
    taken = change.values(values).returning(*Intent.__table__.columns).cte("taken")
    about = {Order: taken.c.order_id, Trade: taken.c.trade_id}
    query = select(aliased(Intent, taken)).execution_options(**_AS_IT_IS)
    for model in moved:
        submitted = update(model).where(model.id == about[model]).values(status=_SUBMITTED[model], updated_at=_NOW)
        query = query.add_cte(submitted.cte(f"moved_{model.__tablename__}"))
    return query
