"""What goes to a venue and what comes back: the terms of trades, closes and their results."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.domain.enums import Category, OrderSide, OrderType, PositionSide
from app.domain.prices import PROTECT_LIMIT


@dataclass(frozen=True, slots=True)
class PairListing:
    """A pair as a venue lists it; steps in quote and base units, rates as fractions."""

    venue_pair_id: str
    symbol: str
    base: str
    quote: str
    category: Category
    price_step: Decimal
    size_step: Decimal
    min_leverage: int
    max_leverage: int
    min_collateral: Decimal
    max_collateral: Decimal
    taker_fee_rate: Decimal
    maintenance_margin_rate: Decimal
    market_hours: str = "always"
    aliases: tuple[str, ...] = ()
    price_protect_limit: Decimal = PROTECT_LIMIT


@dataclass(frozen=True, slots=True)
class VenueCapabilities:
    """What a venue can do, stated by its adapter.

    netting: one position per (account, pair). native_exits: it holds stops and take-profits itself.
    drops_duplicates: the same bytes sent again before `not_after` are executed once.
    """

    netting: bool = False
    native_exits: bool = False
    drops_duplicates: bool = False


@dataclass(frozen=True, slots=True)
class AccountRef:
    """A user's account at a venue, in our ids."""

    user_id: int
    venue_account_id: int


@dataclass(frozen=True, slots=True)
class VenueRef(AccountRef):
    """Where an effect goes: the user's account and the pair, in our ids and the venue's."""

    pair_id: int
    venue_pair_id: str


@dataclass(frozen=True, slots=True)
class TradeParams:
    """An opening order. `collateral` in USDC; size follows from collateral x leverage / entry.

    `client_id` makes it unique at the venue; after `not_after` the venue must refuse it. `max_slippage` is a
    fraction of `reference_price`. `price` is the limit of a LIMIT.
    """

    client_id: int
    ref: VenueRef
    order_type: OrderType
    side: PositionSide
    collateral: Decimal
    leverage: int
    not_after: datetime
    price: Decimal | None = None
    reference_price: Decimal | None = None
    max_slippage: Decimal | None = None


@dataclass(frozen=True, slots=True)
class CloseParams:
    """A reduce-only market order of explicit size against one trade."""

    client_id: int
    ref: VenueRef
    venue_trade_index: str
    side: PositionSide
    size: Decimal
    not_after: datetime
    reference_price: Decimal | None = None
    max_slippage: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ExitParams:
    """A reduce-only exit that the venue holds: it closes `size` of one trade when the mark reaches a level.

    One order holds both levels where both are given, and at least one is; the stop wins where a tick reaches both.
    """

    client_id: int
    ref: VenueRef
    venue_trade_index: str
    side: PositionSide
    size: Decimal
    not_after: datetime
    stop_price: Decimal | None = None
    take_profit_price: Decimal | None = None


class VenueOutcome(StrEnum):
    """What a venue says of one client id."""

    ACCEPTED = "accepted"
    RESTING = "resting"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class VenueFill:
    """One execution. `pnl` and `fee` in USDC; `sequence`, `mark_price` name the tick it happened at, and `bid`, `ask`
    and `last` are that tick's where the venue tells them.

    `margin_left`, `size_left`, `liquidation_price` describe the position after this fill, and so does `entry_price`,
    its average one, where the venue tells it; `is_last` says whether its order can fill no more.
    """

    fill_id: str
    client_id: int | None
    venue_account_id: int
    venue_trade_index: str
    side: OrderSide
    quantity: Decimal
    price: Decimal
    fee: Decimal
    pnl: Decimal
    is_close: bool
    sequence: int
    mark_price: Decimal
    at: datetime
    size_left: Decimal
    margin_left: Decimal
    liquidation_price: Decimal
    is_liquidation: bool = False
    is_last: bool = True
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    entry_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class VenueFunding:
    """One funding of one position: `amount` in USDC is what it brought the user, negative where they paid.

    (venue_account_id, venue_trade_index, instant) is unique. `margin_left` and `liquidation_price` are the position's
    after it, `sequence` and `mark_price` name the tick whose mark was paid on.
    """

    venue_account_id: int
    venue_trade_index: str
    instant: datetime
    amount: Decimal
    rate: Decimal
    size: Decimal
    mark_price: Decimal
    sequence: int
    margin_left: Decimal
    liquidation_price: Decimal


@dataclass(frozen=True, slots=True)
class TradeResult:
    """A venue's word on one client id; `reason` is one of our refusal codes or the venue's own word."""

    client_id: int
    outcome: VenueOutcome
    transaction_hash: str | None = None
    venue_trade_index: str | None = None
    reason: str | None = None
    details: dict[str, str] = field(default_factory=dict)
    fills: Sequence[VenueFill] = ()


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """An open position as the venue holds it."""

    venue_account_id: int
    venue_trade_index: str
    pair_id: int
    side: PositionSide
    size: Decimal
    entry_price: Decimal
    margin: Decimal
    liquidation_price: Decimal

    @property
    def size_left(self) -> Decimal:
        """Its size, as a fill would tell it."""
        return self.size

    @property
    def margin_left(self) -> Decimal:
        """Its margin, as a fill would tell it."""
        return self.margin


@dataclass(frozen=True, slots=True)
class VenueBalance:
    """Money at a venue in USDC: `free` can be traded with, `locked` backs orders and positions."""

    free: Decimal
    locked: Decimal
