"""What time does to trading: prices grow stale, resting orders expire, tokens end."""

from datetime import UTC, datetime, timedelta

import pytest

from app.core.clock import Clock
from app.domain.prices import Market
from tests.fakes import ManualClock
from tests.integration.api.trading.market import BTC, HandMarket, Trader, refusal


@pytest.fixture(scope="module")
def clock() -> Clock:
    # The database has a clock of its own, which this one starts with.
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def hands(clock: Clock) -> ManualClock:
    assert isinstance(clock, ManualClock)
    return clock


async def test_a_resting_order_expires(trader: Trader, market: HandMarket) -> None:
    # By the database's clock, which passes by itself.
    until = datetime.now(UTC) + timedelta(seconds=2)
    opened = await trader.open(order_type="LIMIT", price=49_000, stop_price=48_500, expires_at=until)
    order = await trader.until_order(opened["order_id"], "expired")
    assert order["reason"] == "expires_at"
    trade = await trader.trade(opened)
    assert trade["status"] == "cancelled"
    assert (await trader.order(opened["exit_order_ids"][0]))["status"] == "cancelled"
    assert "order.expired expires_at" in await trader.events()
    assert (await trader.read("/portfolio"))["balance"] == 10_000
    await market.at(48_900)
    assert (await trader.trade(opened))["status"] == "cancelled"


async def test_a_stale_price_trades_nothing_until_a_fresh_one_comes(
    trader: Trader, market: HandMarket, hands: ManualClock
) -> None:
    await market.turn("BTCUSDT", Market(is_open=True))
    opened = await trader.open(stop_price=47_000)
    exit_url = f"/orders/{opened['exit_order_ids'][0]}"
    stop = {"trade_id": opened["trade_id"], "order_type": "STOP_LOSS", "stop_price": 46_500}
    hands.advance(11)

    answer = await trader.ask_open()
    refusal(answer, 503, "PRICE_STALE")
    assert int(answer.headers["retry-after"]) >= 1
    refusal(await trader.close(opened), 503, "PRICE_STALE")
    refusal(await trader.ask_open(order_type="LIMIT", price=49_000), 503, "PRICE_STALE")
    refusal(await trader.send("POST", "/orders", stop), 503, "PRICE_STALE")
    refusal(await trader.send("PATCH", exit_url, {"stop_price": 46_500}), 503, "PRICE_STALE")
    price = (await trader.client.get("/api/v1/prices/BTCUSDT")).json()
    assert (price["stale"], price["market_open"]) == (True, True)
    assert (await trader.trade(opened))["status"] == "open"

    await market.at(50_100)
    assert (await trader.close(opened)).status_code == 200


async def test_an_expired_token_opens_nothing(trader: Trader, hands: ManualClock) -> None:
    hands.advance(1800 + 6)

    for method, path, body in (("POST", "/trades", BTC), ("GET", "/positions", None), ("DELETE", "/trades/1/0", None)):
        refusal(await trader.send(method, path, body), 401, "TOKEN_EXPIRED")


async def test_a_session_that_was_ended_opens_nothing(trader: Trader) -> None:
    assert (await trader.client.post("/api/v1/auth/logout", headers=trader.person.headers)).status_code == 204
    refusal(await trader.ask_open(), 401, "UNAUTHORIZED")
