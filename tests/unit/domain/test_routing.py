"""Which venue serves an asset, and why."""

import pytest

from app.domain.enums import Category
from app.domain.routing import Route, RouteReason, RoutingRules, parse_rules

RULES = parse_rules("paper", ["BTC=lighter", "EUR-USD=ostium"], ["crypto=venue2", "Forex=venue3"])


@pytest.mark.parametrize(
    ("names", "category", "expected"),
    [
        (["btc", "BTCUSDT"], Category.CRYPTO, Route("lighter", RouteReason.ASSET, "BTC=lighter")),
        (["BTCUSDT", "BTC"], Category.CRYPTO, Route("lighter", RouteReason.ASSET, "BTC=lighter")),
        (["eur/usd"], Category.FOREX, Route("ostium", RouteReason.ASSET, "EURUSD=ostium")),
        (["ETH"], Category.CRYPTO, Route("venue2", RouteReason.CATEGORY, "crypto=venue2")),
        (["GBPUSD"], Category.FOREX, Route("venue3", RouteReason.CATEGORY, "forex=venue3")),
        (["AAPL"], Category.STOCK, Route("paper", RouteReason.DEFAULT)),
        (["nothing"], None, Route("paper", RouteReason.DEFAULT)),
    ],
)
def test_asset_then_category_then_default(names: list[str], category: Category | None, expected: Route) -> None:
    assert RULES.route(names, category) == expected


def test_a_sandbox_user_always_trades_on_paper() -> None:
    assert RULES.route(["BTC"], Category.CRYPTO, is_sandbox=True) == Route("paper", RouteReason.SANDBOX)


def test_venues_are_all_that_rules_name() -> None:
    assert RULES.venues == {"paper", "lighter", "ostium", "venue2", "venue3"}
    assert RoutingRules("paper").venues == {"paper"}


@pytest.mark.parametrize(
    ("assets", "categories", "told"),
    [
        (["BTC"], [], "'BTC' is not a routing rule"),
        (["=paper"], [], "'=paper' is not a routing rule"),
        (["BTC="], [], "'BTC=' is not a routing rule"),
        ([], ["coins=paper"], "'coins' is not a category: one of crypto, forex"),
    ],
)
def test_a_rule_that_cannot_be_read_is_named(assets: list[str], categories: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_rules("paper", assets, categories)
