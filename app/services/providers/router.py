"""Which venue serves an asset, and why."""

from typing import Protocol

from app.domain.enums import Category
from app.domain.routing import Route, RoutingRules
from app.services.providers.factory import ProviderFactory


class KnownPair(Protocol):
    """What routing asks of a pair that some venue lists."""

    @property
    def symbol(self) -> str:
        """BTCUSDT."""
        ...

    @property
    def base(self) -> str:
        """BTC."""
        ...

    @property
    def category(self) -> Category:
        """Its asset class."""
        ...


class Assets(Protocol):
    """Knows the pairs of every venue."""

    def known_as(self, text: str) -> KnownPair | None:
        """A pair of that name at any venue."""
        ...


class ProviderRouter:
    """Routes by rules that may be replaced while it runs; prices and trades route alike.

    ValueError for rules that name a venue which is not set up.
    """

    def __init__(self, factory: ProviderFactory, rules: RoutingRules, assets: Assets) -> None:
        unknown = sorted(rules.venues - factory.names)
        if unknown:
            raise ValueError(f"routing names {', '.join(unknown)}; set up here are {', '.join(sorted(factory.names))}")
        self.rules = rules
        self.venues = sorted(factory.names)
        self._assets = assets
        self.get_provider = factory.get_provider

    async def route_for_asset(self, asset: str, *, sandbox: bool = False) -> str:
        """The name of the venue that serves an asset; an unknown asset goes to the default venue, which refuses it."""
        return self.explain(asset, sandbox=sandbox).venue

    def venue_of_account(self, *, is_sandbox: bool) -> str:
        """The venue whose account a user's portfolio shows: the default one, on paper for sandbox users."""
        return self.rules.route((), None, is_sandbox=is_sandbox).venue

    def explain(self, asset: str, *, sandbox: bool = False) -> Route:
        """The venue, and the rule that chose it."""
        pair = self._assets.known_as(asset)
        names = [asset] if pair is None else [asset, pair.symbol, pair.base]
        return self.rules.route(names, None if pair is None else pair.category, is_sandbox=sandbox)
