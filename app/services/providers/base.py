"""The venue interface: what every trading provider implements, whatever its wire format."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from app.domain.prices import Price
from app.domain.trading import (
    CloseParams,
    PairListing,
    TradeParams,
    TradeResult,
    VenueBalance,
    VenueCapabilities,
    VenueFill,
    VenuePosition,
    VenueRef,
)

type OnFill = Callable[[VenueFill], Awaitable[None]]


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

    @abstractmethod
    async def balance(self, ref: VenueRef) -> VenueBalance:
        """The account's money."""

    @abstractmethod
    async def ping(self) -> None:
        """Raise Unavailable when the venue cannot be reached."""

    def on_fill(self, listener: OnFill) -> None:
        """Register who is told of fills that were not answers to a call (resting orders, liquidations).

        A lost call is no harm: settlement asks for what it has not heard of.
        """
        self._listener = listener

    _listener: OnFill | None = None
