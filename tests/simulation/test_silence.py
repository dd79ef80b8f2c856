"""An engine that nobody told anything for a long time: what others traded meanwhile is protected all the same."""

from decimal import Decimal

import pytest

from app.domain.enums import OrderType
from app.domain.order_terms import OpenTerms
from app.domain.prices import Tick
from tests.conftest import MakeDatabase
from tests.simulation.world import World

# Longer than what a sweep asks about beside what came since the one before.
SILENCE_SECONDS = 45.0


@pytest.mark.parametrize("order_type", [OrderType.MARKET, OrderType.LIMIT])
async def test_an_engine_that_was_silent_takes_up_all_that_changed(
    simulated_database: MakeDatabase, order_type: OrderType
) -> None:
    async with World(simulated_database(), 0) as world:
        world.chances.end()
        engine, other = world.processes
        pair = engine.directory.resolve_pair("BTCUSDT", "paper")
        price = world.prices[pair.id]
        terms = OpenTerms(
            asset="BTCUSDT",
            is_long=True,
            collateral=Decimal(100),
            leverage=5,
            order_type=order_type,
            price=price - 500 if order_type is OrderType.LIMIT else None,
            stop_price=price - 1000,
        )
        placed = await other.trading.open_trade(world.users[0].trader, terms, None)
        await other.execution.deliver()

        await world.pass_time(SILENCE_SECONDS)
        await engine.keep_lease()
        await engine.sweep()
        for fallen in (Decimal(600), Decimal(1001)):
            mark = price - fallen
            sequence = len(world.history) + 1
            world.history.append(Tick(pair.id, sequence, mark, mark, world.clock.now(), "simulation", mark))
            await engine.see(10)
            await engine.commit()
            await engine.follow()
        await engine.execution.deliver()

        async with engine.uow() as work:
            found = await work.trades.of_order(world.users[0].id, placed.order.id)
    assert found is not None
    trade, _ = found
    assert (trade.status, trade.close_reason) == ("closed", "stop")
