"""The caller's results: a summary, and a series by day, week or month."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Query

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit
from app.api.errors import SIGNED_IN, responses
from app.api.routing import StrictQueryRoute, router
from app.domain.analytics import ResultInterval, series, summarise
from app.domain.errors import InvalidRequest
from app.schemas.analytics import Day, PnlPoint, PnlResponse, SummaryResponse

MOST_DAYS = 3_660
MOST_POINTS = 1_000
EARLIEST = date(2000, 1, 1)

routes = router(prefix="/analytics", tag="analytics", route_class=StrictQueryRoute)

From = Annotated[Day | None, Query(alias="from", description="The first day, UTC")]
To = Annotated[Day | None, Query(alias="to", description="The last day, UTC; today where it is left out")]

READ_ERRORS = responses(*SIGNED_IN, "RATE_LIMITED")


@routes.get("/summary", responses=READ_ERRORS, dependencies=[rate_limit("default")])
async def summary(container: ContainerDep, user: CurrentUser, from_: From = None, to: To = None) -> SummaryResponse:
    """Answer what the caller's trading came to in a time, the last 30 days where no other is asked for."""
    first, last = _bounds(container.clock.now(), from_, to, ResultInterval.DAY, MOST_DAYS)
    days = await container.analytics.days(user.id, first, last)
    return SummaryResponse.of(summarise(days), first, last)


@routes.get("/pnl", responses=READ_ERRORS, dependencies=[rate_limit("default")])
async def pnl(
    container: ContainerDep,
    user: CurrentUser,
    interval: Annotated[ResultInterval, Query(description="How long each period is")] = ResultInterval.DAY,
    from_: From = None,
    to: To = None,
) -> PnlResponse:
    """Answer the caller's results period by period; 30 days, 12 weeks or 12 months where no other time is asked for."""
    most = MOST_POINTS if interval is ResultInterval.DAY else MOST_DAYS
    first, last = _bounds(container.clock.now(), from_, to, interval, most)
    days = await container.analytics.days(user.id, first, last)
    points = [PnlPoint.of(period) for period in series(days, first, last, interval)]
    return PnlResponse(interval=interval, first_day=first, last_day=last, points=points)


def _bounds(
    now: datetime, first: date | None, last: date | None, interval: ResultInterval, most: int
) -> tuple[date, date]:
    """The days that are asked for, none of them to come; VALIDATION_ERROR where there are none, or too many."""
    today = now.astimezone(UTC).date()
    last = today if last is None else min(max(last, EARLIEST), today)
    first = interval.begin_of_default(last) if first is None else first
    if first > last:
        raise _wrong("range_reversed", f"{first} lies after {last}, the last day that is asked for")
    if (last - first).days >= most:
        raise _wrong("range_too_long", f"From {first} to {last} are more than {most} days: ask for fewer")
    return first, last


def _wrong(code: str, message: str) -> InvalidRequest:
    return InvalidRequest(errors=[{"field": "query.from", "code": code, "message": message}])
