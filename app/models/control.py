"""What holds trading back: trading states with their history, and dead man's switches."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import StateScope, SwitchScope, TradingState
from app.models.base import Base, CreatedAt, Id, Instant, StoredEnum, Timestamped, UpdatedAt, enum_check


class TradingStateRow(Base):
    """What trading is allowed of one thing: `key` is a venue's name, a pair's or a user's id, or "all"."""

    __tablename__ = "trading_states"

    id: Mapped[Id]
    scope: Mapped[StateScope] = mapped_column(StoredEnum(StateScope))
    key: Mapped[str] = mapped_column(String(32))
    state: Mapped[TradingState] = mapped_column(StoredEnum(TradingState))
    reason: Mapped[str] = mapped_column(Text)
    changed_by: Mapped[str] = mapped_column(String(64))
    updated_at: Mapped[UpdatedAt]

    __table_args__ = (
        UniqueConstraint("scope", "key"),
        enum_check("scope", StateScope),
        enum_check("state", TradingState),
    )


class TradingStateChange(Base):
    """One change of a trading state: who, when, from what to what, and why. Only ever added."""

    __tablename__ = "trading_state_changes"

    id: Mapped[Id]
    scope: Mapped[StateScope] = mapped_column(StoredEnum(StateScope))
    key: Mapped[str] = mapped_column(String(32))
    old_state: Mapped[TradingState] = mapped_column(StoredEnum(TradingState))
    new_state: Mapped[TradingState] = mapped_column(StoredEnum(TradingState))
    reason: Mapped[str] = mapped_column(Text)
    changed_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        enum_check("scope", StateScope),
        enum_check("old_state", TradingState),
        enum_check("new_state", TradingState),
    )


class DeadManSwitch(Base, Timestamped):
    """A user's switch: armed while `fires_at` is set, firing while `fired_at` is.

    Both are instants of the database's clock. What it cancels was there at `fired_at`; a new arming changes nothing
    of a firing.
    """

    __tablename__ = "dead_man_switches"

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"), primary_key=True)
    scope: Mapped[SwitchScope] = mapped_column(StoredEnum(SwitchScope))
    fires_at: Mapped[Instant | None]
    fired_at: Mapped[Instant | None]
    fired_scope: Mapped[SwitchScope | None] = mapped_column(StoredEnum(SwitchScope))
    next_run_at: Mapped[Instant] = mapped_column(server_default=func.clock_timestamp())

    __table_args__ = (
        enum_check("scope", SwitchScope),
        enum_check("fired_scope", SwitchScope),
        CheckConstraint("(fired_at IS NULL) = (fired_scope IS NULL)", name="firing_complete"),
        Index("ix_dead_man_switches_fires_at", "fires_at", postgresql_where=text("fires_at IS NOT NULL")),
        Index("ix_dead_man_switches_fired_at", "fired_at", postgresql_where=text("fired_at IS NOT NULL")),
    )
