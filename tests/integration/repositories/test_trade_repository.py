"""Questions about trades: indexes that are never reused, pages, owners, sums."""

import asyncio
from decimal import Decimal

import pytest

from app.bootstrap import Container
from app.domain.enums import TradeStatus
from app.models.market import Pair
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.factories import Person, create_order, create_trade


async def test_parallel_openers_get_each_index_once(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async def open_one(number: int) -> int:
        async with uow() as work:
            return (await create_trade(work, user.id, pair)).trade_index

    indexes = await asyncio.gather(*(open_one(number) for number in range(20)))

    assert sorted(indexes) == list(range(20))


async def test_an_index_is_not_reused_after_its_trade_ended(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        first = await create_trade(work, user.id, pair)
    async with uow() as work:
        row = (await work.trades.locked([first.id]))[first.id]
        work.trades.move_locked(row, TradeStatus.CLOSED)
    async with uow() as work:
        second = await create_trade(work, user.id, pair)

    assert (first.trade_index, second.trade_index) == (0, 1)


async def test_each_pair_and_each_user_counts_alone(
    uow: UnitOfWorkFactory, container: Container, user: Person, other_user: Person, pair: Pair
) -> None:
    other_pair = container.directory.resolve_pair("ETHUSDT", "paper")
    async with uow() as work:
        await create_trade(work, user.id, pair)
        mine = await create_trade(work, user.id, other_pair)
        theirs = await create_trade(work, other_user.id, pair)

    assert (mine.trade_index, theirs.trade_index) == (0, 0)


async def test_positions_of_one_market_that_were_opened_apart_are_counted(
    uow: UnitOfWorkFactory, container: Container, user: Person, other_user: Person, pair: Pair
) -> None:
    other_pair = container.directory.resolve_pair("ETHUSDT", "paper")
    async with uow() as work:
        before = await work.trades.opened_apart("paper")
        for owner, traded, index in ((user, pair, "a1"), (user, other_pair, "a2"), (other_user, pair, "a3")):
            await create_trade(work, owner.id, traded, venue_trade_index=index)
        assert await work.trades.opened_apart("paper") == before
        ended = await create_trade(work, user.id, pair, venue_trade_index="a4")
        assert await work.trades.opened_apart("paper") == before + 1
        assert await work.trades.opened_apart("ostium") == 0
        work.trades.move_locked(ended, TradeStatus.CLOSED)
        await work.session.flush()
        assert await work.trades.opened_apart("paper") == before


async def test_the_trade_of_an_order_is_told_to_its_owner_with_all_its_orders(
    uow: UnitOfWorkFactory, user: Person, other_user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trade, another = [await create_trade(work, user.id, pair) for _ in range(2)]
        orders = [await create_order(work, trade) for _ in range(3)]
        await create_order(work, another)

        assert await work.trades.of_order(user.id, orders[1].id) == (trade, orders)
        assert await work.trades.of_order(other_user.id, orders[1].id) is None
        assert await work.trades.of_order(user.id, 2**40) is None


async def test_a_trade_is_found_by_its_owner_only(
    uow: UnitOfWorkFactory, user: Person, other_user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)

        assert await work.trades.owned(user.id, trade.id) is trade
        assert await work.trades.at(user.id, pair.id, trade.trade_index) is trade
        assert list(await work.trades.among(user.id, [trade.id, 2**40])) == [trade]
        assert await work.trades.owned(other_user.id, trade.id) is None
        assert await work.trades.at(other_user.id, pair.id, trade.trade_index) is None
        assert await work.trades.among(other_user.id, [trade.id]) == []


async def test_pages_show_every_trade_once_newest_first(
    uow: UnitOfWorkFactory, user: Person, other_user: Person, pair: Pair
) -> None:
    async with uow() as work:
        made = []
        for number in range(7):
            status = TradeStatus.CLOSED if number % 2 else TradeStatus.OPEN
            made.append((await create_trade(work, user.id, pair, status=status)).id)
            await create_trade(work, other_user.id, pair)

    async def pages(statuses: list[TradeStatus] | None) -> list[list[int]]:
        shown: list[list[int]] = []
        before = None
        while True:
            async with uow() as work:
                rows = await work.trades.of_user(user.id, statuses=statuses, before=before, limit=3)
            if not rows:
                return shown
            shown.append([row.id for row in rows])
            before = rows[-1].id

    newest_first = made[::-1]
    assert await pages(None) == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert await pages([TradeStatus.CLOSED]) == [made[5::-2]]


@pytest.mark.parametrize(
    ("status", "is_open"), [(status, status in {TradeStatus.OPEN, TradeStatus.CLOSING}) for status in TradeStatus]
)
async def test_open_trades_of_a_venue(
    uow: UnitOfWorkFactory, user: Person, pair: Pair, status: TradeStatus, is_open: bool
) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair, status=status)
        found = trade.id in {row.id for row in await work.trades.open_at_venue(pair.venue)}
        elsewhere = await work.trades.open_at_venue("elsewhere")

    assert (found, elsewhere) == (is_open, [])


async def test_realised_money_is_the_sum_over_all_trades(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        assert await work.trades.realised(user.id, pair.venue) == (Decimal(0), Decimal(0), Decimal(0))
        await create_trade(work, user.id, pair, pnl=Decimal("-1.000001"), fees=Decimal("0.5"))
        await create_trade(work, user.id, pair, pnl=None, status=TradeStatus.CANCELLED)
        await create_trade(work, user.id, pair, pnl=Decimal("3.000002"), fees=Decimal("0.25"), funding=Decimal("-2"))

        assert await work.trades.realised(user.id, pair.venue) == (Decimal("2.000001"), Decimal("0.75"), Decimal(-2))


async def test_open_trades_are_known_by_the_venues_index_the_oldest_first(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair, venue_trade_index="v-9")
        netted = await create_trade(work, user.id, pair, venue_trade_index="v-9")
        await create_trade(work, user.id, pair, venue_trade_index="v-9", status=TradeStatus.CLOSED)

        assert await work.trades.all_by_venue_index(trade.venue_account_id, "v-9") == [trade, netted]
        assert await work.trades.all_by_venue_index(trade.venue_account_id, "v-10") == []
        assert await work.trades.all_by_venue_index(trade.venue_account_id + 1, "v-9") == []
