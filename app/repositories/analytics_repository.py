"""Results by user and UTC day: computed from fills, fundings and trades, and kept as rows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    Select,
    and_,
    cast,
    func,
    literal_column,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

from app.domain.analytics import FIGURES, Figures
from app.domain.enums import TradeStatus
from app.models.analytics import AnalyticsProgress, DailyAnalytics
from app.models.event import Event, EventCounter
from app.models.market import VenueAccount
from app.models.trading import Fill, FundingPayment, Trade
from app.repositories.base import values_table

type Stamp = InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]

# How far the stamps of what a transaction books may lie from that of its event, written at its end: a transaction has
# limits of seconds, and trades are stamped by the clock of their process.
ALLOWANCE = timedelta(hours=1)
_ENDED = (TradeStatus.CLOSED, TradeStatus.LIQUIDATED)
_INSTANT = DateTime(timezone=True)
_NONE: ColumnElement[Any] = literal_column("0")


class Span(NamedTuple):
    """Days of a user whose figures may have changed: from `first` to `last`, by events up to `sequence`."""

    user_id: int
    sequence: int
    first: date
    last: date


class AnalyticsRepository:
    """Questions about results, and the rows that keep the answers."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def behind(self, after: int, limit: int) -> Sequence[int]:
        """Users with an id above `after` whose log has events that their days do not count, ascending."""
        query = (
            select(EventCounter.user_id)
            .outerjoin(AnalyticsProgress, AnalyticsProgress.user_id == EventCounter.user_id)
            .where(EventCounter.user_id > after, EventCounter.sequence > func.coalesce(AnalyticsProgress.sequence, 0))
        )
        return (await self.session.scalars(query.order_by(EventCounter.user_id).limit(limit))).all()

    async def begin(self, user_ids: Sequence[int]) -> None:
        """Give each user who has none a row of progress."""
        rows = [{"user_id": user_id} for user_id in sorted(user_ids)]
        await self.session.execute(upsert(AnalyticsProgress).values(rows).on_conflict_do_nothing())

    async def lock(self, user_ids: Sequence[int]) -> Sequence[AnalyticsProgress]:
        """The progress of users, locked, by user; those that another process works on are left out."""
        query = select(AnalyticsProgress).where(AnalyticsProgress.user_id.in_(user_ids))
        query = query.order_by(AnalyticsProgress.user_id).with_for_update(skip_locked=True)
        return (await self.session.scalars(query, execution_options={"populate_existing": True})).all()

    async def uncounted(self, user_ids: Sequence[int], most: int | None = None) -> list[Span]:
        """What users' days do not count yet, by at most so many of their events (all when None).

        A funding of a trade that had ended before widens the span: it changes that trade's result.
        """
        counted = func.coalesce(AnalyticsProgress.sequence, 0)
        until = EventCounter.sequence if most is None else func.least(EventCounter.sequence, counted + most)
        query = (
            select(EventCounter.user_id, until, func.min(Event.created_at), func.max(Event.created_at))
            .outerjoin(AnalyticsProgress, AnalyticsProgress.user_id == EventCounter.user_id)
            .join(Event, and_(Event.user_id == EventCounter.user_id, Event.sequence > counted, Event.sequence <= until))
            .where(EventCounter.user_id.in_(user_ids))
            .group_by(EventCounter.user_id, AnalyticsProgress.user_id)
            .order_by(EventCounter.user_id)
        )
        found = [(row[0], row[1], row[2] - ALLOWANCE, row[3] + ALLOWANCE) for row in await self.session.execute(query)]
        ended = await self._ended_before({user_id: since for user_id, _, since, _ in found})
        return [
            Span(user_id, sequence, _day(min(since, ended.get(user_id, since))), _day(last))
            for user_id, sequence, since, last in found
        ]

    async def _ended_before(self, since: Mapping[int, datetime]) -> dict[int, datetime]:
        """When the first trade ended, before an instant, that had a funding booked after it; of each user."""
        given = values_table({"user_id": BigInteger(), "since": _INSTANT}, list(since.items()))
        query = (
            select(Trade.user_id, func.min(Trade.closed_at))
            .select_from(given)
            .join(VenueAccount, VenueAccount.user_id == given.c.user_id)
            .join(
                FundingPayment,
                and_(FundingPayment.venue_account_id == VenueAccount.id, FundingPayment.created_at >= given.c.since),
            )
            .join(Trade, Trade.id == FundingPayment.trade_id)
            .where(Trade.closed_at < given.c.since)
            .group_by(Trade.user_id)
        )
        return {user_id: at for user_id, at in await self.session.execute(query) if at is not None}

    async def computed(self, spans: Sequence[Span]) -> dict[date, Figures]:
        """The figures of the days of one user's spans that have any, from what is booked."""
        return {row[1]: Figures(*row[2:]) for row in await self.session.execute(_computed(spans))}

    async def write(self, spans: Sequence[Span]) -> None:
        """Compute the days of spans, and keep them; those that stay as they are are not written."""
        query = _computed(spans)
        statement = upsert(DailyAnalytics).from_select(["user_id", "day", *FIGURES], query)
        new = statement.excluded
        is_news = tuple_(*(getattr(DailyAnalytics, name) for name in FIGURES)).is_distinct_from(
            tuple_(*(new[name] for name in FIGURES))
        )
        values = {name: new[name] for name in FIGURES} | {"updated_at": func.clock_timestamp()}
        await self.session.execute(
            statement.on_conflict_do_update(
                index_elements=[DailyAnalytics.user_id, DailyAnalytics.day], set_=values, where=is_news
            )
        )

    async def kept(self, user_id: int, first: date, last: date) -> dict[date, Figures]:
        """The rows of a user's days from one to another, both counted."""
        query = select(DailyAnalytics.day, *(getattr(DailyAnalytics, name) for name in FIGURES)).where(
            DailyAnalytics.user_id == user_id, DailyAnalytics.day >= first, DailyAnalytics.day <= last
        )
        return {row[0]: Figures(*row[1:]) for row in await self.session.execute(query)}


def _computed(spans: Sequence[Span]) -> Select[Any]:
    """(user, day, figures) of the days of spans that have any; no two spans of a user hold the same day."""
    kinds: dict[str, TypeEngine[Any]] = {"user_id": BigInteger(), **dict.fromkeys(("start", "stop"), _INSTANT)}
    rows = [(span.user_id, _midnight(span.first), _midnight(span.last + timedelta(days=1))) for span in spans]
    span = select(*values_table(kinds, rows).c).cte("span")
    parts = union_all(_of_fills(span), _of_fundings(span), _of_beginnings(span), _of_ends(span)).subquery("parts")
    # As the table keeps them, so that a day is the same whether it is read or computed.
    sums = [cast(func.sum(parts.c[name]), DailyAnalytics.__table__.c[name].type).label(name) for name in FIGURES]
    return select(parts.c.user_id, parts.c.day, *sums).group_by(parts.c.user_id, parts.c.day)


def _of_fills(span: CTE) -> Select[Any]:
    figures = {"pnl": func.sum(Fill.pnl), "fees": func.sum(Fill.fee), "volume": func.sum(Fill.quantity * Fill.price)}
    query = _part(span, Fill.created_at, figures)
    return query.join(Fill, and_(Fill.user_id == span.c.user_id, _within(span, Fill.created_at)))


def _of_fundings(span: CTE) -> Select[Any]:
    booked_at = FundingPayment.created_at
    query = _part(span, booked_at, {"funding": func.sum(FundingPayment.amount)})
    query = query.join(VenueAccount, VenueAccount.user_id == span.c.user_id)
    is_mine = FundingPayment.venue_account_id == VenueAccount.id
    return query.join(FundingPayment, and_(is_mine, _within(span, booked_at)))


def _of_beginnings(span: CTE) -> Select[Any]:
    query = _part(span, Trade.opened_at, {"trades_opened": func.count()})
    return query.join(Trade, and_(Trade.user_id == span.c.user_id, _within(span, Trade.opened_at)))


def _of_ends(span: CTE) -> Select[Any]:
    result = func.coalesce(Trade.pnl, 0) - Trade.fees + Trade.funding
    figures = {
        "trades_closed": func.count(),
        "trades_won": func.count().filter(result > 0),
        "trades_lost": func.count().filter(result < 0),
        "gross_profit": func.sum(func.greatest(result, 0)),
        "gross_loss": func.sum(func.greatest(-result, 0)),
    }
    is_ended = and_(Trade.status.in_(_ENDED), _within(span, Trade.closed_at))
    return _part(span, Trade.closed_at, figures).join(Trade, and_(Trade.user_id == span.c.user_id, is_ended))


def _part(span: CTE, at: Stamp, figures: Mapping[str, ColumnElement[Any]]) -> Select[Any]:
    """Some figures of spans, by user and the day of an instant; the others are 0."""
    day = cast(func.timezone("UTC", at), Date).label("day")
    columns = [figures.get(name, _NONE).label(name) for name in FIGURES]
    return select(span.c.user_id, day, *columns).select_from(span).group_by(span.c.user_id, day)


def _within(span: CTE, at: Stamp) -> ColumnElement[bool]:
    return and_(at >= span.c.start, at < span.c.stop)


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
