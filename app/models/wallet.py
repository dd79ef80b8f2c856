"""Wallets that belong to users."""

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import WalletType
from app.models.base import Base, Id, StoredEnum, Timestamped, enum_check


class Wallet(Base, Timestamped):
    """A wallet held by a provider (privy, dynamic) or by the user (external); never its keys."""

    __tablename__ = "wallets"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    wallet_address: Mapped[str] = mapped_column(String(64), index=True)
    wallet_type: Mapped[WalletType] = mapped_column(StoredEnum(WalletType))
    provider: Mapped[str] = mapped_column(String(16))
    provider_wallet_id: Mapped[str | None] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(server_default=true())

    __table_args__ = (UniqueConstraint("user_id", "wallet_address"), enum_check("wallet_type", WalletType))
