"""Answers of the authentication routes."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from app.domain.enums import AuthMethod
from app.schemas.base import ResponseModel


class Tokens(ResponseModel):
    """Both tokens of a session; the access token lives `expires_in` seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = Field(default="bearer")
    expires_in: int = Field(examples=[1800])


class SessionAnswer(ResponseModel):
    """One login of the user; `is_current` marks the one that asks."""

    id: UUID
    auth_method: AuthMethod
    ip: str | None
    user_agent: str | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime
    is_current: bool


class SessionList(ResponseModel):
    """The user's open sessions, the newest first."""

    sessions: list[SessionAnswer]


class Ticket(ResponseModel):
    """A one-time ticket for `/ws?ticket=`, good for `expires_in` seconds."""

    ticket: str
    expires_in: int
