"""Application configuration that operators change without a restart."""

from sqlalchemy import CheckConstraint, String, Text, true
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Id, Timestamped


class AppConfiguration(Base, Timestamped):
    """One setting, as text of the stated type; encrypted where `is_encrypted`."""

    __tablename__ = "app_configurations"

    id: Mapped[Id]
    config_key: Mapped[str] = mapped_column(String(64), unique=True)
    config_value: Mapped[str] = mapped_column(Text)
    config_type: Mapped[str] = mapped_column(String(8))
    category: Mapped[str] = mapped_column(String(32), index=True)
    description: Mapped[str | None] = mapped_column(String(255))
    is_encrypted: Mapped[bool] = mapped_column(server_default="false")
    is_active: Mapped[bool] = mapped_column(server_default=true())

    __table_args__ = (
        CheckConstraint("config_type IN ('string', 'int', 'float', 'bool', 'json')", name="config_type_known"),
    )
