"""The replay feed: recorded rows, each when it is due, in order and none left out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched

from app.core.clock import Clock
from app.domain.prices import Market, Tick
from app.services.providers.feed import PLAYED_AGAIN, FeedSlice, FeedStart
from app.services.providers.paper.catalogue import VENUE
from app.services.providers.paper.replay_files import Recording, Row

SLICE_TICKS = 200
# Less than this is lost in the rounding of clocks.
SHORTEST_NAP_SECONDS = 0.0001
OPEN = Market(is_open=True, silence_is_stale=False)
CLOSED = Market(is_open=False)


@dataclass(frozen=True, slots=True)
class _Resume:
    """Where a recording plays on: each symbol's last judged row number, and the first row that is due now."""

    judged: tuple[int, ...]
    first: int


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
        self._period_ms = recording.period_ms
        self._speed = speed
        self._starts_over = starts_over
        self._clock = clock
        self._sleep = sleep

    def began_at(self, start: FeedStart) -> datetime:
        """The instant that the first row of all is re-based to."""
        return start.now - self._wall(self._due_ms(self._resume(start).first))

    async def stream(self, start: FeedStart) -> AsyncGenerator[FeedSlice, None]:
        """Markets open; the 60 s before each checkpoint again; then every row that was not judged, when due."""
        resume = self._resume(start)
        origin = start.now - self._wall(self._due_ms(resume.first))
        pair_ids = [start.pair_ids[symbol] for symbol in self._symbols]
        ends = {} if self._starts_over else self._ends()

        def tick(number: int) -> Tick:
            row = self._row(number)
            at = origin + self._wall(self._due_ms(number))
            return Tick(pair_ids[row.symbol], start.base + number, row.bid, row.ask, at, VENUE, row.last)

        yield FeedSlice(markets=dict.fromkeys(pair_ids, OPEN))
        for numbers in batched(self._again(resume), SLICE_TICKS):
            yield FeedSlice([tick(number) for number in numbers])
        yield FeedSlice(markets={pair_ids[ends[end]]: CLOSED for end in ends if end < resume.first})
        async with aclosing(self._due_numbers(resume)) as batches:
            async for due in batches:
                yield FeedSlice(
                    [tick(number) for number in due if number > resume.judged[self._row(number).symbol]],
                    {pair_ids[ends[number]]: CLOSED for number in due if number in ends},
                )

    def _row(self, number: int) -> Row:
        return self._rows[(number - 1) % len(self._rows)]

    def _due_ms(self, number: int) -> int:
        """When a row is due after the first one, in the recording's own time."""
        rounds, index = divmod(number - 1, len(self._rows))
        return rounds * self._period_ms + self._rows[index].due_ms

    def _wall(self, recorded_ms: float) -> timedelta:
        return timedelta(milliseconds=recorded_ms / self._speed)

    def _ends(self) -> dict[int, int]:
        """The number of each symbol's last row, and the symbol."""
        last = {row.symbol: number for number, row in enumerate(self._rows, 1)}
        return {number: symbol for symbol, number in last.items()}

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
        """What each symbol's judged rows of the last 60 s were, at most a round of them, and always the last one."""
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
        cutoff = self._due_ms(last) - PLAYED_AGAIN.total_seconds() * 1000 * self._speed
        while last > oldest and self._due_ms(last - 1) >= cutoff:
            last -= 1
        return last

    async def _due_numbers(self, resume: _Resume) -> AsyncGenerator[list[int], None]:
        """Row numbers from the first on, as they come due; late ones at once."""
        began, begun_ms = self._clock.monotonic(), self._due_ms(resume.first)
        number = resume.first
        while self._starts_over or number <= len(self._rows):
            elapsed_ms = begun_ms + (self._clock.monotonic() - began) * 1000 * self._speed
            due: list[int] = []
            while len(due) < SLICE_TICKS and (self._starts_over or number <= len(self._rows)):
                if self._due_ms(number) > elapsed_ms:
                    break
                due.append(number)
                number += 1
            if due:
                yield due
            else:
                wait = (self._due_ms(number) - elapsed_ms) / 1000 / self._speed
                await self._sleep(max(wait, SHORTEST_NAP_SECONDS))
