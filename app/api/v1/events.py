"""The caller's event log."""

from typing import Annotated

import orjson
from fastapi import Query, Request, Response

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit
from app.api.errors import SIGNED_IN, responses
from app.api.routing import StrictQueryRoute, router, wants_strings
from app.core.json import decode_exact, encode, rfc3339
from app.domain.errors import InvalidRequest
from app.domain.events import EventType
from app.schemas.base import MAX_ID
from app.schemas.event import EventPage

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

events = router(tag="events", route_class=StrictQueryRoute)


@events.get(
    "/events",
    response_model=EventPage,
    responses=responses(*SIGNED_IN, "RATE_LIMITED"),
    dependencies=[rate_limit("default")],
)
async def list_events(
    request: Request,
    container: ContainerDep,
    user: CurrentUser,
    after: Annotated[int, Query(ge=0, le=MAX_ID, description="A sequence; what came after it is told")] = 0,
    types: Annotated[str | None, Query(max_length=1024, description="Event types, separated by commas")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Events at most")] = DEFAULT_LIMIT,
) -> Response:
    """Read what happened to the caller's money, oldest first."""
    wanted = None if types is None else _known_types(types)
    async with container.uow() as work:
        rows = await work.events.after(user.id, after, limit=limit, types=wanted)
        # A number from another installation, or from before a restore, would be waited for without end.
        last = rows[-1].sequence if rows else min(after, await work.events.last_sequence(user.id))
    shown = [
        {
            "id": f"evt_{row.id}",
            "sequence": row.sequence,
            "type": row.type,
            "data": _told(row.data, as_strings=wants_strings(request)),
            "created_at": rfc3339(row.created_at),
        }
        for row in rows
    ]
    page = {"events": shown, "next_after": last, "recovered": last >= after}
    return Response(encode(page), media_type="application/json")


def _told(data: str, *, as_strings: bool) -> orjson.Fragment:
    """The text of the log, or the same with its decimal numbers as strings."""
    return orjson.Fragment(encode(decode_exact(data), numbers_as_strings=True) if as_strings else data)


def _known_types(text: str) -> list[str]:
    """The types that a comma-separated list names; VALIDATION_ERROR lists those that exist."""
    names = [name.strip() for name in text.split(",")]
    known = [kind.value for kind in EventType]
    if any(name not in known for name in names):
        wrong = {"field": "query.types", "code": "event_type_unknown", "message": f"Known are {', '.join(known)}"}
        raise InvalidRequest(errors=[wrong])
    return names
