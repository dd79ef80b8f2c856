"""The worked example of a gap in docs/trading-semantics.md, with its very numbers; and ticks that must do nothing."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from app.domain.prices import Market
from tests.integration.api.trading.market import OPEN, HandMarket, Trader, refusal

ENTRY = ("60034.77", "60035.77")
PAIR = "BTCUSDT"


@pytest_asyncio.fixture
async def held(trader: Trader, market: HandMarket) -> AsyncIterator[dict[str, Any]]:
    """The position that the examples are about, with a stop at 59,000, while its market is closed."""
    await market.quote(ENTRY)
    opened = await trader.open(collateral=1000, leverage=10, stop_price=59000)
    assert (opened["entry_price"], opened["size"]) == (60035.77, 0.166567)
    await market.turn(PAIR, Market(is_open=False, next_open=datetime(2030, 1, 7, tzinfo=UTC)))
    refusal(await trader.close(opened), 409, "MARKET_CLOSED")
    await market.turn(PAIR, OPEN)
    yield opened
    await market.quote(ENTRY)


@pytest.mark.parametrize("is_long_wait", [False, True])
async def test_a_stop_that_a_gap_jumps_over_fires_at_the_first_tick(
    trader: Trader, market: HandMarket, held: dict[str, Any], is_long_wait: bool
) -> None:
    if is_long_wait:
        await market.quote(("59500.00", "59501.00"))
        assert (await trader.trade(held))["status"] == "open"
    await market.quote(("57500.00", "57510.00"))

    trade = await trader.until_trade(held, "closed")
    stop = await trader.order(held["exit_order_ids"][0])
    assert (stop["trigger_price"], stop["stop_price"], stop["average_price"]) == (57505, 59000, 57500)
    assert (trade["pnl"], trade["close_reason"]) == (-422.375602, "stop")


async def test_a_gap_beyond_liquidation_takes_the_margin_and_no_more(
    trader: Trader, market: HandMarket, held: dict[str, Any]
) -> None:
    await market.quote(("53000.00", "53010.00"))

    trade = await trader.until_trade(held, "liquidated")
    stop = await trader.order(held["exit_order_ids"][0])
    assert (trade["exit_price"], trade["pnl"], stop["status"]) == (53000, -1000, "cancelled")


@pytest.mark.parametrize(
    "quotes",
    [
        pytest.param([("0", "58000")], id="no bid"),
        pytest.param([("58001", "58000")], id="crossed"),
    ],
)
async def test_a_tick_that_is_none_fires_nothing_and_is_not_shown(
    trader: Trader, market: HandMarket, held: dict[str, Any], quotes: list[tuple[str, ...]]
) -> None:
    market.feed.put(PAIR, quotes)
    after = await market.quote(ENTRY)

    price = (await trader.client.get(f"/api/v1/prices/{PAIR}")).json()
    assert (price["sequence"], price["bid"]) == (after, 60034.77)
    assert (await trader.trade(held))["status"] == "open"
    assert (await trader.close(held)).status_code == 200


async def test_a_tick_whose_bid_is_its_ask_is_one(trader: Trader, market: HandMarket, held: dict[str, Any]) -> None:
    await market.quote(("59000.00", "59000.00"))

    await trader.until_trade(held, "closed")
    assert (await trader.order(held["exit_order_ids"][0]))["trigger_price"] == 59000
