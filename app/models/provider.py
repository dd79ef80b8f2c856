"""Versioned configuration of providers."""

from typing import Any

from sqlalchemy import Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Id, Timestamped


class ProviderConfiguration(Base, Timestamped):
    """One version of a provider's settings; at most one version per (name, type) is active."""

    __tablename__ = "provider_configurations"

    id: Mapped[Id]
    provider_name: Mapped[str] = mapped_column(String(32), index=True)
    provider_type: Mapped[str] = mapped_column(String(16))
    config_data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    is_active: Mapped[bool] = mapped_column(server_default="false")
    version: Mapped[int]

    __table_args__ = (
        UniqueConstraint("provider_name", "provider_type", "version"),
        Index(
            "uq_provider_configurations_active",
            "provider_name",
            "provider_type",
            unique=True,
            postgresql_where=text("is_active"),
        ),
    )
