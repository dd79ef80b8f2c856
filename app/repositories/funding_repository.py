"""Fundings as they are booked on our side: each (venue account, venue's index, instant) once."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.lifecycle import OPEN_TRADE
from app.domain.trading import VenueFunding
from app.models.trading import FundingPayment, Trade
from app.repositories.base import Repository


class FundingRepository(Repository[FundingPayment]):
    """Questions about fundings."""

    model = FundingPayment

    async def trade_of(self, venue_account_id: int, venue_trade_index: str) -> Trade | None:
        """The trade that a funding belongs to: the oldest open one of the position, else the last that had it."""
        query = select(Trade).where(
            Trade.venue_account_id == venue_account_id, Trade.venue_trade_index == venue_trade_index
        )
        is_open = Trade.status.in_(OPEN_TRADE)
        return await self.session.scalar(query.order_by(is_open.desc(), Trade.id).limit(1))

    async def add_once(self, trade_id: int, funding: VenueFunding) -> bool:
        """Write a funding unless it is booked already; whether it was new."""
        statement = upsert(FundingPayment).values(
            trade_id=trade_id,
            venue_account_id=funding.venue_account_id,
            venue_trade_index=funding.venue_trade_index,
            instant=funding.instant,
            amount=funding.amount,
            rate=funding.rate,
            size=funding.size,
            mark_price=funding.mark_price,
        )
        return await self.session.scalar(statement.on_conflict_do_nothing().returning(FundingPayment.id)) is not None

    async def of_trade(self, trade_id: int) -> Sequence[FundingPayment]:
        """The fundings of a trade, by their instants."""
        query = select(FundingPayment).where(FundingPayment.trade_id == trade_id)
        return await self.all_of(query.order_by(FundingPayment.instant))

    async def last_instant(self, trade_id: int) -> datetime | None:
        """The last instant that is booked of a trade."""
        query = select(func.max(FundingPayment.instant)).where(FundingPayment.trade_id == trade_id)
        return await self.session.scalar(query)

    async def trades_to_catch_up(self, provider: str, lately: timedelta) -> Sequence[Trade]:
        """The trades of a venue that are open, or were until lately, by id."""
        ended = Trade.closed_at > func.clock_timestamp() - lately
        query = select(Trade).where(Trade.provider == provider, Trade.status.in_(OPEN_TRADE) | ended)
        return (await self.session.scalars(query.order_by(Trade.id))).all()
