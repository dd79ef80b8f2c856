"""Users."""

from sqlalchemy import BigInteger, ForeignKey, Index, String, func, true
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import AuthMethod, FeatureAccessLevel, WalletType
from app.models.base import Base, Id, Instant, StoredEnum, Timestamped, enum_check


class User(Base, Timestamped):
    """A person or program with an account; `email` is stored in lower case."""

    __tablename__ = "users"

    id: Mapped[Id]
    email: Mapped[str] = mapped_column(String(254), unique=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    hashed_password: Mapped[str | None] = mapped_column(String(255))
    auth0_user_id: Mapped[str | None] = mapped_column(String(255), unique=True)
    privy_user_id: Mapped[str | None] = mapped_column(String(255), unique=True)
    auth_method: Mapped[AuthMethod] = mapped_column(StoredEnum(AuthMethod))
    wallet_type: Mapped[WalletType | None] = mapped_column(StoredEnum(WalletType))
    wallet_address: Mapped[str | None] = mapped_column(String(64), index=True)
    mpc_wallet_id: Mapped[int | None] = mapped_column(
        BigInteger,
        ForeignKey("wallets.id", name="fk_users_mpc_wallet_id", use_alter=True, ondelete="SET NULL"),
        index=True,
    )
    is_active: Mapped[bool] = mapped_column(server_default=true())
    is_superuser: Mapped[bool] = mapped_column(server_default="false")
    is_sandbox: Mapped[bool] = mapped_column(server_default="false")
    feature_access_level: Mapped[FeatureAccessLevel] = mapped_column(
        StoredEnum(FeatureAccessLevel), server_default=FeatureAccessLevel.FULL.value
    )
    email_verified: Mapped[bool] = mapped_column(server_default="false")
    last_login_at: Mapped[Instant | None]

    __table_args__ = (
        enum_check("auth_method", AuthMethod),
        enum_check("wallet_type", WalletType),
        enum_check("feature_access_level", FeatureAccessLevel),
        Index("uq_users_lower_email", func.lower(email), unique=True),
        Index("uq_users_lower_username", func.lower(username), unique=True),
    )

    @property
    def permissions(self) -> list[str]:
        """What the access level allows."""
        return self.feature_access_level.permissions
