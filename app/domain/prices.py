"""Ticks and prices: the mark, trigger series, freshness, and which ticks to drop."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.enums import Category, PositionSide, TriggerBy

TWO = Decimal(2)

# How old a live price may be before it is stale.
STALE_AFTER = {
    Category.CRYPTO: timedelta(seconds=10),
    Category.FOREX: timedelta(seconds=60),
    Category.COMMODITY: timedelta(seconds=60),
    Category.INDEX: timedelta(seconds=90),
    Category.STOCK: timedelta(seconds=90),
}


@dataclass(frozen=True, slots=True)
class Tick:
    """One quote of one pair. `sequence` only grows per pair; `at` is when the source emitted it (aware UTC).

    `last` is the last traded price where the source tells one.
    """

    pair_id: int
    sequence: int
    bid: Decimal
    ask: Decimal
    at: datetime
    source: str
    last: Decimal | None = None

    @property
    def mark(self) -> Decimal:
        """(bid + ask) / 2, exact."""
        return (self.bid + self.ask) / TWO

    def price_by(self, trigger_by: TriggerBy, side: PositionSide) -> Decimal | None:
        """The series an exit of a position on `side` watches; None where the tick does not tell it."""
        if trigger_by is TriggerBy.MARK:
            return self.mark
        if trigger_by is TriggerBy.LAST:
            return self.last
        return self.bid if side is PositionSide.LONG else self.ask

    def quote_for(self, *, buys: bool) -> Decimal:
        """What a market order pays: the ask for a buy, the bid for a sell."""
        return self.ask if buys else self.bid


def is_acceptable(tick: Tick, previous_sequence: int | None) -> bool:
    """Whether a tick is to be judged: positive, not crossed (bid = ask is legal), and newer than the last."""
    if previous_sequence is not None and tick.sequence <= previous_sequence:
        return False
    return 0 < tick.bid <= tick.ask


@dataclass(frozen=True, slots=True)
class Price:
    """A price as it is answered: the seed's fields and what a trader needs to trust it."""

    pair_id: int
    pair: str
    asset: str
    quote: str
    price: Decimal
    bid: Decimal
    ask: Decimal
    timestamp: datetime
    received_at: datetime
    age_ms: int
    stale: bool
    market_open: bool
    next_open: datetime | None
    sequence: int
    source: str


@dataclass(frozen=True, slots=True)
class Market:
    """Whether a pair trades now, and when it opens again where that is known.

    `silence_is_stale` is False where the source itself vouches for its last price between ticks (replay, simulated).
    """

    is_open: bool
    next_open: datetime | None = None
    silence_is_stale: bool = True


@dataclass(frozen=True, slots=True)
class Quote:
    """The last tick of a pair in this process, when it came, and the state of its market."""

    tick: Tick
    received_at: datetime
    market: Market

    def is_stale(self, now: datetime, category: Category) -> bool:
        """Whether the price is too old to trade on; a closed market is closed rather than stale."""
        if not (self.market.is_open and self.market.silence_is_stale):
            return False
        return now - self.received_at > STALE_AFTER[category]
