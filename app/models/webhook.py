"""Webhook endpoints and deliveries."""

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, String, Text, UniqueConstraint, text, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import DeliveryStatus
from app.models.base import Base, Id, Instant, StoredEnum, Timestamped, enum_check


class WebhookConfiguration(Base, Timestamped):
    """An endpoint that wants events; `secret` is encrypted, `retry_count` counts failures in a row."""

    __tablename__ = "webhook_configurations"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(String(2048))
    secret: Mapped[str] = mapped_column(Text)
    event_types: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    is_active: Mapped[bool] = mapped_column(server_default=true())
    retry_count: Mapped[int] = mapped_column(server_default="0")
    last_delivery_at: Mapped[Instant | None]


class WebhookDelivery(Base, Timestamped):
    """One event for one endpoint; `payload` is the exact text that is signed and sent at every attempt."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[Id]
    webhook_config_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("webhook_configurations.id", ondelete="CASCADE"), index=True
    )
    event_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("events.id"), index=True)
    event_type: Mapped[str] = mapped_column(String(32))
    payload: Mapped[str] = mapped_column(Text)
    status: Mapped[DeliveryStatus] = mapped_column(StoredEnum(DeliveryStatus))
    response_code: Mapped[int | None] = mapped_column(SmallInteger)
    response_body: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_run_at: Mapped[Instant | None]
    delivered_at: Mapped[Instant | None]

    __table_args__ = (
        enum_check("status", DeliveryStatus),
        UniqueConstraint("webhook_config_id", "event_id"),
        Index("ix_webhook_deliveries_next_run_at", "next_run_at", postgresql_where=text("status = 'pending'")),
    )
