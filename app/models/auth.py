"""How users prove who they are: sessions, linked identities, connected wallets."""

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import AuthMethod, WalletType
from app.models.base import Base, Id, Instant, StoredEnum, Timestamped, enum_check


class Session(Base, Timestamped):
    """One login; only SHA-256 hashes of tokens are kept.

    `token` is the hash of the current access token's id (jti); `refresh_token` the hash of the current refresh
    token, `spent_refresh_tokens` those it replaced, so that the reuse of any of them is recognised.
    """

    __tablename__ = "sessions"

    id: Mapped[Id]
    public_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token: Mapped[str] = mapped_column(String(64), unique=True)
    refresh_token: Mapped[str | None] = mapped_column(String(64), unique=True)
    spent_refresh_tokens: Mapped[list[str]] = mapped_column(ARRAY(String(64)), server_default="{}")
    rotated_at: Mapped[Instant | None]
    auth_method: Mapped[AuthMethod] = mapped_column(StoredEnum(AuthMethod))
    ip: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(255))
    last_used_at: Mapped[Instant | None]
    expires_at: Mapped[Instant]
    absolute_expires_at: Mapped[Instant]
    revoked_at: Mapped[Instant | None]
    revoke_reason: Mapped[str | None] = mapped_column(String(32))

    __table_args__ = (
        enum_check("auth_method", AuthMethod),
        Index("ix_sessions_spent_refresh_tokens", "spent_refresh_tokens", postgresql_using="gin"),
    )


class OAuthConnection(Base, Timestamped):
    """An identity at Google or Apple linked to a user; both tokens are encrypted."""

    __tablename__ = "oauth_connections"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    provider: Mapped[str] = mapped_column(String(16))
    provider_user_id: Mapped[str] = mapped_column(String(255))
    access_token: Mapped[str] = mapped_column(Text)
    refresh_token: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[Instant | None]

    __table_args__ = (UniqueConstraint("provider", "provider_user_id"),)


class WalletConnection(Base, Timestamped):
    """A wallet whose owner proved it by signature."""

    __tablename__ = "wallet_connections"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    wallet_address: Mapped[str] = mapped_column(String(64), index=True)
    wallet_type: Mapped[WalletType] = mapped_column(StoredEnum(WalletType))
    signature: Mapped[str] = mapped_column(Text)
    verified: Mapped[bool] = mapped_column(server_default="false")

    __table_args__ = (UniqueConstraint("user_id", "wallet_address"), enum_check("wallet_type", WalletType))
