"""Figures per user and day, derived from the event log."""

from datetime import date

from sqlalchemy import BigInteger, Date, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Money, UpdatedAt, amount_check, finite_check


class DailyAnalytics(Base):
    """One user's day (UTC): realised PnL, traded volume and fees in USDC, trades closed and won."""

    __tablename__ = "daily_analytics"

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    pnl: Mapped[Money]
    volume: Mapped[Money]
    fees: Mapped[Money]
    trades_closed: Mapped[int]
    trades_won: Mapped[int]
    updated_at: Mapped[UpdatedAt]

    __table_args__ = (finite_check("pnl"), amount_check("volume"), amount_check("fees"))
