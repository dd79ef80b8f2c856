"""Which venue trades an asset: the asset's own rule, else its category's, else the default; sandbox users on paper."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.assets import normalise
from app.domain.enums import Category

SANDBOX_VENUE = "paper"
# Every venue that there is an adapter for.
VENUES = frozenset({SANDBOX_VENUE})


class RouteReason(StrEnum):
    """Which rule decided."""

    SANDBOX = "sandbox"
    ASSET = "asset"
    CATEGORY = "category"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Route:
    """A venue, the reason it was chosen, and the rule as it is configured ("BTC=paper"; None without one)."""

    venue: str
    reason: RouteReason
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """The maps of asset (normalised: BTC or BTCUSDT) and of category to venue, and the default venue."""

    default_venue: str
    asset_venues: Mapping[str, str] = field(default_factory=dict)
    category_venues: Mapping[Category, str] = field(default_factory=dict)

    def route(self, names: Iterable[str], category: Category | None, *, is_sandbox: bool = False) -> Route:
        """The route of an asset known by `names`, the most exact first."""
        if is_sandbox:
            return Route(SANDBOX_VENUE, RouteReason.SANDBOX)
        for name in names:
            venue = self.asset_venues.get(normalise(name))
            if venue is not None:
                return Route(venue, RouteReason.ASSET, f"{normalise(name)}={venue}")
        if category is not None and category in self.category_venues:
            venue = self.category_venues[category]
            return Route(venue, RouteReason.CATEGORY, f"{category.value}={venue}")
        return Route(self.default_venue, RouteReason.DEFAULT)

    @property
    def venues(self) -> set[str]:
        """Every venue that a rule names."""
        return {self.default_venue, *self.asset_venues.values(), *self.category_venues.values()}


def parse_rules(default_venue: str, asset_venues: Iterable[str], category_venues: Iterable[str]) -> RoutingRules:
    """Read rules written "BTC=paper" and "crypto=paper"; ValueError names the one that cannot be read."""
    assets = {normalise(name): venue for name, venue in map(_split, asset_venues)}
    categories = {_category(name): venue for name, venue in map(_split, category_venues)}
    return RoutingRules(default_venue, assets, categories)


def _split(rule: str) -> tuple[str, str]:
    name, equals, venue = (part.strip() for part in rule.partition("="))
    if not (name and equals and venue):
        raise ValueError(f"{rule!r} is not a routing rule: write NAME=venue, such as BTC=paper")
    return name, venue


def _category(name: str) -> Category:
    try:
        return Category(name.lower())
    except ValueError:
        known = ", ".join(Category)
        raise ValueError(f"{name!r} is not a category: one of {known}") from None
