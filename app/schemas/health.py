"""Answers about the process itself."""

from typing import Literal

from pydantic import Field

from app.domain.enums import StateScope, TradingState
from app.schemas.base import ResponseModel


class HeldBack(ResponseModel):
    """One thing whose trading is not active."""

    scope: StateScope = Field(examples=[StateScope.VENUE])
    key: str = Field(examples=["paper"])
    state: TradingState = Field(examples=[TradingState.HALTED])


class TradingHealth(ResponseModel):
    """What is held back on purpose, as of a second ago; it degrades nothing. Users are counted and not named."""

    held_back: list[HeldBack]
    users_held_back: int = Field(examples=[0])
    held_exits: int = Field(description="Exits that were reached, and wait for the end of a halt", examples=[0])


class Health(ResponseModel):
    """The process runs; `status` is `degraded` while a part is down."""

    status: Literal["ok", "degraded"]
    version: str = Field(examples=["0.1.0"])
    parts: dict[str, Literal["up", "down"]] = Field(examples=[{"database": "up", "migrations": "up"}])
    trading: TradingHealth


class Alive(ResponseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
