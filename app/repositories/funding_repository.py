"""Fundings as they are booked on our side: each (trade, instant) once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import exists, func, select

from app.domain.lifecycle import OPEN_TRADE
from app.domain.trading import VenueFunding
from app.models.trading import FundingPayment, Trade
from app.repositories.base import Repository


class FundingRepository(Repository[FundingPayment]):
    """Questions about fundings."""

    model = FundingPayment

    async def trades_of(self, venue_account_id: int, venue_trade_index: str) -> Sequence[int]:
        """The ids of the trades that have, or had, a position of a venue; oldest first."""
        query = select(Trade.id).where(
            Trade.venue_account_id == venue_account_id, Trade.venue_trade_index == venue_trade_index
        )
        return (await self.session.scalars(query.order_by(Trade.id))).all()

    async def is_booked(self, funding: VenueFunding) -> bool:
        """Whether any trade of a position has a funding; final where the caller holds all of its trades."""
        found = exists().where(
            FundingPayment.venue_account_id == funding.venue_account_id,
            FundingPayment.venue_trade_index == funding.venue_trade_index,
            FundingPayment.instant == funding.instant,
        )
        return bool(await self.session.scalar(select(found)))

    async def add_share(self, trade_id: int, funding: VenueFunding, size: Decimal, amount: Decimal) -> None:
        """Write what a trade has of a funding: for `size` in base units, `amount` in USDC."""
        await self.add(
            FundingPayment(
                trade_id=trade_id,
                venue_account_id=funding.venue_account_id,
                venue_trade_index=funding.venue_trade_index,
                instant=funding.instant,
                amount=amount,
                rate=funding.rate,
                size=size,
                mark_price=funding.mark_price,
            )
        )

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
