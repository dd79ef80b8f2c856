"""Answers about the process itself."""

from typing import Literal

from pydantic import Field

from app.schemas.base import ResponseModel


class Health(ResponseModel):
    """The process runs; `status` is `degraded` while a part is down."""

    status: Literal["ok", "degraded"]
    version: str = Field(examples=["0.1.0"])
    parts: dict[str, Literal["up", "down"]] = Field(examples=[{"database": "up", "migrations": "up"}])


class Alive(ResponseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
