"""What a source of prices is to the price service: where it starts, and slices of ticks in order."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from app.domain.prices import Market, Tick


class JudgedQuote(Protocol):
    """The last tick of a pair that the order engine has made durable."""

    @property
    def sequence(self) -> int:
        """Its sequence."""
        ...

    @property
    def bid(self) -> Decimal:
        """Its bid."""
        ...

    @property
    def ask(self) -> Decimal:
        """Its ask."""
        ...


@dataclass(frozen=True, slots=True)
class FeedStart:
    """Where a feed plays on: `base` is added to its own numbers; `pair_ids` by symbol, `judged` by pair id."""

    base: int
    now: datetime
    pair_ids: Mapping[str, int]
    judged: Mapping[int, JudgedQuote] = field(default_factory=dict)

    def number_of(self, symbol: str) -> int:
        """The feed's own number of the pair's last judged tick; 0 where none of this feed was judged."""
        judged = self.judged.get(self.pair_ids[symbol])
        return max(0, judged.sequence - self.base) if judged else 0


@dataclass(frozen=True, slots=True)
class FeedSlice:
    """Ticks to take in order, and markets: those that are open are so for these ticks, others close after them.

    `is_lost`: so much was missed that others may have gone on without it; the feed is to be read from its checkpoints.
    """

    ticks: Sequence[Tick] = ()
    markets: Mapping[int, Market] = field(default_factory=dict)
    is_lost: bool = False


class PriceFeed(Protocol):
    """A source of ticks of one venue's pairs."""

    @property
    def venue(self) -> str:
        """The venue whose pairs it prices."""
        ...

    @property
    def identity(self) -> str:
        """At most 80 characters; feeds of one identity number the same ticks alike."""
        ...

    def began_at(self, start: FeedStart) -> datetime:
        """The instant of the feed's very first tick when it plays on from `start` now."""
        ...

    def stream(self, start: FeedStart) -> AsyncGenerator[FeedSlice, None]:
        """Slices from `start` on: what was judged in the last 120 s is played again first, at once."""
        ...
