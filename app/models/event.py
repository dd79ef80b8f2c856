"""The event log and its counters, and the records of idempotent requests."""

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, SmallInteger, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Id, Instant


class Event(Base):
    """What happened to one user, in a gapless order; `data` is JSON text, kept byte for byte."""

    __tablename__ = "events"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    sequence: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[str] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    fanned_out_at: Mapped[Instant | None]

    __table_args__ = (
        UniqueConstraint("user_id", "sequence"),
        Index("ix_events_not_fanned_out", "id", postgresql_where=text("fanned_out_at IS NULL")),
    )


class EventCounter(Base):
    """The last sequence given to a user's events."""

    __tablename__ = "event_counters"

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")


class IdempotencyRecord(Base):
    """The first request with a key: what it asked (fingerprint), the order it wrote, the answer it was given."""

    __tablename__ = "idempotency_records"

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    locked_until: Mapped[Instant | None]
    order_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("orders.id"))
    response_status: Mapped[int | None] = mapped_column(SmallInteger)
    response_body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[CreatedAt]

    __table_args__ = (Index("ix_idempotency_records_created_at", "created_at"),)
