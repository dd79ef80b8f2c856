"""Caps of a user at a venue, and netting: counted under the account's lock, so that nothing slips past in parallel."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import OrderType, TradeStatus
from app.domain.errors import Conflict
from app.domain.limits import Caps, Usage, VenueCaps
from app.domain.order_terms import ExitTerms
from app.domain.routing import parse_rules
from app.domain.trading import VenueCapabilities
from app.services.exit_order_service import ExitOrderService
from app.services.market_view import MarketView
from app.services.providers.factory import ProviderFactory
from app.services.providers.router import ProviderRouter
from app.services.trading_service import TradingService
from tests.desks import Desk
from tests.factories import open_terms
from tests.fakes import Act

STOP = ExitTerms(order_type=OrderType.STOP_LOSS, stop_price=Decimal(950))


def cap(desk: Desk, **caps: int) -> None:
    """Let the desk's services know caps."""
    router = ProviderRouter(
        ProviderFactory({desk.venue.name: desk.venue}), parse_rules(desk.venue.name, [], []), desk.directory
    )
    known = VenueCaps(Caps(**caps), {})
    desk.market = MarketView(desk.uow, desk.directory, router, desk.board, desk.container.clock, known)
    desk.trading = TradingService(
        desk.uow, desk.market, desk.execution, desk.container.broadcast, desk.container.clock, desk.wait_seconds
    )
    desk.exits = ExitOrderService(desk.uow, desk.market, desk.trading, desk.execution)


async def usage(desk: Desk) -> Usage:
    async with desk.uow() as work:
        account = await work.venue_accounts.ensure(desk.user_id, desk.venue.name)
        return await work.exposure.usage(account.id)


def refused(outcomes: list[Any]) -> list[str]:
    return [outcome.code for outcome in outcomes if isinstance(outcome, Conflict)]


async def test_what_counts(desk: Desk) -> None:
    assert await usage(desk) == Usage()

    opened = await desk.open(stop_price=Decimal(950))
    desk.venue.will("open", Act.REST)
    await desk.open(order_type=OrderType.LIMIT, price=Decimal(990), collateral=Decimal(50), leverage=2)

    trade = await desk.trade(opened.trade)
    assert trade.entry_price is not None
    # The filled trade by its size and entry, the resting one by collateral x leverage.
    assert await usage(desk) == Usage(2, 2, trade.size * trade.entry_price + 100)

    await desk.close(trade)
    assert await usage(desk) == Usage(1, 1, Decimal(100))


async def test_what_an_entry_has_not_filled_counts_at_its_price(desk: Desk) -> None:
    desk.venue.will("open", (Act.PART, "0.4"))
    await desk.open_unsettled(order_type=OrderType.LIMIT, price=Decimal(1000))

    assert await usage(desk) == Usage(1, 1, Decimal(1000))


async def test_opens_at_once_stop_at_the_cap_of_trades(desk: Desk) -> None:
    cap(desk, open_trades=3)

    outcomes = await asyncio.gather(*(desk.open() for _ in range(8)), return_exceptions=True)

    assert refused(list(outcomes)) == ["LIMIT_EXCEEDED"] * 5
    assert (await usage(desk)).open_trades == 3
    with pytest.raises(Conflict) as refusal:
        await desk.open()
    assert refusal.value.details == {"limit": "open_trades", "max": 3, "current": 3}


async def test_opens_at_once_stop_at_the_cap_of_notional(desk: Desk) -> None:
    cap(desk, notional=2500)

    outcomes = await asyncio.gather(*(desk.open() for _ in range(5)), return_exceptions=True)

    assert refused(list(outcomes)) == ["LIMIT_EXCEEDED"] * 3
    assert Decimal(1900) < (await usage(desk)).notional <= 2000
    await desk.open(collateral=Decimal(40))


async def test_exits_count_with_an_opening_and_when_attached(desk: Desk) -> None:
    cap(desk, open_orders=3)

    with pytest.raises(Conflict) as refusal:
        await desk.open(stop_price=Decimal(950), take_profit_price=Decimal(1100), trailing_stop_distance=Decimal(20))
    assert refusal.value.details == {"limit": "open_orders", "max": 3, "current": 0}

    opened = await desk.open()
    outcomes = await asyncio.gather(*(desk.attach(opened.trade, STOP) for _ in range(6)), return_exceptions=True)

    # The entry is filled and counts no more.
    assert refused(list(outcomes)) == ["LIMIT_EXCEEDED"] * 3
    assert (await usage(desk)).open_orders == 3


async def test_a_refused_opening_leaves_nothing(desk: Desk) -> None:
    cap(desk, open_trades=1)
    await desk.open()
    told = await desk.told()

    with pytest.raises(Conflict):
        await desk.open(client_order_id="again")

    assert await desk.told() == told
    assert desk.venue.calls == [f"open {next(iter(desk.venue.orders))}"]
    # The same request may come again once there is room.
    cap(desk, open_trades=2)
    assert (await desk.open(client_order_id="again")).trade.status is TradeStatus.OPEN


async def test_a_preview_tells_of_caps(desk: Desk) -> None:
    cap(desk, open_trades=1, notional=1500)
    await desk.open()

    seen = await desk.trading.preview(desk.trader, open_terms())

    assert [(r.code, r.details["limit"]) for r in seen.refusals] == [("LIMIT_EXCEEDED", "open_trades")]


async def test_nothing_opposite_is_opened_where_positions_are_netted(desk: Desk) -> None:
    desk.venue.capabilities = VenueCapabilities(netting=True)
    long = (await desk.open()).trade

    with pytest.raises(Conflict) as opposite:
        await desk.open(is_long=False)
    with pytest.raises(Conflict) as levered:
        await desk.open(leverage=5)
    seen = await desk.trading.preview(desk.trader, open_terms(is_long=False, leverage=5))

    assert (opposite.value.code, opposite.value.details["trade_id"]) == ("POSITION_CONFLICT", long.id)
    assert (levered.value.code, levered.value.details["leverage"]) == ("LEVERAGE_CONFLICT", 10)
    assert [refusal.code for refusal in seen.refusals] == ["POSITION_CONFLICT"]

    # More of the same is welcome; once all is closed, so is the other side.
    more = (await desk.open()).trade
    await desk.close(await desk.trade(long))
    await desk.close(await desk.trade(more))
    await desk.open(is_long=False, leverage=5)


async def test_of_opposite_openings_at_once_one_side_wins(desk: Desk) -> None:
    desk.venue.capabilities = VenueCapabilities(netting=True)

    outcomes = await asyncio.gather(
        *(desk.open(is_long=number % 2 == 0) for number in range(6)), return_exceptions=True
    )

    assert refused(list(outcomes)) == ["POSITION_CONFLICT"] * 3
    async with desk.uow() as work:
        account = await work.venue_accounts.ensure(desk.user_id, desk.venue.name)
        held = await work.exposure.live_on(account.id, desk.pair.id)
    assert len({trade.side for trade in held}) == 1


async def test_an_opposite_entry_that_only_rests_is_a_conflict_too(desk: Desk) -> None:
    desk.venue.capabilities = VenueCapabilities(netting=True)
    desk.venue.will("open", Act.REST)
    await desk.open(order_type=OrderType.LIMIT, price=Decimal(990))

    with pytest.raises(Conflict, match="nets positions"):
        await desk.open(is_long=False)


async def test_elsewhere_both_sides_live_beside_each_other(desk: Desk) -> None:
    await desk.open()
    await desk.open(is_long=False, leverage=3)
