"""The demo user's trades."""

from decimal import Decimal

import pytest

from app.cli.seed import DEMO_TRADES, DemoTrade


def test_levels_stand_on_the_steps_of_the_pair() -> None:
    trade = DemoTrade("x", "BTCUSDT", True, 500, 10, (("stop_price", "0.995"), ("price", "0.9")))
    body = trade.body(Decimal("65017.47"), Decimal("0.05"))
    assert body["stop_price"] == "64692.40"
    assert body["price"] == "58515.70"
    assert body["order_type"] == "LIMIT"


@pytest.mark.parametrize("trade", DEMO_TRADES)
def test_each_trade_is_named_and_protected_on_its_side(trade: DemoTrade) -> None:
    body = trade.body(Decimal(100), Decimal("0.01"))
    stop = body.get("stop_price") or body.get("oco_stop_price")
    target = body.get("take_profit_price") or body.get("oco_take_profit_price")
    sign = 1 if trade.is_long else -1
    assert body["client_order_id"] == trade.name
    assert stop is None or (Decimal(100) - Decimal(stop)) * sign > 0
    assert target is None or (Decimal(target) - Decimal(100)) * sign > 0
