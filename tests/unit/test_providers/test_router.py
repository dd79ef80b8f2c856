"""The router and the factory: venues by rule, and only venues that are there."""

from dataclasses import dataclass
from typing import Any

import pytest

from app.domain.enums import Category
from app.domain.errors import Unavailable
from app.domain.routing import Route, RouteReason, RoutingRules, parse_rules
from app.services.providers.factory import ProviderFactory
from app.services.providers.router import ProviderRouter


@dataclass(frozen=True)
class Known:
    symbol: str
    base: str
    category: Category


class Assets:
    """One pair, by its base or symbol."""

    def known_as(self, text: str) -> Known | None:
        return Known("BTCUSDT", "BTC", Category.CRYPTO) if text.upper() in {"BTC", "BTCUSDT"} else None


def router_of(rules: RoutingRules, *venues: str) -> ProviderRouter:
    providers: Any = {name: object() for name in venues}
    return ProviderRouter(ProviderFactory(providers), rules, Assets())


async def test_prices_and_trades_route_alike_however_the_asset_is_named() -> None:
    router = router_of(parse_rules("paper", ["BTC=one"], ["crypto=two"]), "paper", "one", "two")
    for name in ("BTC", "btc", "BTCUSDT"):
        assert await router.route_for_asset(name) == "one"
        assert router.explain(name) == Route("one", RouteReason.ASSET, "BTC=one")
    assert await router.route_for_asset("BTC", sandbox=True) == "paper"
    assert await router.route_for_asset("unknown") == "paper"


async def test_rules_can_be_replaced_while_it_runs() -> None:
    router = router_of(RoutingRules("paper"), "paper", "two")
    assert await router.route_for_asset("BTC") == "paper"
    router.rules = parse_rules("paper", [], ["crypto=two"])
    assert await router.route_for_asset("BTC") == "two"


def test_a_rule_for_a_venue_that_is_not_set_up_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="routing names lighter; set up here are ostium, paper"):
        router_of(parse_rules("paper", ["BTC=lighter"], []), "paper", "ostium")


async def test_a_provider_is_handed_out_by_name() -> None:
    provider: Any = object()
    factory = ProviderFactory({"paper": provider})
    assert await factory.get_provider("paper") is provider
    assert factory.names == {"paper"}
    with pytest.raises(Unavailable) as caught:
        await factory.get_provider("lighter")
    assert (caught.value.code, caught.value.details) == ("PROVIDER_UNAVAILABLE", {"provider": "lighter"})
