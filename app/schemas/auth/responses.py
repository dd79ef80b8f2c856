"""Answers of the authentication routes."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from app.domain.enums import AuthMethod
from app.schemas.base import ResponseModel


class Tokens(ResponseModel):
    """Both tokens of a session; the access token lives `expires_in` seconds."""

    access_token: str = Field(description="Goes into `Authorization: Bearer`")
    refresh_token: str = Field(description="Goes to /auth/refresh; good once")
    token_type: Literal["bearer"] = Field(default="bearer", description="Always bearer")
    expires_in: int = Field(description="Seconds that the access token lives", examples=[1800])


class SessionAnswer(ResponseModel):
    """One login of the user; `is_current` marks the one that asks."""

    id: UUID = Field(description="Names it to DELETE /auth/sessions/{id}")
    auth_method: AuthMethod = Field(description="How its user logged in")
    ip: str | None = Field(description="The address it began at")
    user_agent: str | None = Field(description="The program it began in")
    created_at: datetime = Field(description="When it began, UTC, ISO 8601")
    last_used_at: datetime | None = Field(description="When it was refreshed last, UTC, ISO 8601")
    expires_at: datetime = Field(description="When it ends without another refresh, UTC, ISO 8601")
    is_current: bool = Field(description="Whether it is the one that asks")


class SessionList(ResponseModel):
    """The user's open sessions, the newest first."""

    sessions: list[SessionAnswer] = Field(description="Newest first")


class Ticket(ResponseModel):
    """A one-time ticket for `/ws?ticket=`, good for `expires_in` seconds."""

    ticket: str = Field(description="Goes into `/ws?ticket=`; good once")
    expires_in: int = Field(description="Seconds that it lives")
