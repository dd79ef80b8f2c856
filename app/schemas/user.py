"""Users as they are answered."""

from datetime import datetime

from pydantic import Field

from app.domain.enums import AuthMethod, FeatureAccessLevel, WalletType
from app.schemas.base import ResponseModel


class UserAnswer(ResponseModel):
    """An account as its owner sees it."""

    id: int = Field(description="The account's id")
    email: str = Field(description="In lower case")
    username: str = Field(description="The name that was chosen")
    auth_method: AuthMethod = Field(description="How the account was made")
    wallet_type: WalletType | None = Field(description="Who holds the keys of its wallet; null without one")
    wallet_address: str | None = Field(description="The address of its wallet")
    is_sandbox: bool = Field(description="Whether it trades on paper, whatever the routes")
    feature_access_level: FeatureAccessLevel = Field(description="What an administrator lets it do")
    permissions: list[str] = Field(description="What that comes to: trade, deposit, withdraw")
    email_verified: bool = Field(description="Whether the email was shown to be its owner's")
    last_login_at: datetime | None = Field(description="When somebody logged in last, UTC, ISO 8601")
    created_at: datetime = Field(description="When the account was made, UTC, ISO 8601")
