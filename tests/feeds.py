"""Playing feeds in tests: time passes as fast as they ask for it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from app.domain.prices import Market, Tick
from app.services.providers.feed import FeedSlice, FeedStart, PriceFeed
from app.services.providers.paper.catalogue import CATALOGUE
from tests.fakes import ManualClock

PAIR_IDS = {pair.listing.symbol: number for number, pair in enumerate(CATALOGUE, 101)}


@dataclass(frozen=True)
class Judged:
    """A pair's checkpoint."""

    sequence: int
    bid: Decimal = Decimal(1)
    ask: Decimal = Decimal(2)


@dataclass
class Played:
    """What a feed gave: ticks, the markets as they stood at the end, and when each tick came (seconds from start)."""

    ticks: list[Tick] = field(default_factory=list)
    markets: dict[int, Market] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)

    @property
    def sequences(self) -> list[int]:
        return [tick.sequence for tick in self.ticks]


class PassingTime(ManualClock):
    """A clock that a sleeper moves."""

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.advance(seconds)


def start_at(clock: ManualClock, base: int = 0, judged: Mapping[int, Judged] | None = None) -> FeedStart:
    """A start now, with the ids of PAIR_IDS."""
    return FeedStart(base, clock.now(), PAIR_IDS, judged or {})


async def play(feed: PriceFeed, clock: ManualClock, start: FeedStart, most: int = 10**9) -> Played:
    """Play a feed to its end, or until it has given `most` ticks."""
    played, began = Played(), clock.monotonic()
    async with aclosing(feed.stream(start)) as pieces:
        async for piece in pieces:
            played.ticks += piece.ticks
            played.times += [clock.monotonic() - began] * len(piece.ticks)
            played.markets |= piece.markets
            if len(played.ticks) >= most:
                break
    return played


class ScriptedFeed:
    """A feed that gives the slices it was told, at once, and remembers how it was started."""

    venue = "paper"

    def __init__(self, *slices: FeedSlice, identity: str = "scripted") -> None:
        self.identity = identity
        self.slices = list(slices)
        self.starts: list[FeedStart] = []

    def began_at(self, start: FeedStart) -> datetime:
        """Now: every start is its first."""
        return start.now

    async def stream(self, start: FeedStart) -> AsyncGenerator[FeedSlice, None]:
        """The slices."""
        self.starts.append(start)
        for piece in self.slices:
            yield piece
