"""The venue interface: what every trading provider implements, whatever its wire format."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

from app.domain.prices import Price, Quote, Tick
from app.domain.trading import (
    AccountRef,
    CloseParams,
    ExitParams,
    PairListing,
    TradeParams,
    TradeResult,
    VenueBalance,
    VenueCapabilities,
    VenueFill,
    VenueFunding,
    VenueOutcome,
    VenuePosition,
    VenueRef,
)

type OnFill = Callable[[VenueFill], Awaitable[None]]
type OnFunding = Callable[[VenueFunding], Awaitable[object]]


# Says to whoever runs a matching venue that another process has traded there.
VENUE_TOPIC = "venue.changed"


class QuoteBoard(Protocol):
    """The last ticks that this process has seen."""

    def latest(self, pair_id: int) -> Quote | None:
        """The pair's last tick; None before the first."""
        ...

    def kept(self, pair_id: int, after_sequence: int) -> Sequence[Tick]:
        """The pair's ticks of the last 120 s with a higher sequence, ascending."""
        ...


class EngineBoard(QuoteBoard, Protocol):
    """The ticks of this process, as their order engine commands them."""

    def restart(self) -> None:
        """Forget the ticks taken and read every feed anew from its checkpoints, once the gates let it."""
        ...


class Match(Protocol):
    """Something a tick did inside a venue that matches by itself: a funding, a liquidation or a fill of an order."""

    @property
    def pair_id(self) -> int:
        """The pair it happened on."""
        ...

    @property
    def sequence(self) -> int:
        """The tick that did it."""
        ...


class MatchingVenue(Protocol):
    """A venue whose matching runs in our process (paper): ticks are shown to it before the order engine sees them."""

    @property
    def name(self) -> str:
        """The venue's name."""
        ...

    def on_tick(self, tick: Tick) -> Sequence[Match]:
        """Judge one tick, synchronously; what it did leaves the venue's book and must be booked in order."""
        ...

    async def book(self, matches: Sequence[Match]) -> list[VenueFill]:
        """Book matches in the venue's own tables, each at most once; the fills, in order."""
        ...

    async def load(self, pair_ids: Sequence[int]) -> Sequence[Match]:
        """Read the open positions and resting orders of pairs into the book; what kept ticks already did."""
        ...

    def unload(self) -> None:
        """Judge ticks no longer: another process does."""
        ...

    async def catch_up(self) -> None:
        """Take up what other processes have traded lately."""
        ...

    def on_late_match(self, listener: Callable[[Sequence[Match]], None]) -> None:
        """Register who is told of what kept ticks did to something added after them."""
        ...


class BaseTradingProvider(ABC):
    """One venue. Effects are asked for under a client id and may settle later than they are accepted.

    `open_trade`, `close_trade` and `cancel_order` raise ProviderTimeout when the outcome is unknown, Unavailable
    when nothing was sent, and otherwise return the venue's word; a refusal is a result, not an exception.
    They must not be called inside a database transaction.
    """

    name: str
    capabilities: VenueCapabilities

    @abstractmethod
    async def get_pairs(self) -> list[PairListing]:
        """List every pair the venue trades."""

    @abstractmethod
    async def get_price(self, asset: str, quote: str) -> Price:
        """Answer the venue's current price of a pair; NotFound for an unknown one."""

    @abstractmethod
    async def open_trade(self, trade_params: TradeParams) -> TradeResult:
        """Ask the venue to open a position, once, before `not_after`."""

    @abstractmethod
    async def close_trade(self, pair_id: int, index: str, params: CloseParams) -> TradeResult:
        """Ask the venue to reduce the position `index` of a pair by `params.size`, once, before `not_after`."""

    async def place_exit(self, params: ExitParams) -> TradeResult:
        """Ask the venue to hold a reduce-only exit, once, before `not_after`: RESTING until a level is reached.

        It ends with its position, is cancelled by `cancel_order`, and asked about by `query`. REJECTED as
        NOT_SUPPORTED by a venue without `native_exits`.
        """
        return TradeResult(params.client_id, VenueOutcome.REJECTED, reason="NOT_SUPPORTED")

    @abstractmethod
    async def cancel_order(self, ref: VenueRef, client_id: int) -> TradeResult:
        """Ask the venue to take a resting order off; the result is what the order became."""

    @abstractmethod
    async def query(self, ref: VenueRef, client_id: int) -> TradeResult | None:
        """The venue's word on a client id; None when it knows none, which proves nothing until `not_after`."""

    @abstractmethod
    async def open_positions(self, refs: Sequence[VenueRef]) -> list[VenuePosition]:
        """Every open position of the accounts named."""

    @abstractmethod
    async def fills_since(self, ref: VenueRef, since: datetime) -> list[VenueFill]:
        """Executions of one account and pair from `since` on, oldest first, liquidations included."""

    async def funding_since(self, ref: VenueRef, since: datetime) -> list[VenueFunding]:
        """Fundings of one account and pair at instants from `since` on, oldest first; none where the venue has none."""
        return []

    @abstractmethod
    async def balance(self, account: AccountRef) -> VenueBalance:
        """The account's money."""

    @abstractmethod
    async def ping(self) -> None:
        """Raise Unavailable when the venue cannot be reached."""

    def on_fill(self, listener: OnFill) -> None:
        """Register who is told of fills that were not answers to a call (resting orders, liquidations).

        A lost call is no harm: settlement asks for what it has not heard of.
        """
        self._listener = listener

    def on_funding(self, listener: OnFunding) -> None:
        """Register who is told of fundings; a lost call is no harm likewise."""
        self._funding_listener = listener

    async def tell(self, word: VenueFill | VenueFunding) -> None:
        """Tell who listens of a fill or a funding."""
        if isinstance(word, VenueFill):
            if self._listener is not None:
                await self._listener(word)
        elif self._funding_listener is not None:
            await self._funding_listener(word)

    _listener: OnFill | None = None
    _funding_listener: OnFunding | None = None
