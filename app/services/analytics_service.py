"""Keeps the results of each user and UTC day, and answers them without a moment's delay.

Every fill, funding and end of a trade commits together with an event of its user, and a user's events are numbered
without a gap. So a user's days are up to date where their progress has the sequence of the user's last event. A
roll-up takes the events since, and computes the days that they may be about anew, from the fills, fundings and trades
themselves: done twice, or by two processes, it comes to the same. A day stands for what was booked between two
midnights UTC, by the clock of the database; what is booked late counts on the day of its booking. A trade's result
counts on the day it ended, also where a funding came later and changed it.

Days that are not up to date are computed as they are read.
"""

import asyncio
from datetime import date

from app.domain.analytics import Figures
from app.repositories.analytics_repository import Span
from app.repositories.unit_of_work import UnitOfWorkFactory

USERS = 50
# A user's events of one pass, so that the days of a long history are not all computed by one statement.
EVENTS = 10_000


class AnalyticsService:
    """Rolls up days, and reads them; reads may go to a replica, and are then as old as that is."""

    def __init__(self, uow: UnitOfWorkFactory, read_uow: UnitOfWorkFactory) -> None:
        self._uow = uow
        self._read_uow = read_uow

    async def roll_up(self) -> int:
        """Bring every user's days up to date; how many passes over users it took.

        It begins where it was interrupted. A user whom another process is at is left to that process. Users that
        cannot be counted keep nobody after them from it: the first error is raised at the end.
        """
        count = after = 0
        errors: list[BaseException] = []
        while user_ids := await self._behind(after):
            after = user_ids[-1]
            (counted,) = await asyncio.gather(self._count(user_ids), return_exceptions=True)
            if isinstance(counted, BaseException):
                errors.append(counted)
            else:
                count += counted
        if errors:
            raise errors[0]
        return count

    async def _count(self, user_ids: list[int]) -> int:
        count = 0
        while user_ids:
            count += len(user_ids)
            user_ids = await self._roll_up(user_ids)
        return count

    async def days(self, user_id: int, first: date, last: date) -> dict[date, Figures]:
        """The days of a user from one to another, both counted, that have any figures; as of one moment."""
        async with self._read_uow() as work:
            await work.events.freeze(user_id)
            days = await work.analytics.kept(user_id, first, last)
            for span in await work.analytics.uncounted([user_id]):
                start, stop = max(first, span.first), min(last, span.last)
                if start <= stop:
                    days |= await work.analytics.computed([Span(user_id, span.sequence, start, stop)])
        return days

    async def _behind(self, after: int) -> list[int]:
        async with self._uow() as work:
            user_ids = list(await work.analytics.behind(after, USERS))
            if user_ids:
                await work.analytics.begin(user_ids)
        return user_ids

    async def _roll_up(self, user_ids: list[int]) -> list[int]:
        """Count some of the events of users; those who have more."""
        async with self._uow() as work:
            progress = {row.user_id: row for row in await work.analytics.lock(user_ids)}
            if not progress:
                return []
            # The lock first: what is read from here on holds all that another process has counted.
            spans = await work.analytics.uncounted(list(progress), EVENTS)
            if spans:
                await work.analytics.write(spans)
            unfinished = []
            for span in spans:
                row = progress[span.user_id]
                if span.sequence == row.sequence + EVENTS:
                    unfinished.append(span.user_id)
                row.sequence = span.sequence
        return unfinished
