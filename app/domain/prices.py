"""Ticks and prices: the mark, trigger series, freshness, which ticks to drop, and which a guarded exit believes."""

from collections.abc import Iterable, Iterator, Sequence
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
# How long ticks are kept, and how much before each checkpoint is played again: an exit may be armed by the oldest price
# that is not stale, and be heard of some time later.
KEPT = max(STALE_AFTER.values()) + timedelta(seconds=30)


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


# A last price guards for so long after it was told, and holds ticks back for so long at most, in feed time.
LAST_COUNTS = timedelta(seconds=5)
HELD_BACK = timedelta(seconds=5)
# How far, as a fraction of the last price, a mark may be from it where the pair does not say.
PROTECT_LIMIT = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class PriceGuard:
    """What a price guard remembers of the ticks so far: the last traded price, and since when it holds ticks back."""

    last: Decimal | None = None
    told_at: datetime | None = None
    holding_since: datetime | None = None


UNGUARDED = PriceGuard()


def judged_by_guard(guard: PriceGuard, tick: Tick, limit: Decimal) -> tuple[PriceGuard, bool]:
    """The guard after a tick, and whether the tick is believed.

    It is, unless its mark is further than `limit` (a fraction of the last price) from a last price that is younger
    than 5 s. Once ticks were held back for 5 s without a break they are believed again. All by the ticks' own times,
    so that a replay decides the same.
    """
    last, told_at = (guard.last, guard.told_at) if tick.last is None else (tick.last, tick.at)
    if last is None or told_at is None:
        return guard, True
    is_far = tick.at - told_at < LAST_COUNTS and abs(tick.mark - last) > limit * last
    since = (guard.holding_since or tick.at) if is_far else None
    if (last, told_at, since) != (guard.last, guard.told_at, guard.holding_since):
        guard = PriceGuard(last, told_at, since)
    return guard, since is None or tick.at - since >= HELD_BACK


def believed(ticks: Iterable[Tick], limit: Decimal) -> Iterator[Tick]:
    """Those of ascending ticks that a guard lets through; what came before the first is not known to it."""
    guard = UNGUARDED
    for tick in ticks:
        guard, is_believed = judged_by_guard(guard, tick, limit)
        if is_believed:
            yield tick


def series_price(
    ticks: Sequence[Tick], trigger_by: TriggerBy, side: PositionSide, limit: Decimal | None
) -> Decimal | None:
    """The price of a series as of the last of ascending ticks; guarded where a limit is given. None: never told."""
    seen = ticks if limit is None else list(believed(ticks, limit))
    return next((price for tick in reversed(seen) if (price := tick.price_by(trigger_by, side)) is not None), None)


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

    `vouched_until` is the instant up to which the source says that it has told every change (replay, simulated); None
    where it says nothing of the kind, and a price is as old as its tick.
    """

    is_open: bool
    next_open: datetime | None = None
    vouched_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """The last tick of a pair in this process, when it came, and the state of its market."""

    tick: Tick
    received_at: datetime
    market: Market

    def is_stale(self, now: datetime, category: Category) -> bool:
        """Whether the price is too old to trade on; a closed market is closed rather than stale."""
        if not self.market.is_open:
            return False
        return now - (self.market.vouched_until or self.received_at) > STALE_AFTER[category]
