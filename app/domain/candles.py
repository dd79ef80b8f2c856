"""Candles: ticks folded into minutes of the mark price."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from app.domain.prices import Tick

MINUTE = timedelta(minutes=1)


class CandleInterval(StrEnum):
    """How long a candle lasts."""

    ONE_MINUTE = "1m"
    FIVE_MINUTES = "5m"
    ONE_HOUR = "1h"

    @property
    def length(self) -> timedelta:
        """The interval as a duration; each divides a day, so candles start on the clock's own marks."""
        return {"1m": MINUTE, "5m": 5 * MINUTE, "1h": 60 * MINUTE}[self.value]


@dataclass(frozen=True, slots=True)
class Bar:
    """Ticks of one pair within one interval from `opened_at` (UTC): prices are marks, in quote units."""

    pair_id: int
    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    ticks: int
    last_sequence: int


def minute_of(at: datetime) -> datetime:
    """The start of the minute that an instant lies in."""
    return at.replace(second=0, microsecond=0)


@dataclass(slots=True)
class _Growing:
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    ticks: int
    last_sequence: int


def fold(ticks: Iterable[Tick]) -> list[Bar]:
    """One bar for each pair and minute of `Tick.at`; each pair's ticks ascend by sequence."""
    growing: dict[tuple[int, datetime], _Growing] = {}
    for tick in ticks:
        key, mark = (tick.pair_id, minute_of(tick.at)), tick.mark
        bar = growing.get(key)
        if bar is None:
            growing[key] = _Growing(mark, mark, mark, mark, 1, tick.sequence)
            continue
        if mark > bar.high:
            bar.high = mark
        elif mark < bar.low:
            bar.low = mark
        bar.close, bar.last_sequence = mark, tick.sequence
        bar.ticks += 1
    return [
        Bar(pair_id, opened_at, bar.open, bar.high, bar.low, bar.close, bar.ticks, bar.last_sequence)
        for (pair_id, opened_at), bar in growing.items()
    ]


def window(
    interval: CandleInterval, start: datetime | None, end: datetime | None, limit: int, now: datetime
) -> tuple[datetime, datetime]:
    """The instants [from, to) to read, on the interval's own marks, so that only whole candles are answered.

    At most `limit` candles forward from the one that holds `start` where it is given, else back from `end`, else
    back from the one that is still growing.
    """
    step = interval.length
    stop = None if end is None else _floor(end - datetime.resolution, step) + step
    if start is not None:
        first = _floor(start, step)
        furthest = first + limit * step
        return first, furthest if stop is None else min(stop, furthest)
    last = stop or _floor(now, step) + step
    return last - limit * step, last


def _floor(at: datetime, step: timedelta) -> datetime:
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (at - midnight) // step * step
