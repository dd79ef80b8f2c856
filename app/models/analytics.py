"""Results by user and UTC day, and how much of each user's event log they count."""

from datetime import date

from sqlalchemy import BigInteger, Date, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Money, UpdatedAt, amount_check, finite_check


class DailyAnalytics(Base):
    """One user's day in USDC: what its fills, fundings and ended trades come to; a day without any has no row.

    `gross_profit` is the sum of the net results of trades that ended in profit, `gross_loss` that of the others,
    without its sign.
    """

    __tablename__ = "daily_analytics"

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    pnl: Mapped[Money]
    fees: Mapped[Money]
    funding: Mapped[Money] = mapped_column(server_default="0")
    volume: Mapped[Money]
    trades_opened: Mapped[int] = mapped_column(server_default="0")
    trades_closed: Mapped[int]
    trades_won: Mapped[int]
    trades_lost: Mapped[int] = mapped_column(server_default="0")
    gross_profit: Mapped[Money] = mapped_column(server_default="0")
    gross_loss: Mapped[Money] = mapped_column(server_default="0")
    updated_at: Mapped[UpdatedAt]

    __table_args__ = (
        finite_check("pnl"),
        amount_check("fees"),
        finite_check("funding"),
        amount_check("volume"),
        amount_check("gross_profit"),
        amount_check("gross_loss"),
    )


class AnalyticsProgress(Base):
    """The sequence up to which a user's events are counted in their days; locked while those are written."""

    __tablename__ = "analytics_progress"

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")
