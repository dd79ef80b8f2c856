"""What is answered when the venue does not settle in time: the rest comes by event."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from app.bootstrap import Container
from app.config.settings import Settings
from tests.conftest import MakeSettings
from tests.integration.api.trading.market import BTC, HandMarket, Trader


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(trade_wait_seconds=0)


@asynccontextmanager
async def silent_venue(container: Container, trader: Trader) -> AsyncIterator[None]:
    """The venue does nothing on the trader's account within the block."""
    async with container.uow() as work:
        await work.paper_accounts.lock(trader.person.id, Decimal(10_000))
        yield


async def test_an_opening_is_pending_until_its_fill(container: Container, trader: Trader, market: HandMarket) -> None:
    async with silent_venue(container, trader):
        first = await trader.send("POST", "/trades", {**BTC, "stop_price": 48_000}, key="slow")

    assert first.status_code == 201, first.text
    opened = first.json()
    assert opened["status"] == "pending"
    assert [opened[name] for name in ("transaction_hash", "entry_price", "size", "fee")] == [None] * 4
    assert (opened["pair_id"], opened["trade_index"]) == (market.pair_id(), 0)
    order = await trader.until_order(opened["order_id"], "filled")
    assert (order["average_price"], order["filled_quantity"]) == (50000.5, 0.019999)
    assert (await trader.order(opened["exit_order_ids"][0]))["status"] == "pending"
    assert "trade.executed" in await trader.events()
    # What was said is said again; what has become of it is read from the order.
    again = await trader.send("POST", "/trades", {**BTC, "stop_price": 48_000}, key="slow")
    assert again.content == first.content


async def test_a_close_is_closing_until_its_fill(container: Container, trader: Trader) -> None:
    opened = await trader.open()
    await trader.until_trade(opened, "open")

    async with silent_venue(container, trader):
        answer = await trader.close(opened)

    assert answer.status_code == 200, answer.text
    closing = answer.json()
    assert (closing["status"], closing["transaction_hash"], closing["exit_price"]) == ("closing", None, None)
    assert (await trader.until_order(closing["order_id"], "filled"))["average_price"] == 49999.5
    assert (await trader.trade(opened))["status"] == "closed"


async def test_a_refusal_that_comes_later_stands_on_the_order(container: Container, trader: Trader) -> None:
    async with silent_venue(container, trader):
        opened = await trader.open(collateral=9999, leverage=50)

    assert opened["status"] == "pending"
    order = await trader.until_order(opened["order_id"], "rejected")
    assert order["reason"] == "INSUFFICIENT_BALANCE"
    assert (await trader.trade(opened))["status"] == "failed"
    assert "trade.failed INSUFFICIENT_BALANCE" in await trader.events()
