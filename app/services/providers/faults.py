"""A venue that fails on purpose: any adapter, with what can go wrong at its edge let happen by a seeded chance."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from loguru import logger

from app.core.clock import Clock
from app.core.faults import FaultsInvalid
from app.domain.errors import MarqetError, ProviderTimeout
from app.domain.prices import Price
from app.domain.trading import (
    AccountRef,
    CloseParams,
    ExitParams,
    PairListing,
    TradeParams,
    TradeResult,
    VenueBalance,
    VenueFill,
    VenueFunding,
    VenueOutcome,
    VenuePosition,
    VenueRef,
)
from app.services.providers.base import BaseTradingProvider, OnFill, OnFunding

REASON = "FAULT_INJECTED"
# A late request lands so long before the venue would refuse it, at least.
MARGIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class FaultRates:
    """How often each fault happens, as a fraction of the requests that it can happen to.

    `reject`: a definite refusal. `timeout_before`: no answer, and the venue never hears of it. `timeout_after`: no
    answer, though it was done. `late`: no answer, and it lands later, before its deadline. `duplicate`: the answer's
    fills are told again. `refuse_close`: a definite refusal of a close. The first four are drawn together, so their
    sum is at most 1.
    """

    reject: float = 0.0
    timeout_before: float = 0.0
    timeout_after: float = 0.0
    late: float = 0.0
    duplicate: float = 0.0
    refuse_close: float = 0.0


def parse_rates(entries: Sequence[str]) -> FaultRates:
    """The rates of `name=fraction` entries; FaultsInvalid says which is wrong and how."""
    names = [field.name for field in fields(FaultRates)]
    rates: dict[str, float] = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        try:
            rate = float(text)
        except ValueError:
            rate = -1.0
        if name not in names or not 0 <= rate <= 1:
            raise FaultsInvalid(f"{entry} is none of {', '.join(names)}, each =0.0 to 1.0")
        rates[name] = rate
    found = FaultRates(**rates)
    if found.reject + found.timeout_before + found.timeout_after + found.late > 1:
        raise FaultsInvalid("reject, timeout_before, timeout_after and late together exceed 1")
    return found


class FaultyVenue(BaseTradingProvider):
    """Passes everything on to the venue behind it, but for what goes wrong; questions are always answered truly.

    Repeats itself for a seed and a sequence of requests, but for when late requests land. `rates` may be changed.
    """

    def __init__(self, venue: BaseTradingProvider, rates: FaultRates, seed: int, clock: Clock) -> None:
        self.venue = venue
        self.name = venue.name
        self.capabilities = venue.capabilities
        self.rates = rates
        self._clock = clock
        self._chance = random.Random(seed)  # noqa: S311 - faults shall come again with their seed
        self._landing: set[asyncio.Task[None]] = set()

    async def get_pairs(self) -> list[PairListing]:
        """The venue's."""
        return await self.venue.get_pairs()

    async def get_price(self, asset: str, quote: str) -> Price:
        """The venue's."""
        return await self.venue.get_price(asset, quote)

    async def open_trade(self, trade_params: TradeParams) -> TradeResult:
        """Refused, lost, late, told twice, or as the venue answers."""
        return await self._ask(
            trade_params.client_id, trade_params.not_after, lambda: self.venue.open_trade(trade_params)
        )

    async def close_trade(self, pair_id: int, index: str, params: CloseParams) -> TradeResult:
        """Likewise; a close is refused more often where `refuse_close` says so."""
        if self._chance.random() < self.rates.refuse_close:
            return _refusal(params.client_id)
        return await self._ask(
            params.client_id, params.not_after, lambda: self.venue.close_trade(pair_id, index, params)
        )

    async def place_exit(self, params: ExitParams) -> TradeResult:
        """Likewise."""
        return await self._ask(params.client_id, params.not_after, lambda: self.venue.place_exit(params))

    async def cancel_order(self, ref: VenueRef, client_id: int) -> TradeResult:
        """Likewise; a late cancel lands within a second, for it has no deadline."""
        soon = self._clock.now() + MARGIN + timedelta(seconds=1)
        return await self._ask(client_id, soon, lambda: self.venue.cancel_order(ref, client_id))

    async def query(self, ref: VenueRef, client_id: int) -> TradeResult | None:
        """The venue's."""
        return await self.venue.query(ref, client_id)

    async def open_positions(self, refs: Sequence[VenueRef]) -> list[VenuePosition]:
        """The venue's."""
        return await self.venue.open_positions(refs)

    async def fills_since(self, ref: VenueRef, since: datetime) -> list[VenueFill]:
        """The venue's."""
        return await self.venue.fills_since(ref, since)

    async def funding_since(self, ref: VenueRef, since: datetime) -> list[VenueFunding]:
        """The venue's."""
        return await self.venue.funding_since(ref, since)

    async def balance(self, account: AccountRef) -> VenueBalance:
        """The venue's."""
        return await self.venue.balance(account)

    async def ping(self) -> None:
        """The venue's."""
        await self.venue.ping()

    def on_fill(self, listener: OnFill) -> None:
        """Tell of the venue's fills, and of those that are told twice."""
        super().on_fill(listener)
        self.venue.on_fill(listener)

    def on_funding(self, listener: OnFunding) -> None:
        """Tell of the venue's fundings."""
        self.venue.on_funding(listener)

    async def landed(self) -> None:
        """Return once every late request has landed."""
        while self._landing:
            await asyncio.wait(self._landing)

    async def _ask(
        self, client_id: int, not_after: datetime, request: Callable[[], Awaitable[TradeResult]]
    ) -> TradeResult:
        drawn, rates = self._chance.random(), self.rates
        if drawn < rates.reject:
            return _refusal(client_id)
        drawn -= rates.reject
        if drawn < rates.timeout_before:
            raise ProviderTimeout(client_id=client_id)
        drawn -= rates.timeout_before
        if drawn < rates.timeout_after:
            await request()
            raise ProviderTimeout(client_id=client_id)
        drawn -= rates.timeout_after
        if drawn < rates.late:
            self._land_later(client_id, not_after, request)
            raise ProviderTimeout(client_id=client_id)
        result = await request()
        if self._chance.random() < rates.duplicate:
            for fill in result.fills:
                await self.tell(fill)
        return result

    def _land_later(self, client_id: int, not_after: datetime, request: Callable[[], Awaitable[TradeResult]]) -> None:
        left = max((not_after - MARGIN - self._clock.now()).total_seconds(), 0.0)
        task = asyncio.create_task(_land(client_id, left * self._chance.random(), request))
        self._landing.add(task)
        task.add_done_callback(self._landing.discard)


def with_faults(venue: BaseTradingProvider, entries: Sequence[str], seed: int, clock: Clock) -> BaseTradingProvider:
    """The venue with the faults of `name=fraction` entries; itself without any. FaultsInvalid as parse_rates."""
    return FaultyVenue(venue, parse_rates(entries), seed, clock) if entries else venue


def _refusal(client_id: int) -> TradeResult:
    return TradeResult(client_id, VenueOutcome.REJECTED, reason=REASON)


async def _land(client_id: int, seconds: float, request: Callable[[], Awaitable[TradeResult]]) -> None:
    await asyncio.sleep(seconds)
    try:
        await request()
    except MarqetError as error:
        logger.info("Late request {client_id} came to nothing: {why}", client_id=client_id, why=error.message)
