"""The simulated feed: seeded random walks on each pair's price grid, offline and always open."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import batched
from typing import NamedTuple

from app.core.clock import Clock
from app.domain.prices import KEPT, TWO, Market, Tick
from app.services.providers.feed import FeedSlice, FeedStart, JudgedQuote
from app.services.providers.paper.catalogue import VENUE, PaperPair
from app.services.providers.paper.random_walk import RandomWalk

SLICE_TICKS = 200
# A machine that is asleep for so long goes on where it stopped; what it misses in less is hurried.
LATEST_SECONDS = 10.0
# The feed says so often at least that it has told everything.
VOUCH_SECONDS = 1.0


class SimulatedQuote(NamedTuple):
    """What a pair's walk quotes at one step."""

    bid: Decimal
    ask: Decimal
    last: Decimal


class PairSimulation:
    """The prices of one pair: a function of seed, symbol and step, and of the price it starts from.

    It starts from the catalogue's price, or, where the last judged quote came from elsewhere, so that it goes on
    from there.
    """

    def __init__(self, pair: PaperPair, seed: int, number: int = 0, judged: JudgedQuote | None = None) -> None:
        self._step = pair.listing.price_step
        self._spread = pair.spread_steps
        self._volatility = pair.volatility
        self._walk = RandomWalk(f"{seed}/{pair.listing.symbol}")
        self._origin = int(pair.first_price / self._step) * 1.0
        if judged is not None and self.quote(number)[:2] != (judged.bid, judged.ask):
            mid = ((judged.bid + judged.ask) / TWO / self._step).to_integral_value(ROUND_HALF_EVEN)
            self._origin = int(mid) / self._growth(number)

    def quote(self, number: int) -> SimulatedQuote:
        """The quote of a step; the spread is constant, the last trade was at one of its sides."""
        below = self._spread // 2
        middle = max(round(self._origin * self._growth(number)), below + 1)
        bid = (middle - below) * self._step
        ask = bid + self._spread * self._step
        is_rising = self._walk.value(number) > self._walk.value(number - 1) if number else True
        return SimulatedQuote(bid, ask, ask if is_rising else bid)

    def _growth(self, number: int) -> float:
        return math.exp(self._volatility * self._walk.value(number))


class SimulatedFeed:
    """Ticks of every pair of the catalogue, `hz` a second each; a tick's sequence is the start's base + its step.

    A machine that was asleep goes on where it stopped: steps are never left out, and not hurried after a long time.
    """

    venue = VENUE

    def __init__(
        self,
        pairs: Sequence[PaperPair],
        *,
        seed: int,
        hz: float,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.identity = f"simulated:{seed}"
        self._pairs = pairs
        self._seed = seed
        self._hz = hz
        self._clock = clock
        self._sleep = sleep

    def began_at(self, start: FeedStart) -> datetime:
        """The instant of step 0 of the pair that has come furthest."""
        furthest = max(start.number_of(pair.listing.symbol) for pair in self._pairs)
        return start.now - timedelta(seconds=furthest / self._hz)

    async def stream(self, start: FeedStart) -> AsyncGenerator[FeedSlice, None]:
        """Markets open; each pair's last 120 s before its checkpoint again; then a tick of each pair a step.

        Ends where it is lost: a process beside it may have gone on.
        """
        walkers = [_Walker(pair, self._seed, start) for pair in self._pairs]
        for piece in self._again(walkers, start.now):
            yield piece
        yield FeedSlice(markets=_open(walkers, start.now))
        due = looked_at = self._clock.monotonic()
        while self._clock.monotonic() - looked_at < LATEST_SECONDS:
            now, looked_at = self._clock.now(), self._clock.monotonic()
            late = looked_at - due
            if late < 0:
                if -late > VOUCH_SECONDS:
                    yield FeedSlice(markets=_open(walkers, now))
                await self._sleep(min(-late, VOUCH_SECONDS))
                continue
            told = now - timedelta(seconds=late)
            yield FeedSlice([walker.next_tick(now) for walker in walkers], _open(walkers, told))
            # A machine that cannot keep up is not chased.
            due = (due if late < LATEST_SECONDS else looked_at) + 1 / self._hz
        yield FeedSlice(is_lost=True)

    def _again(self, walkers: Sequence["_Walker"], now: datetime) -> Iterator[FeedSlice]:
        """What was judged in the last 120 s; nothing at a first start."""
        if any(walker.number for walker in walkers):
            # Open before any price, which would pass for one of a closed market; vouched for when all is told again.
            yield FeedSlice(markets=_open(walkers, None))
        for walker in walkers:
            oldest = max(1, walker.number - math.ceil(KEPT.total_seconds() * self._hz))
            for numbers in batched(range(oldest, walker.number + 1), SLICE_TICKS):
                ages = [(walker.number - number) / self._hz for number in numbers]
                moments = [now - timedelta(seconds=age) for age in ages]
                yield FeedSlice([walker.tick(n, at) for n, at in zip(numbers, moments, strict=True)])


class _Walker:
    """One pair on its way: the last step taken, and how to take the next."""

    def __init__(self, pair: PaperPair, seed: int, start: FeedStart) -> None:
        self.pair_id = start.pair_ids[pair.listing.symbol]
        self.number = start.number_of(pair.listing.symbol)
        self._base = start.base
        self._simulation = PairSimulation(pair, seed, self.number, start.judged.get(self.pair_id))

    def tick(self, number: int, at: datetime) -> Tick:
        """The tick of a step."""
        quote = self._simulation.quote(number)
        return Tick(self.pair_id, self._base + number, quote.bid, quote.ask, at, VENUE, quote.last)

    def next_tick(self, at: datetime) -> Tick:
        """The tick of the next step."""
        self.number += 1
        return self.tick(self.number, at)


def _open(walkers: Sequence[_Walker], until: datetime | None) -> dict[int, Market]:
    market = Market(is_open=True, vouched_until=until)
    return {walker.pair_id: market for walker in walkers}
