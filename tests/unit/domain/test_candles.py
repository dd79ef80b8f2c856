"""Folding ticks into minutes, and which candles a question is about."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.candles import Bar, CandleInterval, fold, minute_of, window
from app.domain.prices import Tick

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def tick(sequence: int, seconds: float, mark: str, pair_id: int = 1) -> Tick:
    price = Decimal(mark)
    return Tick(pair_id, sequence, price - 1, price + 1, NOON + timedelta(seconds=seconds), "test")


def test_ticks_of_one_minute_make_one_bar() -> None:
    bars = fold([tick(3, 0, "10"), tick(4, 20, "14"), tick(7, 40, "8"), tick(9, 59.999999, "11")])
    ten, fourteen, eight, eleven = map(Decimal, ("10", "14", "8", "11"))
    assert bars == [Bar(1, NOON, ten, fourteen, eight, eleven, 4, 9)]


def test_a_minute_ends_where_the_next_begins_and_pairs_are_apart() -> None:
    bars = fold([tick(1, 59, "10"), tick(2, 60, "20"), tick(1, 60, "30", pair_id=2)])
    assert [(bar.pair_id, bar.opened_at, bar.open, bar.ticks) for bar in bars] == [
        (1, NOON, Decimal(10), 1),
        (1, NOON + timedelta(minutes=1), Decimal(20), 1),
        (2, NOON + timedelta(minutes=1), Decimal(30), 1),
    ]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(2, 50), st.integers(1, 3)), min_size=1))
def test_bars_tell_the_same_as_looking_at_every_tick(rows: list[tuple[int, int, int]]) -> None:
    ticks = [tick(i, seconds, str(mark), pair) for i, (seconds, mark, pair) in enumerate(rows)]
    bars = fold(ticks)
    assert sum(bar.ticks for bar in bars) == len(ticks)
    for bar in bars:
        own = [t for t in ticks if t.pair_id == bar.pair_id and minute_of(t.at) == bar.opened_at]
        marks = [(t.bid + t.ask) / 2 for t in own]
        assert (bar.open, bar.close) == (marks[0], marks[-1])
        assert (bar.high, bar.low) == (max(marks), min(marks))
        assert (bar.ticks, bar.last_sequence) == (len(own), own[-1].sequence)


MINUTE, FIVE, HOUR = CandleInterval.ONE_MINUTE, CandleInterval.FIVE_MINUTES, CandleInterval.ONE_HOUR


@pytest.mark.parametrize(
    ("interval", "start", "end", "limit", "expected"),
    [
        (MINUTE, None, None, 3, ("11:58", "12:01")),
        (FIVE, None, None, 2, ("11:55", "12:05")),
        (HOUR, None, None, 1, ("12:00", "13:00")),
        (MINUTE, None, "12:00", 2, ("11:58", "12:00")),
        (FIVE, None, "12:01", 2, ("11:55", "12:05")),
        (MINUTE, "10:00", None, 3, ("10:00", "10:03")),
        (FIVE, "10:03", None, 2, ("10:00", "10:10")),
        (MINUTE, "10:00", "10:02", 100, ("10:00", "10:02")),
        (HOUR, "10:30", "11:30", 100, ("10:00", "12:00")),
        (MINUTE, "10:00", "11:00", 5, ("10:00", "10:05")),
        (MINUTE, "11:00", "10:00", 5, ("11:00", "10:00")),
    ],
)
def test_a_window_holds_whole_candles_and_at_most_the_limit(
    interval: CandleInterval, start: str | None, end: str | None, limit: int, expected: tuple[str, str]
) -> None:
    def at(clock: str | None) -> datetime | None:
        return None if clock is None else datetime.fromisoformat(f"2026-01-05T{clock}:00Z")

    now = NOON + timedelta(seconds=30)
    assert window(interval, at(start), at(end), limit, now) == (at(expected[0]), at(expected[1]))
