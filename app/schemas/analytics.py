"""Answers about results: amounts in USDC, days from midnight to midnight UTC."""

import re
from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.domain.analytics import Figures, Period, ResultInterval, Summary
from app.schemas.base import Number, ResponseModel

_DAY_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Those of the example in docs/analytics.md.
FIRST_DAY, LAST_DAY = "2026-01-05", "2026-01-07"


def _day_text(value: object) -> object:
    """Take a day as it is written in JSON, and not a count of seconds that happens to be at midnight."""
    if isinstance(value, str) and _DAY_TEXT.fullmatch(value) is None:
        raise PydanticCustomError("day_text", "Write a day as 2026-01-31")
    return value


Day = Annotated[date, BeforeValidator(_day_text)]


class FiguresResponse(ResponseModel):
    """What was booked in a time."""

    pnl: Number = Field(description="Realised, before fees and funding", examples=[4.01])
    fees: Number = Field(description="Fees paid, in USDC", examples=[0.262])
    funding: Number = Field(description="Negative where it was paid", examples=[-0.5])
    net_pnl: Number = Field(description="pnl - fees + funding", examples=[3.248])
    volume: Number = Field(description="Quantity x price of all fills", examples=[524.01])
    trades_opened: int = Field(description="Trades whose entry had its first fill", examples=[3])
    trades_closed: int = Field(description="Closed or liquidated", examples=[3])
    trades_won: int = Field(description="With a result above zero, after fees and funding", examples=[1])
    trades_lost: int = Field(description="With a result below zero, after fees and funding", examples=[1])


class PnlPoint(FiguresResponse):
    """One period, or what of it lies within the bounds."""

    first_day: date = Field(description="The first day of it, UTC", examples=[FIRST_DAY])
    last_day: date = Field(description="The last day of it, UTC", examples=[LAST_DAY])
    cumulative_net_pnl: Number = Field(description="Net PnL from the first period to the end of this", examples=[3.248])

    @classmethod
    def of(cls, period: Period) -> "PnlPoint":
        """A period as it is answered."""
        return cls(
            **_told(period.figures),
            first_day=period.first_day,
            last_day=period.last_day,
            cumulative_net_pnl=period.cumulative_net_pnl,
        )


class PnlResponse(ResponseModel):
    """Results period by period, oldest first; those without trading are there too."""

    interval: ResultInterval = Field(description="How long each period lasts", examples=[ResultInterval.WEEK])
    first_day: date = Field(description="The first day that counts, UTC", examples=[FIRST_DAY])
    last_day: date = Field(description="The last day that counts, UTC", examples=[LAST_DAY])
    points: list[PnlPoint] = Field(description="The periods, oldest first")


class SummaryResponse(FiguresResponse):
    """Results of a time, and the ratios that follow; null where there is nothing to divide by."""

    first_day: date = Field(description="The first day that counts, UTC", examples=[FIRST_DAY])
    last_day: date = Field(description="The last day that counts, UTC", examples=[LAST_DAY])
    win_rate: Number | None = Field(description="Won trades in per cent of those that ended", examples=[33.33])
    gross_profit: Number = Field(description="What won trades gained", examples=[6.2965])
    gross_loss: Number = Field(description="What lost trades lost, without its sign", examples=[3.0485])
    profit_factor: Number | None = Field(description="gross_profit / gross_loss", examples=[2.0654])
    average_win: Number | None = Field(description="gross_profit / trades_won, in USDC", examples=[6.2965])
    average_loss: Number | None = Field(description="gross_loss / trades_lost, in USDC", examples=[3.0485])
    max_drawdown: Number = Field(
        description="How far the days' net PnL, summed up, fell below its highest", examples=[0.1]
    )

    @classmethod
    def of(cls, summary: Summary, first_day: date, last_day: date) -> "SummaryResponse":
        """A summary as it is answered."""
        figures = summary.figures
        return cls(
            **_told(figures),
            first_day=first_day,
            last_day=last_day,
            win_rate=figures.win_rate,
            gross_profit=figures.gross_profit,
            gross_loss=figures.gross_loss,
            profit_factor=figures.profit_factor,
            average_win=figures.average_win,
            average_loss=figures.average_loss,
            max_drawdown=summary.max_drawdown,
        )


def _told(figures: Figures) -> dict[str, Any]:
    return {name: getattr(figures, name) for name in FiguresResponse.model_fields}
