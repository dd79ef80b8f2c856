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


def fold(ticks: Iterable[Tick]) -> list[Bar]:
    """One bar for each pair and minute of `Tick.at`; each pair's ticks ascend by sequence."""
    bars: dict[tuple[int, datetime], Bar] = {}
    for tick in ticks:
        key = (tick.pair_id, minute_of(tick.at))
        bar = bars.get(key)
        mark = tick.mark
        if bar is None:
            bars[key] = Bar(*key, mark, mark, mark, mark, 1, tick.sequence)
        else:
            high, low = max(bar.high, mark), min(bar.low, mark)
            bars[key] = Bar(*key, bar.open, high, low, mark, bar.ticks + 1, tick.sequence)
    return list(bars.values())


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
