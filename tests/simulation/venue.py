"""What goes wrong between us and the venue: refusals, lost answers, requests that arrive when nobody expects them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.trading import TradeResult
from app.services.providers.base import BaseTradingProvider
from app.services.providers.faults import FaultRates, FaultyVenue
from tests.simulation.clock import SimulatedClock

# Some arrive after their deadline, and are refused.
LATEST_SECONDS = 14.0
CALM = FaultRates()
ROUGH = FaultRates(reject=0.04, timeout_before=0.04, timeout_after=0.08, late=0.15, duplicate=0.15, refuse_close=0.1)


@dataclass
class LateRequest:
    """A request that is on its way, whatever becomes of the process that sent it."""

    lands_at: datetime
    sender: "RoughVenue"
    request: Callable[[], Awaitable[TradeResult]]

    async def land(self, venue: BaseTradingProvider) -> None:
        """It arrives, at the venue as some living process reaches it."""
        own, self.sender.venue = self.sender.venue, venue
        try:
            await self.request()
        finally:
            self.sender.venue = own


class RoughVenue(FaultyVenue):
    """A venue that fails by the seed; what is late arrives when the world says so."""

    def __init__(
        self,
        venue: BaseTradingProvider,
        rates: FaultRates,
        seed: int,
        clock: SimulatedClock,
        on_their_way: list[LateRequest],
    ) -> None:
        super().__init__(venue, rates, seed, clock)
        self._on_their_way = on_their_way

    def _land_later(self, client_id: int, not_after: datetime, request: Callable[[], Awaitable[TradeResult]]) -> None:
        seconds = LATEST_SECONDS * self._chance.random()
        self._on_their_way.append(LateRequest(self._clock.now() + timedelta(seconds=seconds), self, request))
