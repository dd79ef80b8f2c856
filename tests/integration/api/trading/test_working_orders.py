"""A venue that settles later, in parts, and funds each second, behind the API: trades follow it to the last unit."""

from decimal import Decimal
from typing import Any

import pytest

from app.bootstrap import Container
from app.config.settings import Settings
from tests.conftest import MakeSettings
from tests.integration.api.trading.market import HandMarket, Trader
from tests.ledger import assert_books_balance
from tests.waiting import until


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    """Orders fill in two parts from the next tick on; longs pay 0.1 % a second, and nobody waits for a fill."""
    return make_settings(
        paper_settle_ticks=1,
        paper_fill_parts=2,
        paper_funding_rate=Decimal("0.001"),
        paper_funding_seconds=1,
        trade_wait_seconds=0,
    )


async def sums(trader: Trader, opened: dict[str, Any]) -> tuple[Decimal, Decimal]:
    """What a trade says that its user has gained, and what the account says."""
    trade = await trader.exactly(f"/trades/{opened['pair_id']}/{opened['trade_index']}")
    money = await trader.exactly("/portfolio")
    gained = Decimal(trade["pnl"]) - Decimal(trade["fees"]) + Decimal(trade["funding"])
    return gained, Decimal(money["balance"]) + Decimal(money["margin"]) - 10_000


async def test_a_trade_opens_pays_funding_and_closes_in_parts(
    trader: Trader, market: HandMarket, container: Container
) -> None:
    opened = await trader.open(order_type="STOP_LOSS", stop_price=47000)
    assert opened["status"] == "pending"

    async def is_filled() -> bool:
        await market.at(50_000)
        return bool((await trader.order(opened["order_id"]))["status"] == "filled")

    await until(is_filled)
    trade = await trader.trade(opened)
    assert (trade["status"], trade["size"]) == ("open", 0.019999)

    async def has_paid() -> bool:
        await market.at(50_000)
        return bool((await trader.trade(opened))["funding"] < 0)

    await until(has_paid)
    answer = await trader.close(opened)
    assert (answer.status_code, answer.json()["status"]) == (200, "closing")

    async def is_closed() -> bool:
        await market.at(50_100)
        return bool((await trader.trade(opened))["status"] == "closed")

    await until(is_closed)

    async def agrees() -> bool:
        told, held = await sums(trader, opened)
        return told == held

    await until(agrees)
    events = await trader.events()
    assert "position.updated funding" in events
    assert "order.updated part_filled" in events
    await assert_books_balance(container.uow)
