"""Questions about trades."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import NamedTuple, cast

from sqlalchemy import BigInteger, Table, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import aliased

from app.domain.enums import TradeStatus
from app.domain.lifecycle import OPEN_TRADE, TRADE_MOVES
from app.models.market import AccountPair
from app.models.trading import Intent, Order, Trade
from app.repositories.base import LifecycleRepository


class Realised(NamedTuple):
    """What trades have come to, in USDC; `funding` is negative where it was paid."""

    pnl: Decimal
    fees: Decimal
    funding: Decimal


class TradeRepository(LifecycleRepository[Trade, TradeStatus]):
    """Questions about trades; every one about a user's names the user."""

    model = Trade
    moves = TRADE_MOVES

    async def next_index(self, venue_account_id: int, pair_id: int) -> int:
        """Lock (venue account, pair) and take its next trade index, counting from 0, never reused."""
        first = {"venue_account_id": venue_account_id, "pair_id": pair_id, "next_trade_index": 1}
        taken = await self.session.scalar(_NEXT_INDEX, first)
        return (taken or 1) - 1

    async def locked_of(self, intent_id: int) -> Trade | None:
        """The trade that an intent is about as it is now, locked."""
        return await self.session.scalar(_OF_INTENT, {"intent_id": intent_id})

    async def of_order(self, user_id: int, order_id: int) -> tuple[Trade, list[Order]] | None:
        """The trade that a user's order is about with all its orders, oldest first, as of one moment."""
        rows = (await self.session.execute(_OF_ORDER, {"user_id": user_id, "order_id": order_id})).all()
        return (rows[0][0], [order for _, order in rows]) if rows else None

    async def owned(self, user_id: int, trade_id: int) -> Trade | None:
        """A user's trade by id."""
        return await self.session.scalar(select(Trade).where(Trade.id == trade_id, Trade.user_id == user_id))

    async def among(self, user_id: int, trade_ids: Collection[int]) -> Sequence[Trade]:
        """Those of the ids that are trades of the user, by id."""
        query = select(Trade).where(Trade.user_id == user_id, Trade.id.in_(trade_ids))
        return await self.all_of(query.order_by(Trade.id))

    async def at(self, user_id: int, pair_id: int, trade_index: int, *, lock: bool = False) -> Trade | None:
        """A user's trade by pair and index, locked when asked."""
        query = select(Trade).where(
            Trade.user_id == user_id, Trade.pair_id == pair_id, Trade.trade_index == trade_index
        )
        if lock:
            query = query.with_for_update().execution_options(populate_existing=True)
        return await self.session.scalar(query)

    async def opened_apart(self, provider: str) -> int:
        """How many accounts of a venue hold several positions of one market, as none does that nets."""
        positions = func.count(Trade.venue_trade_index.distinct())
        held = select(Trade.venue_account_id).where(Trade.provider == provider, Trade.status.in_(OPEN_TRADE))
        apart = held.group_by(Trade.venue_account_id, Trade.pair_id).having(positions > 1).subquery()
        query = select(func.count(apart.c.venue_account_id.distinct()))
        return await self.session.scalar(query) or 0

    async def of_user(
        self, user_id: int, *, statuses: Sequence[TradeStatus] | None, before: int | None, limit: int
    ) -> Sequence[Trade]:
        """A user's trades, newest first, of the statuses named (all when there is none)."""
        query = select(Trade).where(Trade.user_id == user_id)
        if statuses:
            return await self.page_of_statuses(query, statuses, before=before, limit=limit)
        return await self.page(query, before=before, limit=limit)

    async def open_at_venue(self, provider: str) -> Sequence[Trade]:
        """Every trade of a venue that is open or closing, by id."""
        query = select(Trade).where(Trade.provider == provider, Trade.status.in_(OPEN_TRADE))
        return await self.all_of(query.order_by(Trade.id))

    async def realised(self, user_id: int, provider: str) -> Realised:
        """What a user's trades at a venue have come to, in USDC, over all of them."""
        query = select(*(func.coalesce(func.sum(column), 0) for column in (Trade.pnl, Trade.fees, Trade.funding)))
        sums = (await self.session.execute(query.where(Trade.user_id == user_id, Trade.provider == provider))).one()
        return Realised(*map(Decimal, sums))

    async def has_unfinished(self, user_id: int, provider: str) -> bool:
        """Whether a user has any trade at a venue that has not ended."""
        live = [TradeStatus.PENDING, TradeStatus.SUBMITTED, *OPEN_TRADE]
        query = select(func.count()).where(Trade.user_id == user_id, Trade.provider == provider, Trade.status.in_(live))
        return bool(await self.session.scalar(query))

    async def all_by_venue_index(self, venue_account_id: int, venue_trade_index: str) -> Sequence[Trade]:
        """The open trades that a venue knows by one index of its own, oldest first: several where it nets them."""
        query = select(Trade).where(
            Trade.venue_account_id == venue_account_id,
            Trade.venue_trade_index == venue_trade_index,
            Trade.status.in_(OPEN_TRADE),
        )
        return await self.all_of(query.order_by(Trade.id))

    async def lock_pair(self, venue_account_id: int, pair_id: int) -> None:
        """Lock (venue account, pair) until the end of the transaction: its trades become neither more nor other."""
        await self.session.execute(
            select(AccountPair.pair_id)
            .where(AccountPair.venue_account_id == venue_account_id, AccountPair.pair_id == pair_id)
            .with_for_update()
        )

    async def open_on_pair(self, venue_account_id: int, pair_id: int) -> Sequence[int]:
        """The ids of the open trades of (venue account, pair), oldest first."""
        query = select(Trade.id).where(
            Trade.venue_account_id == venue_account_id, Trade.pair_id == pair_id, Trade.status.in_(OPEN_TRADE)
        )
        return (await self.session.scalars(query.order_by(Trade.id))).all()


# Made once: making a statement costs more than sending it.
_NEXT_INDEX = (
    upsert(cast(Table, AccountPair.__table__))
    .on_conflict_do_update(
        index_elements=[AccountPair.venue_account_id, AccountPair.pair_id],
        set_={"next_trade_index": AccountPair.next_trade_index + 1},
    )
    .returning(AccountPair.next_trade_index)
)
_OF_INTENT = (
    select(Trade)
    .where(
        Trade.id
        == select(Intent.trade_id).where(Intent.id == bindparam("intent_id", type_=BigInteger())).scalar_subquery()
    )
    .with_for_update()
    .execution_options(populate_existing=True)
)
_NAMED = aliased(Order)
_OF_ORDER = (
    select(Trade, Order)
    .join(Order, Order.trade_id == Trade.id)
    .join(_NAMED, _NAMED.trade_id == Trade.id)
    .where(
        _NAMED.id == bindparam("order_id", type_=BigInteger()),
        _NAMED.user_id == bindparam("user_id", type_=BigInteger()),
        Trade.user_id == _NAMED.user_id,
    )
    .order_by(Order.id)
)
