"""Answers about the process itself."""

from typing import Literal

from pydantic import Field

from app.domain.enums import StateScope, TradingState
from app.schemas.base import ResponseModel


class HeldBack(ResponseModel):
    """One thing whose trading is not active."""

    scope: StateScope = Field(description="What it is about", examples=[StateScope.VENUE])
    key: str = Field(description="`all`, a venue's name or a pair's id", examples=["paper"])
    state: TradingState = Field(description="What trading is allowed there", examples=[TradingState.HALTED])


class TradingHealth(ResponseModel):
    """What is held back on purpose, as of a second ago; it degrades nothing. Users are counted and not named."""

    held_back: list[HeldBack] = Field(description="What is not active")
    users_held_back: int = Field(description="How many users are not active", examples=[0])
    held_exits: int = Field(description="Exits that were reached, and wait for the end of a halt", examples=[0])


class Health(ResponseModel):
    """The process runs; `status` is `degraded` while a part is down."""

    status: Literal["ok", "degraded"] = Field(description="degraded while a part is down")
    version: str = Field(description="The server's version", examples=["0.1.0"])
    parts: dict[str, Literal["up", "down"]] = Field(
        description="Each part, and whether it is up", examples=[{"database": "up", "migrations": "up"}]
    )
    trading: TradingHealth = Field(description="What is held back on purpose")


class Alive(ResponseModel):
    """The process answers."""

    status: Literal["ok"] = Field(default="ok", description="Always ok")
