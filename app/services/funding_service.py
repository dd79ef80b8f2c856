"""Books the fundings that venues tell of: each once, on the trade and the position that paid or received it."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Protocol

from app.domain.events import position_event
from app.domain.lifecycle import OPEN_TRADE
from app.domain.trading import VenueFunding, VenueRef
from app.models.market import Pair
from app.models.trading import Trade
from app.repositories.unit_of_work import UnitOfWorkFactory
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
    """Fundings come by the venue's word, or are found by asking; either way they are booked once."""

    def __init__(self, uow: UnitOfWorkFactory, venues: Venues, pairs: Pairs) -> None:
        self._uow = uow
        self._venues = venues
        self._pairs = pairs

    async def book(self, funding: VenueFunding) -> bool:
        """Book one funding; False where it is booked already, or its trade is not known yet.

        The position takes over margin and liquidation price while its size is still the funded one: a fill that was
        booked since has told newer ones.
        """
        async with self._uow() as work:
            found = await work.fundings.trade_of(funding.venue_account_id, funding.venue_trade_index)
            if found is None:
                return False
            trade = (await work.trades.locked([found.id]))[found.id]
            if not await work.fundings.add_once(trade.id, funding):
                return False
            trade.funding += funding.amount
            position = await work.positions.of_trade(trade.id)
            if position is None or trade.status not in OPEN_TRADE:
                return True
            if position.size == funding.size:
                position.margin = funding.margin_left
                position.liquidation_price = funding.liquidation_price
            work.emit(position_event(position, "funding"))
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
        """Catch up every trade of a venue that is open, or was within the last hour; how many fundings were new."""
        async with self._uow() as work:
            trades = await work.fundings.trades_to_catch_up(venue, LATELY)
        return sum([await self.catch_up(trade) for trade in trades])
