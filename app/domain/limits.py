"""Caps of one user at one venue: how many trades and orders, how much notional; counted, and refused beyond."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal

from app.domain.errors import Conflict
from app.domain.money import ZERO


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that one user may have at one venue; 0 is no cap. `notional` in USDC."""

    open_trades: int = 0
    open_orders: int = 0
    notional: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a user has at a venue, or asks for in addition.

    `open_trades` that have not ended, `open_orders` (entries and exits) that are live, `notional` in USDC: size x
    entry of what is open, and what live entries may still add.
    """

    open_trades: int = 0
    open_orders: int = 0
    notional: Decimal = ZERO


def excess(caps: Caps, current: Usage, asked: Usage) -> Conflict | None:
    """The LIMIT_EXCEEDED that a request for `asked` meets beside `current`; None where it fits."""
    for name in (field.name for field in fields(Caps)):
        most, has, wants = getattr(caps, name), getattr(current, name), getattr(asked, name)
        if most and wants and has + wants > most:
            words = name.replace("_", " ")
            return Conflict(
                f"The cap of {most} {words} at this venue leaves no room: {has} now, {wants} more asked for.",
                code="LIMIT_EXCEEDED",
                limit=name,
                max=most,
                current=has,
            )
    return None


def require_room(caps: Caps, current: Usage, asked: Usage) -> None:
    """Raise LIMIT_EXCEEDED where a request does not fit."""
    refusal = excess(caps, current, asked)
    if refusal is not None:
        raise refusal


@dataclass(frozen=True, slots=True)
class VenueCaps:
    """The caps of every venue: those of all, and a venue's own."""

    default: Caps
    venues: Mapping[str, Caps]

    def of(self, venue: str) -> Caps:
        """The caps of a venue."""
        return self.venues.get(venue, self.default)


def parse_caps(default: Caps, overrides: Iterable[str]) -> VenueCaps:
    """Caps by venue of texts such as "paper:open_trades=500"; ValueError for what is no such text."""
    venues: dict[str, Caps] = {}
    for venue, name, most in _overrides(overrides):
        venues[venue] = replace(venues.get(venue, default), **{name: most})
    return VenueCaps(default, venues)


def _overrides(texts: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    names = [field.name for field in fields(Caps)]
    for text in texts:
        target, _, most = text.partition("=")
        venue, _, name = target.strip().partition(":")
        if not venue or name not in names or not (most.strip().isascii() and most.strip().isdigit()):
            raise ValueError(f"{text} is no cap of a venue: write venue:name=number, name one of {', '.join(names)}")
        yield venue, name, int(most)
