"""Users as they are answered."""

from datetime import datetime

from app.domain.enums import AuthMethod, FeatureAccessLevel, WalletType
from app.schemas.base import ResponseModel


class UserAnswer(ResponseModel):
    """An account as its owner sees it."""

    id: int
    email: str
    username: str
    auth_method: AuthMethod
    wallet_type: WalletType | None
    wallet_address: str | None
    is_sandbox: bool
    feature_access_level: FeatureAccessLevel
    permissions: list[str]
    email_verified: bool
    last_login_at: datetime | None
    created_at: datetime
