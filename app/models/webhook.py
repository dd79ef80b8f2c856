"""Webhook endpoints, their deliveries, and every attempt at one."""

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, SmallInteger, String, Text, UniqueConstraint, text, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import DeliveryStatus
from app.models.base import Base, CreatedAt, Id, Instant, StoredEnum, Timestamped, enum_check


class WebhookConfiguration(Base, Timestamped):
    """An endpoint that wants events; secrets are encrypted, `retry_count` counts failures in a row.

    `secret_previous` signs too until `previous_until`; until `paused_until` only a probe a minute is sent.
    """

    __tablename__ = "webhook_configurations"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(String(2048))
    secret: Mapped[str] = mapped_column(Text)
    secret_previous: Mapped[str | None] = mapped_column(Text)
    previous_until: Mapped[Instant | None]
    secret_hint: Mapped[str] = mapped_column(String(8), server_default="")
    event_types: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    is_active: Mapped[bool] = mapped_column(server_default=true())
    retry_count: Mapped[int] = mapped_column(server_default="0")
    failing_since: Mapped[Instant | None]
    paused_until: Mapped[Instant | None]
    disabled_at: Mapped[Instant | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(24))
    last_delivery_at: Mapped[Instant | None]


class WebhookDelivery(Base, Timestamped):
    """One event for one endpoint; `payload` is the exact text that is signed and sent at every attempt.

    `attempts` counts claims, and so fences them; `attempts_before` are those made before it was asked for again.
    Each claim and each outcome is written to every index, so there are no more than are needed.
    """

    __tablename__ = "webhook_deliveries"

    id: Mapped[Id]
    webhook_config_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("webhook_configurations.id", ondelete="CASCADE")
    )
    event_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("events.id"))
    event_type: Mapped[str] = mapped_column(String(32))
    payload: Mapped[str] = mapped_column(Text)
    status: Mapped[DeliveryStatus] = mapped_column(StoredEnum(DeliveryStatus))
    response_code: Mapped[int | None] = mapped_column(SmallInteger)
    response_body: Mapped[str | None] = mapped_column(Text)
    last_error: Mapped[str | None] = mapped_column(String(32))
    attempts: Mapped[int] = mapped_column(server_default="0")
    attempts_before: Mapped[int] = mapped_column(server_default="0")
    next_run_at: Mapped[Instant | None]
    lease_until: Mapped[Instant | None]
    claimed_by: Mapped[str | None] = mapped_column(String(32))
    delivered_at: Mapped[Instant | None]

    __table_args__ = (
        enum_check("status", DeliveryStatus),
        UniqueConstraint("webhook_config_id", "event_id"),
        Index(
            "ix_webhook_deliveries_due",
            "webhook_config_id",
            "next_run_at",
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "ix_webhook_deliveries_leased",
            "webhook_config_id",
            "lease_until",
            postgresql_where=text("lease_until IS NOT NULL"),
        ),
        Index("ix_webhook_deliveries_webhook_config_id_status_id", "webhook_config_id", "status", "id"),
    )


class WebhookAttempt(Base):
    """One request that was sent for a delivery, and what came of it; the body is the delivery's."""

    __tablename__ = "webhook_attempts"

    id: Mapped[Id]
    delivery_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), index=True
    )
    number: Mapped[int] = mapped_column(Integer)
    url: Mapped[str] = mapped_column(String(2048))
    request_headers: Mapped[str] = mapped_column(Text)
    response_code: Mapped[int | None] = mapped_column(SmallInteger)
    response_body: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(String(32))
    duration_ms: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[CreatedAt]
