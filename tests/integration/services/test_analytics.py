"""Results by day: the same whether kept or computed, the sum of the books, whatever comes late or at the same time."""

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.bootstrap import Container
from app.domain.analytics import Figures, summarise
from app.domain.enums import OrderSide, TradeStatus
from app.domain.events import Event as DomainEvent
from app.domain.events import EventType, trade_event
from app.models.analytics import AnalyticsProgress, DailyAnalytics
from app.models.event import Event
from app.models.trading import Fill, FundingPayment, Trade
from app.repositories.unit_of_work import UnitOfWork
from app.services import analytics_service
from app.services.analytics_service import AnalyticsService
from tests.factories import Person, create_trade

DOCUMENT = Path(__file__).parents[3] / "docs/analytics.md"
FIRST, LAST = date(2026, 1, 1), date(2026, 1, 31)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass
class Books:
    """Writes what trading leaves behind, at instants of the test's choice."""

    container: Container
    user_id: int
    fills: int = 0

    @property
    def analytics(self) -> AnalyticsService:
        return self.container.analytics

    async def days(self) -> dict[date, Figures]:
        return await self.analytics.days(self.user_id, FIRST, LAST)

    async def kept(self) -> dict[date, Figures]:
        async with self.container.uow() as work:
            return await work.analytics.kept(self.user_id, FIRST, LAST)

    async def counted(self) -> int:
        async with self.container.uow() as work:
            row = await work.session.get(AnalyticsProgress, self.user_id)
        return row.sequence if row else 0

    async def told(self) -> int:
        async with self.container.uow() as work:
            return await work.events.last_sequence(self.user_id)

    async def open(self, at: datetime, **fill: str) -> Trade:
        """A trade and its first fill."""
        pair = self.container.directory.resolve_pair("BTCUSDT", "paper")
        async with self.container.uow() as work:
            trade = await create_trade(work, self.user_id, pair, opened_at=at, size=Decimal(1))
            await self._fill(work, trade, at, is_close=False, **fill)
        return trade

    async def close(self, trade: Trade, at: datetime, *, is_last: bool = True, **fill: str) -> None:
        """A fill that closes, and with it the trade unless something is left."""
        async with self.container.uow() as work:
            row = (await work.trades.locked([trade.id]))[trade.id]
            await self._fill(work, row, at, is_close=True, **fill)
            if is_last:
                row.size = Decimal(0)
                work.trades.move_locked(row, TradeStatus.CLOSED, closed_at=at)

    async def fund(self, trade: Trade, at: datetime, amount: str) -> None:
        """A funding of a trade."""
        async with self.container.uow() as work:
            row = (await work.trades.locked([trade.id]))[trade.id]
            row.funding += Decimal(amount)
            await work.fundings.add(
                FundingPayment(
                    trade_id=row.id,
                    venue_account_id=row.venue_account_id,
                    venue_trade_index="1",
                    instant=at,
                    amount=Decimal(amount),
                    rate=Decimal("0.001"),
                    size=Decimal(1),
                    mark_price=Decimal(100),
                    created_at=at,
                )
            )
            await self._log(work, trade_event(EventType.TRADE_UPDATED, row, "funding"), at)

    async def _fill(
        self,
        work: UnitOfWork,
        trade: Trade,
        at: datetime,
        *,
        is_close: bool,
        quantity: str = "1",
        price: str = "100",
        pnl: str = "0",
        fee: str = "0",
    ) -> None:
        self.fills += 1
        trade.pnl = (trade.pnl or Decimal(0)) + Decimal(pnl)
        trade.fees += Decimal(fee)
        await work.fills.add(
            Fill(
                user_id=self.user_id,
                venue_account_id=trade.venue_account_id,
                trade_id=trade.id,
                venue_fill_id=f"{trade.id}-{self.fills}",
                side=OrderSide.SELL if is_close else OrderSide.BUY,
                quantity=Decimal(quantity),
                price=Decimal(price),
                fee=Decimal(fee),
                pnl=Decimal(pnl),
                is_close=is_close,
                created_at=at,
            )
        )
        await self._log(work, trade_event(EventType.TRADE_UPDATED, trade), at)

    async def _log(self, work: UnitOfWork, event: DomainEvent, at: datetime) -> None:
        """Write an event that came with what was written; nobody sees it with another date."""
        await work.events.append([event])
        newest = select(func.max(Event.sequence)).where(Event.user_id == self.user_id).scalar_subquery()
        mine = update(Event).where(Event.user_id == self.user_id, Event.sequence == newest)
        await work.session.execute(mine.values(created_at=at))


@pytest.fixture
def books(container: Container, user: Person) -> Books:
    return Books(container, user.id)


@pytest.fixture
def other_books(container: Container, other_user: Person) -> Books:
    return Books(container, other_user.id)


def example(name: str) -> list[dict[str, str]]:
    """The rows of a table of the document, by its headings."""
    found = re.search(rf"<!-- example: {name} -->\n\n((?:\|.*\n)+)", DOCUMENT.read_text())
    assert found is not None
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


async def play_example(books: Books) -> None:
    trades: dict[str, Trade] = {}
    for row in example("bookings"):
        at = datetime.fromisoformat(f"{row['at (UTC)']}Z")
        fill = {name: row[name] for name in ("quantity", "price", "pnl", "fee")}
        match row["what"]:
            case "opens":
                trades[row["trade"]] = await books.open(at, **fill)
            case "funding":
                await books.fund(trades[row["trade"]], at, row["funding"])
            case what:
                await books.close(trades[row["trade"]], at, is_last=what == "ends", **fill)


def told(figures: Figures, names: Sequence[str]) -> list[Decimal | None]:
    return [None if value is None else Decimal(value) for value in (getattr(figures, name) for name in names)]


async def test_the_documented_example(books: Books) -> None:
    await play_example(books)
    computed = await books.days()
    await books.analytics.roll_up()

    assert computed == await books.days() == await books.kept()
    for row in example("days"):
        day = date.fromisoformat(row.pop("day"))
        assert told(computed.pop(day), list(row)) == [Decimal(value) for value in row.values()]
    assert computed == {}
    summary = summarise(await books.days())
    for row in example("summary"):
        source: Any = summary if row["figure"] == "max_drawdown" else summary.figures
        assert getattr(source, row["figure"]) == Decimal(row["value"]), row["figure"]


async def test_others_count_for_themselves(books: Books, other_books: Books) -> None:
    await books.open(NOON, price="100")
    await other_books.open(NOON, price="7")
    await books.analytics.roll_up()

    assert [(await each.days())[NOON.date()].volume for each in (books, other_books)] == [100, 7]


async def test_days_that_are_up_to_date_are_read_and_not_computed(books: Books) -> None:
    await books.open(NOON)
    await books.analytics.roll_up()
    async with books.container.uow() as work:
        mine = update(DailyAnalytics).where(DailyAnalytics.user_id == books.user_id)
        await work.session.execute(mine.values(volume=Decimal(77)))

    assert (await books.days())[NOON.date()].volume == 77
    # Something new of the next day: the days before stay as they are kept.
    await books.open(NOON + timedelta(days=1))
    assert [day.volume for _, day in sorted((await books.days()).items())] == [77, 100]
    # Something of the same day lets it be computed anew.
    await books.open(NOON)
    assert (await books.days())[NOON.date()].volume == 200


async def test_what_is_booked_after_a_roll_up_is_seen_at_once_and_kept_by_the_next(books: Books) -> None:
    trade = await books.open(NOON)
    await books.analytics.roll_up()
    await books.close(trade, NOON + timedelta(minutes=1), pnl="5", fee="1")

    assert (await books.days())[NOON.date()].net_pnl == 4
    assert (await books.kept())[NOON.date()].net_pnl == 0
    await books.analytics.roll_up()
    assert (await books.kept())[NOON.date()] == (await books.days())[NOON.date()]
    assert await books.counted() == await books.told()


async def test_a_roll_up_of_what_is_up_to_date_writes_nothing(books: Books) -> None:
    async def written_at() -> datetime | None:
        async with books.container.uow() as work:
            query = select(DailyAnalytics.updated_at).where(DailyAnalytics.user_id == books.user_id)
            return await work.session.scalar(query)

    trade = await books.open(NOON)
    await books.analytics.roll_up()
    before = await written_at()
    # An event that changes no figure.
    async with books.container.uow() as work:
        work.emit(trade_event(EventType.TRADE_UPDATED, trade))
    assert await books.analytics.roll_up() == 1
    assert await books.analytics.roll_up() == 0
    assert await written_at() == before is not None


async def test_a_funding_that_comes_after_the_end_changes_the_day_of_the_end(books: Books) -> None:
    trade = await books.open(NOON, fee="1")
    await books.close(trade, NOON + timedelta(hours=1), pnl="3", fee="1")
    await books.analytics.roll_up()
    assert (await books.days())[NOON.date()].trades_won == 1

    later = NOON + timedelta(days=3)
    await books.fund(trade, later, "-2.5")
    for _ in range(2):
        days = await books.days()
        ended, funded = days[NOON.date()], days[later.date()]
        assert (ended.trades_won, ended.trades_lost, ended.gross_loss) == (0, 1, Decimal("1.5"))
        assert (ended.net_pnl, funded.net_pnl) == (Decimal(1), Decimal("-2.5"))
        await books.analytics.roll_up()
    assert await books.kept() == days


async def test_a_stamp_on_the_other_side_of_midnight_than_its_event_counts(books: Books) -> None:
    midnight = datetime(2026, 1, 6, tzinfo=UTC)
    trade = await books.open(midnight - timedelta(seconds=1))
    await books.analytics.roll_up()
    # The clock of the process that ended it went before the clock of the database.
    await books.close(trade, midnight - timedelta(milliseconds=1))
    async with books.container.uow() as work:
        await work.session.execute(update(Trade).where(Trade.id == trade.id).values(closed_at=midnight))
    await books.analytics.roll_up()

    assert (await books.kept())[midnight.date()].trades_closed == 1


async def test_a_long_history_is_rolled_up_in_passes_and_goes_on_where_it_was_cut(
    books: Books, other_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analytics_service, "EVENTS", 3)
    monkeypatch.setattr(analytics_service, "USERS", 1)
    for each in (books, other_books):
        await play_example(each)
    expected = await books.days()

    class CutService(AnalyticsService):
        passes = 0

        async def _roll_up(self, user_ids: list[int]) -> list[int]:
            self.passes += 1
            if self.passes == 3:
                raise ConnectionResetError
            return await super()._roll_up(user_ids)

    with pytest.raises(ConnectionResetError):
        await CutService(books.container.uow, books.container.read_uow).roll_up()
    counted = await books.counted()
    assert 0 < counted < await books.told()
    assert await books.days() == expected
    await books.analytics.roll_up()

    assert await books.kept() == await other_books.kept() == expected
    assert await books.counted() == await books.told()


async def test_users_that_cannot_be_counted_keep_nobody_from_it(
    books: Books, other_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analytics_service, "USERS", 1)
    for each in (books, other_books):
        await each.open(NOON)
    first, second = sorted((books, other_books), key=lambda each: each.user_id)

    class BrokenService(AnalyticsService):
        async def _roll_up(self, user_ids: list[int]) -> list[int]:
            if user_ids == [first.user_id]:
                raise ArithmeticError
            return await super()._roll_up(user_ids)

    with pytest.raises(ArithmeticError):
        await BrokenService(books.container.uow, books.container.read_uow).roll_up()

    assert await first.counted() == 0
    assert (await second.kept())[NOON.date()].trades_opened == 1


async def test_a_user_whom_another_process_is_at_is_left_to_it(books: Books, other_books: Books) -> None:
    await books.open(NOON)
    await books.analytics.roll_up()
    for each in (books, other_books):
        await each.open(NOON)
    async with books.container.uow() as work:
        assert [row.user_id for row in await work.analytics.lock([books.user_id])] == [books.user_id]
        await books.analytics.roll_up()

    assert (await books.kept())[NOON.date()].trades_opened == 1
    assert (await other_books.kept())[NOON.date()].trades_opened == 1
    await books.analytics.roll_up()
    assert (await books.kept())[NOON.date()].trades_opened == 2


async def test_roll_ups_at_once_beside_trading_lose_nothing(books: Books) -> None:
    is_over = False

    async def keep_rolling() -> None:
        while not is_over:
            await books.analytics.roll_up()

    async def trade(number: int) -> None:
        opened = await books.open(NOON + timedelta(hours=6 * number), fee="0.000001")
        await books.analytics.days(books.user_id, FIRST, LAST)
        await books.close(opened, NOON + timedelta(hours=6 * number + 3), pnl="1.5", fee="0.25")

    rolling = [asyncio.create_task(keep_rolling()) for _ in range(3)]
    for number in range(12):
        await trade(number)
    is_over = True
    await asyncio.gather(*rolling)
    await books.analytics.roll_up()

    kept = await books.kept()
    assert summarise(kept).figures == Figures(
        pnl=Decimal(18),
        fees=Decimal("3.000012"),
        volume=Decimal(2400),
        trades_opened=12,
        trades_closed=12,
        trades_won=12,
        gross_profit=Decimal(18) - Decimal("3.000012"),
    )
    assert await books.days() == kept


@pytest.mark.parametrize("seed", range(3))
async def test_the_days_of_any_history_add_up_to_its_trades(books: Books, seed: int) -> None:
    chance = random.Random(seed)
    at, trades = datetime(2026, 1, 2, tzinfo=UTC), list[Trade]()

    def usdc(least: int, most: int) -> str:
        return str(Decimal(chance.randint(least, most)).scaleb(-6))

    for _ in range(40):
        at += timedelta(seconds=chance.randint(0, 100_000))
        fill = {
            "pnl": usdc(-(10**7), 10**7),
            "fee": usdc(0, 10**6),
            "price": usdc(1, 10**9),
            "quantity": usdc(1, 10**7),
        }
        some = chance.choice(trades) if trades else None
        is_open = some is not None and (await row_of(books, some)).status is TradeStatus.OPEN
        if some is None or chance.random() < 0.4:
            trades.append(await books.open(at, **{**fill, "pnl": "0"}))
        elif chance.random() < 0.3:
            await books.fund(some, at, usdc(-(10**6), 10**6))
        elif is_open:
            await books.close(some, at, is_last=chance.random() < 0.6, **fill)
        if chance.random() < 0.2:
            await books.analytics.roll_up()
    seen = await books.days()
    await books.analytics.roll_up()

    assert seen == await books.kept()
    await assert_sums(books, summarise(seen).figures)


async def row_of(books: Books, trade: Trade) -> Trade:
    async with books.container.uow() as work:
        return (await work.trades.locked([trade.id]))[trade.id]


async def assert_sums(books: Books, figures: Figures) -> None:
    """The figures are what the books say, asked without any days."""
    async with books.container.uow() as work:
        rows = await work.trades.of_user(books.user_id, statuses=None, before=None, limit=1000)
        fills = [fill for row in rows for fill in await work.fills.of_trade(row.id)]
        fundings = [funding for row in rows for funding in await work.fundings.of_trade(row.id)]
    ended = [(row.pnl or 0) - row.fees + row.funding for row in rows if row.status is TradeStatus.CLOSED]
    assert figures == Figures(
        pnl=sum((row.pnl or Decimal(0) for row in rows), Decimal(0)),
        fees=sum((row.fees for row in rows), Decimal(0)),
        funding=sum((funding.amount for funding in fundings), Decimal(0)),
        volume=sum((fill.quantity * fill.price for fill in fills), Decimal(0)),
        trades_opened=len(rows),
        trades_closed=len(ended),
        trades_won=sum(result > 0 for result in ended),
        trades_lost=sum(result < 0 for result in ended),
        gross_profit=sum((result for result in ended if result > 0), Decimal(0)),
        gross_loss=sum((-result for result in ended if result < 0), Decimal(0)),
    )
    assert figures.funding == sum((row.funding for row in rows), Decimal(0))
