"""The replay feed: recorded rows, each when it is due, in order and none left out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched

from app.core.clock import Clock
from app.domain.prices import KEPT, Market, Tick
from app.services.providers.feed import FeedSlice, FeedStart
from app.services.providers.paper.catalogue import VENUE
from app.services.providers.paper.replay_files import Recording, Row

SLICE_TICKS = 200
# Less than this is lost in the rounding of clocks.
SHORTEST_NAP_SECONDS = 0.0001
# The feed says so often at least that it has told everything.
VOUCH_SECONDS = 1.0
CLOSED = Market(is_open=False)


@dataclass(frozen=True, slots=True)
class _Resume:
    """Where a recording plays on: each symbol's last judged row number, and the first row that is due now."""

    judged: tuple[int, ...]
    first: int


@dataclass(frozen=True, slots=True)
class _Due:
    """Consecutive rows that are due, or none, and the instant up to which no other is."""

    numbers: range
    until: datetime


class ReplayFeed:
    """Plays a recording at a speed, once or over and over.

    A row's number grows from 1 over all files and rounds; a tick's sequence is the start's base + its row number.
    A tick's time is when its row was due: when it is emitted, as long as the machine keeps up.
    """

    venue = VENUE

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float,
        starts_over: bool,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.identity = f"replay:{recording.digest[:64]}"
        self._symbols = recording.symbols
        self._rows = recording.rows
        # The number of each symbol's last row.
        self._ends = {row.symbol: number for number, row in enumerate(recording.rows, 1)}
        self._period_ms = recording.period_ms
        self._speed = speed
        self._starts_over = starts_over
        self._clock = clock
        self._sleep = sleep

    def began_at(self, start: FeedStart) -> datetime:
        """The instant that the first row of all is re-based to."""
        return start.now - self._wall(self._due_ms(self._resume(start).first))

    async def stream(self, start: FeedStart) -> AsyncGenerator[FeedSlice, None]:
        """Markets open; the 120 s before each checkpoint again; then every row that was not judged, when due."""
        resume = self._resume(start)
        origin = start.now - self._wall(self._due_ms(resume.first))
        pair_ids = [start.pair_ids[symbol] for symbol in self._symbols]

        def tick(number: int) -> Tick:
            row = self._row(number)
            at = origin + self._wall(self._due_ms(number))
            return Tick(pair_ids[row.symbol], start.base + number, row.bid, row.ask, at, VENUE, row.last)

        if any(resume.judged):
            # Open before any price, which would pass for one of a closed market; vouched for when all is told again.
            yield FeedSlice(markets=self._markets(pair_ids, resume.first, None))
        for numbers in batched(self._again(resume), SLICE_TICKS):
            yield FeedSlice([tick(number) for number in numbers])
        yield FeedSlice(markets=self._markets(pair_ids, resume.first, start.now))
        async with aclosing(self._due_rows(resume)) as batches:
            async for due in batches:
                yield FeedSlice(
                    [tick(number) for number in due.numbers if number > resume.judged[self._row(number).symbol]],
                    self._markets(pair_ids, due.numbers.stop, due.until),
                )

    def _markets(self, pair_ids: Sequence[int], number: int, until: datetime | None) -> dict[int, Market]:
        """Before the row of a number each market is open that has a row to come, and vouched for until then."""
        vouched = Market(is_open=True, vouched_until=until)
        return {
            pair_id: vouched if self._starts_over or number <= self._ends.get(symbol, 0) else CLOSED
            for symbol, pair_id in enumerate(pair_ids)
        }

    def _row(self, number: int) -> Row:
        return self._rows[(number - 1) % len(self._rows)]

    def _due_ms(self, number: int) -> int:
        """When a row is due after the first one, in the recording's own time."""
        rounds, index = divmod(number - 1, len(self._rows))
        return rounds * self._period_ms + self._rows[index].due_ms

    def _wall(self, recorded_ms: float) -> timedelta:
        return timedelta(milliseconds=recorded_ms / self._speed)

    def _resume(self, start: FeedStart) -> _Resume:
        judged = tuple(start.number_of(symbol) for symbol in self._symbols)
        following = [self._following(symbol, number) for symbol, number in enumerate(judged)]
        return _Resume(
            judged, min((number for number in following if number), default=max(len(self._rows), *judged) + 1)
        )

    def _following(self, symbol: int, judged: int) -> int | None:
        """The symbol's next row that can be judged, which a crossed one cannot; None at the end."""
        last = judged + len(self._rows) if self._starts_over else len(self._rows)
        for number in range(judged + 1, last + 1):
            row = self._row(number)
            if row.symbol == symbol and row.bid <= row.ask:
                return number
        return None

    def _again(self, resume: _Resume) -> Iterator[int]:
        """What each symbol's judged rows of the last 120 s were, at most a round of them, and always the last one."""
        since = [self._again_since(symbol, number) for symbol, number in enumerate(resume.judged)]
        for number in range(min(since), max(resume.judged) + 1):
            symbol = self._row(number).symbol
            if since[symbol] <= number <= resume.judged[symbol]:
                yield number

    def _again_since(self, symbol: int, judged: int) -> int:
        oldest = max(1, judged - len(self._rows) + 1)
        last = next((n for n in range(judged, oldest - 1, -1) if self._row(n).symbol == symbol), judged + 1)
        if last > judged:
            return last
        cutoff = self._due_ms(last) - KEPT.total_seconds() * 1000 * self._speed
        while last > oldest and self._due_ms(last - 1) >= cutoff:
            last -= 1
        return last

    async def _due_rows(self, resume: _Resume) -> AsyncGenerator[_Due, None]:
        """Rows from the first on as they come due, late ones at once; in a silence, now and then, that none is."""
        began, begun_ms = self._clock.monotonic(), self._due_ms(resume.first)
        number = resume.first
        while self._starts_over or number <= len(self._rows):
            until, first = self._clock.now(), number
            elapsed_ms = begun_ms + (self._clock.monotonic() - began) * 1000 * self._speed
            while number < first + SLICE_TICKS and (self._starts_over or number <= len(self._rows)):
                if self._due_ms(number) > elapsed_ms:
                    break
                number += 1
            due = range(first, number)
            if len(due) == SLICE_TICKS:
                until -= self._wall(elapsed_ms - self._due_ms(due[-1]))
            wait = (self._due_ms(number) - elapsed_ms) / 1000 / self._speed
            if due or wait > VOUCH_SECONDS:
                yield _Due(due, until)
            if not due:
                await self._sleep(min(max(wait, SHORTEST_NAP_SECONDS), VOUCH_SECONDS))
