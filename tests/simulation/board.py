"""The prices of a simulation: one history of ticks, and each process somewhere on its way through it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.prices import KEPT, Market, Price, Quote, Tick, is_acceptable
from app.models.market import Pair
from app.services.price_board import no_price_yet, price_of
from app.services.providers.feed import JudgedQuote
from tests.simulation.clock import SimulatedClock

OPEN = Market(is_open=True)


class SimulatedBoard:
    """What one process has seen of the history; read anew, it begins 120 s before each pair's checkpoint."""

    def __init__(self, history: Sequence[Tick], clock: SimulatedClock) -> None:
        self._history = history
        self._clock = clock
        self._next = 0
        self._judged: Mapping[int, JudgedQuote] = {}
        self._quotes: dict[int, Quote] = {}
        self._kept: dict[int, list[Tick]] = {}
        self._taken: dict[int, int] = {}
        # All of the history up to then was seen.
        self._vouched_until: datetime | None = None
        self.market = OPEN
        self.must_start = True

    @property
    def behind(self) -> int:
        """How many ticks it has not seen yet."""
        return len(self._history) - self._next

    def start(self, judged: Mapping[int, JudgedQuote]) -> None:
        """Read the history from these checkpoints on."""
        self._judged = judged
        self._taken.clear()
        self._kept.clear()
        self._next = 0
        self.must_start = False
        self.set_market(OPEN)

    def next_tick(self) -> Tick | None:
        """The next tick to be judged, on the board already; None at the end of the history."""
        while self._next < len(self._history):
            tick = self._history[self._next]
            self._next += 1
            self._vouched_until = tick.at
            if self._accept(tick):
                return tick
        self._vouched_until = self._clock.now()
        return None

    def set_market(self, market: Market) -> None:
        self.market = market
        for pair_id, quote in self._quotes.items():
            self._quotes[pair_id] = replace(quote, market=market)

    def latest(self, pair_id: int) -> Quote | None:
        quote = self._quotes.get(pair_id)
        if quote is None or not self.market.is_open:
            return quote
        return replace(quote, market=replace(self.market, vouched_until=self._vouched_until))

    def kept(self, pair_id: int, after_sequence: int) -> Sequence[Tick]:
        return [tick for tick in self._kept.get(pair_id, []) if tick.sequence > after_sequence]

    def price(self, pair: Pair) -> Price:
        quote = self.latest(pair.id)
        if quote is None:
            raise no_price_yet(pair)
        return price_of(pair, quote, self._clock.now())

    def restart(self) -> None:
        self.must_start = True

    def _accept(self, tick: Tick) -> bool:
        judged = self._judged.get(tick.pair_id)
        if judged is not None and tick.at < _at(judged) - KEPT:
            return False
        if not is_acceptable(tick, self._taken.get(tick.pair_id)):
            return False
        self._taken[tick.pair_id] = tick.sequence
        shown = self._quotes.get(tick.pair_id)
        is_new = shown is None or tick.sequence >= shown.tick.sequence
        if is_new and (judged is None or tick.sequence >= judged.sequence):
            self._quotes[tick.pair_id] = Quote(tick, self._clock.now(), self.market)
        kept = self._kept.setdefault(tick.pair_id, [])
        kept.append(tick)
        return True


def _at(judged: JudgedQuote) -> datetime:
    at = getattr(judged, "tick_at", None)
    assert isinstance(at, datetime)
    return at
