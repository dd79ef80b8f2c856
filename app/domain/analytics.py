"""Results by UTC day: what a day's figures come to over longer times, and the ratios that follow from them.

A day has the PnL, fees and volume of the fills, and the fundings, that were booked on it, and the trades whose first
fill, or whose end, was booked on it. A trade that ended has a net result, PnL - fees + funding over its whole life:
above zero it is won, below zero lost, at zero neither. Amounts are in USDC.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from operator import add, attrgetter

from app.domain.money import ZERO, stored

HUNDRED = Decimal(100)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
MONTHS = 12


class ResultInterval(StrEnum):
    """How long a period of results lasts; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def first_of(self, day: date) -> date:
        """The first day of the period that a day lies in."""
        match self:
            case ResultInterval.DAY:
                return day
            case ResultInterval.WEEK:
                return day - timedelta(days=day.weekday())
            case ResultInterval.MONTH:
                return day.replace(day=1)

    def begin_of_default(self, last: date) -> date:
        """Where results up to a day begin unless they are asked for from another: 30 days, 12 weeks or 12 months."""
        first = self.first_of(last)
        match self:
            case ResultInterval.DAY:
                return first - 29 * DAY
            case ResultInterval.WEEK:
                return first - 11 * WEEK
            case ResultInterval.MONTH:
                months = first.year * MONTHS + first.month - MONTHS
                return date(months // MONTHS, months % MONTHS + 1, 1)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was booked in a time.

    `gross_profit` is what trades that were won gained, `gross_loss` what those that were lost lost, both unsigned.
    """

    pnl: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    volume: Decimal = ZERO
    trades_opened: int = 0
    trades_closed: int = 0
    trades_won: int = 0
    trades_lost: int = 0
    gross_profit: Decimal = ZERO
    gross_loss: Decimal = ZERO

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*map(add, _values(self), _values(other)))

    @property
    def net_pnl(self) -> Decimal:
        """What was gained after fees and funding."""
        return self.pnl - self.fees + self.funding

    @property
    def win_rate(self) -> Decimal | None:
        """Won trades in per cent of all that ended; None without any."""
        return stored(HUNDRED * self.trades_won / self.trades_closed) if self.trades_closed else None

    @property
    def profit_factor(self) -> Decimal | None:
        """Gross profit for each USDC of gross loss; None without a loss."""
        return stored(self.gross_profit / self.gross_loss) if self.gross_loss else None

    @property
    def average_win(self) -> Decimal | None:
        """The net result of a won trade; None without any."""
        return stored(self.gross_profit / self.trades_won) if self.trades_won else None

    @property
    def average_loss(self) -> Decimal | None:
        """What a lost trade lost, unsigned; None without any."""
        return stored(self.gross_loss / self.trades_lost) if self.trades_lost else None


FIGURES = tuple(field.name for field in fields(Figures))
_values = attrgetter(*FIGURES)
NOTHING = Figures()


@dataclass(frozen=True, slots=True)
class Period:
    """Figures from `first_day` to `last_day`, both counted, and the net PnL from the beginning of the series on."""

    first_day: date
    last_day: date
    figures: Figures
    cumulative_net_pnl: Decimal


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a time, and how far its net PnL, day by day, fell below the highest that it had reached."""

    figures: Figures
    max_drawdown: Decimal


def series(days: Mapping[date, Figures], first: date, last: date, interval: ResultInterval) -> list[Period]:
    """The periods from one day to another, both counted; those that the bounds cut hold what lies within them."""
    periods: list[Period] = []
    total = ZERO
    for day in days_of(first, last):
        figures = days.get(day, NOTHING)
        total += figures.net_pnl
        if periods and interval.first_of(day) == interval.first_of(periods[-1].last_day):
            grown = periods.pop()
            periods.append(Period(grown.first_day, day, grown.figures + figures, total))
        else:
            periods.append(Period(day, day, figures, total))
    return periods


def summarise(days: Mapping[date, Figures]) -> Summary:
    """The sum over days; those that are missing had nothing."""
    return Summary(sum(days.values(), NOTHING), max_drawdown(days[day].net_pnl for day in sorted(days)))


def max_drawdown(results: Iterable[Decimal]) -> Decimal:
    """How far the sum of results, in their order and from zero, fell at most below the highest that it had reached."""
    highest = total = deepest = ZERO
    for result in results:
        total += result
        highest = max(highest, total)
        deepest = max(deepest, highest - total)
    return deepest


def days_of(first: date, last: date) -> list[date]:
    """Every day from one to another, both counted."""
    return [first + number * DAY for number in range((last - first).days + 1)]
