"""Figures of days: sums, periods, and the ratios that follow from them."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.analytics import (
    DAY,
    NOTHING,
    Figures,
    ResultInterval,
    days_of,
    max_drawdown,
    series,
    summarise,
)

WEDNESDAY = date(2026, 1, 7)
USDC = st.decimals("-100000", "100000", places=6)
DATES = st.dates(date(2000, 1, 1), date(2100, 1, 1))
FIGURES = st.builds(
    Figures,
    pnl=USDC,
    fees=USDC.map(abs),
    funding=USDC,
    volume=USDC.map(abs),
    trades_opened=st.integers(0, 9),
    trades_closed=st.integers(0, 9),
    trades_won=st.integers(0, 9),
    trades_lost=st.integers(0, 9),
    gross_profit=USDC.map(abs),
    gross_loss=USDC.map(abs),
)


def result(net: str) -> Figures:
    return Figures(pnl=Decimal(net))


def test_what_is_gained_is_pnl_less_fees_and_what_was_paid_as_funding() -> None:
    assert Figures(pnl=Decimal(10), fees=Decimal("1.5"), funding=Decimal("-0.25")).net_pnl == Decimal("8.25")
    assert Figures(pnl=Decimal(-10), fees=Decimal("1.5"), funding=Decimal("0.25")).net_pnl == Decimal("-11.25")


@pytest.mark.parametrize(
    ("figures", "win_rate", "profit_factor", "average_win", "average_loss"),
    [
        (NOTHING, None, None, None, None),
        (Figures(trades_closed=1), "0", None, None, None),
        (Figures(trades_closed=2, trades_won=2, gross_profit=Decimal(9)), "100", None, "4.5", None),
        (Figures(trades_closed=4, trades_lost=4, gross_loss=Decimal(6)), "0", "0", None, "1.5"),
        (
            Figures(trades_closed=6, trades_won=2, trades_lost=3, gross_profit=Decimal(10), gross_loss=Decimal("1.5")),
            "33.333333333333333333",
            "6.666666666666666666",
            "5",
            "0.5",
        ),
    ],
)
def test_ratios(
    figures: Figures,
    win_rate: str | None,
    profit_factor: str | None,
    average_win: str | None,
    average_loss: str | None,
) -> None:
    expected = [
        None if text is None else Decimal(text) for text in (win_rate, profit_factor, average_win, average_loss)
    ]
    assert [figures.win_rate, figures.profit_factor, figures.average_win, figures.average_loss] == expected


@pytest.mark.parametrize(
    ("results", "deepest"),
    [
        ([], 0),
        ([1, 2, 3], 0),
        ([-5], 5),
        ([-2, -3], 5),
        ([10, -4, 6, -7, 1], 7),
        ([10, -4, 3, -7, 20, -5], 8),
        ([10, -12], 12),
    ],
)
def test_the_drawdown_is_the_deepest_fall_from_the_highest_before_it(results: list[int], deepest: int) -> None:
    assert max_drawdown(map(Decimal, results)) == deepest


@given(st.lists(USDC, max_size=40))
def test_the_drawdown_is_what_looking_at_every_two_moments_tells(results: list[Decimal]) -> None:
    sums = [sum(results[:count], Decimal(0)) for count in range(len(results) + 1)]
    falls = [before - after for number, before in enumerate(sums) for after in sums[number:]]
    assert max_drawdown(results) == max(falls)


@pytest.mark.parametrize(
    ("interval", "first", "last", "expected"),
    [
        ("day", WEDNESDAY, WEDNESDAY, [(0, 0)]),
        ("day", WEDNESDAY, WEDNESDAY + 2 * DAY, [(0, 0), (1, 1), (2, 2)]),
        # Monday is the first day of a week.
        ("week", WEDNESDAY, WEDNESDAY + 12 * DAY, [(0, 4), (5, 11), (12, 12)]),
        ("month", WEDNESDAY, date(2026, 3, 1), [(0, 24), (25, 52), (53, 53)]),
    ],
)
def test_periods_are_cut_by_the_bounds(interval: str, first: date, last: date, expected: list[tuple[int, int]]) -> None:
    periods = series({}, first, last, ResultInterval(interval))
    assert [((p.first_day - WEDNESDAY).days, (p.last_day - WEDNESDAY).days) for p in periods] == expected
    assert {(period.figures, period.cumulative_net_pnl) for period in periods} == {(NOTHING, Decimal(0))}


def test_days_without_anything_are_there_and_the_sum_goes_on() -> None:
    days = {WEDNESDAY: result("5"), WEDNESDAY + 2 * DAY: result("-7.5")}
    periods = series(days, WEDNESDAY - DAY, WEDNESDAY + 3 * DAY, ResultInterval.DAY)
    assert [period.figures.pnl for period in periods] == [0, 5, 0, Decimal("-7.5"), 0]
    assert [period.cumulative_net_pnl for period in periods] == [0, 5, 5, Decimal("-2.5"), Decimal("-2.5")]
    assert summarise(days).max_drawdown == Decimal("7.5")


@given(
    days=st.dictionaries(st.integers(0, 70), FIGURES, max_size=20),
    start=DATES,
    length=st.integers(0, 70),
    interval=st.sampled_from(ResultInterval),
)
def test_periods_hold_each_day_once_and_sum_to_all_of_them(
    days: dict[int, Figures], start: date, length: int, interval: ResultInterval
) -> None:
    last = start + length * DAY
    figures = {start + number * DAY: day for number, day in days.items()}
    periods = series(figures, start, last, interval)

    covered = [day for period in periods for day in days_of(period.first_day, period.last_day)]
    assert covered == days_of(start, last)
    within = {day: found for day, found in figures.items() if day <= last}
    assert sum((period.figures for period in periods), NOTHING) == summarise(within).figures
    assert periods[-1].cumulative_net_pnl == summarise(within).figures.net_pnl
    for period in periods:
        assert interval.first_of(period.first_day) == interval.first_of(period.last_day)


@given(DATES)
def test_what_is_shown_by_default_is_whole_periods_up_to_a_day(last: date) -> None:
    for interval, count in ((ResultInterval.DAY, 30), (ResultInterval.WEEK, 12), (ResultInterval.MONTH, 12)):
        begin = interval.begin_of_default(last)
        assert interval.first_of(begin) == begin
        assert len(series({}, begin, last, interval)) == count
    assert ResultInterval.MONTH.begin_of_default(last).month == last.month % 12 + 1
    assert last - ResultInterval.DAY.begin_of_default(last) == timedelta(days=29)
