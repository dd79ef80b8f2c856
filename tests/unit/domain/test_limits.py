"""Caps: what fits, what is refused and with which words, and how they are written down."""

from decimal import Decimal

import pytest

from app.domain.errors import Conflict
from app.domain.limits import Caps, Usage, excess, parse_caps, require_room

CAPS = Caps(open_trades=2, open_orders=3, notional=1000)


@pytest.mark.parametrize(
    ("current", "asked", "limit"),
    [
        (Usage(), Usage(1, 1, Decimal(1000)), None),
        (Usage(1, 2, Decimal("999.5")), Usage(1, 1, Decimal("0.5")), None),
        (Usage(2, 0), Usage(1, 1, Decimal(1)), "open_trades"),
        (Usage(1, 2), Usage(1, 2, Decimal(1)), "open_orders"),
        (Usage(1, 1, Decimal("999.5")), Usage(1, 1, Decimal("0.500001")), "notional"),
        # A cap that was lowered later refuses only what would add to it.
        (Usage(5, 1, Decimal(5000)), Usage(open_orders=1), None),
    ],
)
def test_what_fits_and_what_does_not(current: Usage, asked: Usage, limit: str | None) -> None:
    refusal = excess(CAPS, current, asked)
    assert (refusal.details["limit"] if refusal else None) == limit


def test_a_refusal_tells_the_cap_and_what_counts_against_it() -> None:
    with pytest.raises(Conflict) as refused:
        require_room(CAPS, Usage(2, 2, Decimal(10)), Usage(1, 1, Decimal(1)))
    assert refused.value.code == "LIMIT_EXCEEDED"
    assert refused.value.details == {"limit": "open_trades", "max": 2, "current": 2}


def test_zero_is_no_cap() -> None:
    assert excess(Caps(), Usage(10**6, 10**6, Decimal(10**15)), Usage(1, 1, Decimal(1))) is None


def test_a_venue_has_the_caps_of_all_but_for_its_own() -> None:
    caps = parse_caps(CAPS, ["paper:open_trades=500", "paper:notional=0"])
    assert caps.of("paper") == Caps(500, 3, 0)
    assert caps.of("lighter") == CAPS


@pytest.mark.parametrize(
    "text", ["paper", "paper:open_trades", "paper:trades=1", ":open_trades=1", "paper:notional=-1"]
)
def test_what_is_no_cap_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no cap of a venue"):
        parse_caps(CAPS, [text])
