"""Questions about trades."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.enums import TradeStatus
from app.domain.lifecycle import OPEN_TRADE, TRADE_MOVES
from app.models.market import AccountPair
from app.models.trading import Trade
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
        row = upsert(AccountPair).values(venue_account_id=venue_account_id, pair_id=pair_id, next_trade_index=1)
        taken = await self.session.scalar(
            row.on_conflict_do_update(
                index_elements=[AccountPair.venue_account_id, AccountPair.pair_id],
                set_={"next_trade_index": AccountPair.next_trade_index + 1},
            ).returning(AccountPair.next_trade_index)
        )
        return (taken or 1) - 1

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
