"""The event log as it is answered."""

from datetime import datetime

from pydantic import Field

from app.domain.events import EventType
from app.schemas.base import ResponseModel


class EventAnswer(ResponseModel):
    """One event; `data` is the text that every reader of the log gets, byte for byte."""

    id: str = Field(description="The event's id, everywhere the same", examples=["evt_42"])
    sequence: int = Field(examples=[7], description="Counts up by one per user, without gaps")
    type: EventType = Field(description="What happened")
    data: dict[str, object] = Field(description="The facts; /webhooks/event-types has their JSON Schema by type")
    created_at: datetime = Field(description="When it was committed, UTC, ISO 8601")


class EventPage(ResponseModel):
    """Events in the order they happened; ask again with `after=next_after` for what follows."""

    events: list[EventAnswer] = Field(description="Oldest first")
    next_after: int = Field(examples=[7], description="Ask with it for what follows")
    recovered: bool = Field(
        examples=[True],
        description="Whether every event after `after` is told from here on; "
        "false where `after` is beyond the end of the log, which `next_after` names",
    )
