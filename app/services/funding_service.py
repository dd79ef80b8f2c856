"""Books the fundings that venues tell of: each once, on the trade and the position that paid or received it."""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from datetime import timedelta
from typing import Protocol

from loguru import logger

from app.domain.events import EventType, position_event, trade_event
from app.domain.lifecycle import OPEN_TRADE
from app.domain.money import ZERO
from app.domain.shares import FundingShare, pro_rata, share_funding
from app.domain.trading import VenueFunding, VenueRef
from app.models.market import Pair
from app.models.trading import Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.providers.base import BaseTradingProvider

# Feed time may stand before the database's clock; what is booked already is not booked again.
ALLOWANCE = timedelta(days=1)
LATELY = timedelta(hours=1)


class Pairs(Protocol):
    """Finds pairs."""

    def by_id(self, pair_id: int) -> Pair:
        """The pair; NotFound for an unknown id."""
        ...


class Venues(Protocol):
    """Finds venues."""

    def get_provider(self, name: str) -> Awaitable[BaseTradingProvider]:
        """The venue; NotFound for an unknown name."""
        ...


class FundingService:
    """Fundings come by the venue's word, or are found by asking; either way they are booked once.

    Trades that the venue nets share what their position paid by size, the oldest first, to the last base unit.
    """

    def __init__(self, uow: UnitOfWorkFactory, venues: Venues, pairs: Pairs) -> None:
        self._uow = uow
        self._venues = venues
        self._pairs = pairs

    async def book(self, funding: VenueFunding) -> bool:
        """Book one funding; False where it is booked already, or its trade is not known yet.

        Positions take over margin and liquidation price while their size is still the funded one: a fill that was
        booked since has told newer ones.
        """
        async with self._uow() as work:
            ids = await work.fundings.trades_of(funding.venue_account_id, funding.venue_trade_index)
            trades = await work.trades.locked(ids)
            if not trades or await work.fundings.is_booked(funding):
                return False
            held = [trade for trade in trades.values() if trade.status in OPEN_TRADE and trade.size]
            shares = share_funding(funding.amount, funding.size, [(trade.id, trade.size) for trade in held])
            if not held:
                shares = [FundingShare(max(trades), funding.size, funding.amount)]
            for share in shares:
                await work.fundings.add_share(share.trade_id, funding, share.size, share.amount)
                trades[share.trade_id].funding += share.amount
                work.emit(trade_event(EventType.TRADE_UPDATED, trades[share.trade_id], "funding"))
            await _take_over(work, funding, held, {share.trade_id for share in shares})
            return True

    async def catch_up(self, trade: Trade) -> int:
        """Ask the venue for the fundings of a trade that are not booked, and book them; how many were new."""
        if trade.venue_trade_index is None:
            return 0
        pair = self._pairs.by_id(trade.pair_id)
        ref = VenueRef(trade.user_id, trade.venue_account_id, pair.id, pair.venue_pair_id)
        async with self._uow() as work:
            since = await work.fundings.last_instant(trade.id) or trade.created_at - ALLOWANCE
        venue = await self._venues.get_provider(trade.provider)
        fundings = [
            funding
            for funding in await venue.funding_since(ref, since)
            if funding.venue_trade_index == trade.venue_trade_index
        ]
        return sum([await self.book(funding) for funding in fundings])

    async def catch_up_all(self, venue: str) -> int:
        """Catch up every trade of a venue that is open, or was within the last hour; how many fundings were new.

        A trade whose fundings cannot be asked for or booked is told in the log, and tried again by the next pass.
        """
        async with self._uow() as work:
            trades = await work.fundings.trades_to_catch_up(venue, LATELY)
        count = 0
        for trade in trades:
            (outcome,) = await asyncio.gather(self.catch_up(trade), return_exceptions=True)
            if isinstance(outcome, BaseException):
                logger.opt(exception=outcome).error("Cannot catch up the fundings of trade {trade}", trade=trade.id)
            else:
                count += outcome
        return count


async def _take_over(work: UnitOfWork, funding: VenueFunding, held: Sequence[Trade], paying: Collection[int]) -> None:
    """Bring the position rows of open trades to what the venue holds after a funding; the newest has the exact rest."""
    sizes = [trade.size for trade in held]
    is_latest = sum(sizes, ZERO) == funding.size
    for trade, margin in zip(held, pro_rata(funding.margin_left, sizes), strict=True):
        position = await work.positions.of_trade(trade.id)
        if position is None or not (is_latest or trade.id in paying):
            continue
        if is_latest:
            position.margin, position.liquidation_price = margin, funding.liquidation_price
        work.emit(position_event(position, "funding"))
