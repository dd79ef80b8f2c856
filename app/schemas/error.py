"""The one shape of every error."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class ErrorBody(BaseModel):
    """What went wrong: `code` is stable and for programs, `message` is for people."""

    code: str = Field(description="Stable, for programs; docs/errors.md lists all", examples=["VALIDATION_ERROR"])
    message: str = Field(
        description="For people; it may change",
        examples=["A field has a wrong type or value; details.errors names each one."],
    )
    details: dict[str, object] = Field(
        description="Facts for programs, by code",
        examples=[{"errors": [{"field": "body.leverage", "code": "missing", "message": "Field required"}]}],
    )
    timestamp: datetime = Field(description="When it was answered, UTC, ISO 8601")
    request_id: str = Field(
        description="As in the header X-Request-ID; quote it to the operator",
        examples=["req_5f3kz2v7m4q6w8x9y2a3b4c5d6"],
    )


class ErrorEnvelope(BaseModel):
    """An error as it is answered, whatever its status."""

    model_config = ConfigDict(title="Error")

    error: ErrorBody = Field(description="What went wrong")
