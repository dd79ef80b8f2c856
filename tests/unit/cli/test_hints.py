"""What a person can do about an error."""

from typing import Any

import pytest

from app.cli.hints import hint_for


def test_a_venues_refusal_has_the_hint_of_its_reason() -> None:
    stale = hint_for("PRICE_STALE", {}, retry_after=None, request_id=None)
    refused = hint_for("TRADE_EXECUTION_FAILED", {"reason": "PRICE_STALE"}, retry_after=None, request_id=None)
    assert stale is not None
    assert refused == stale
    assert hint_for("TRADE_EXECUTION_FAILED", {"reason": "its own"}, retry_after=None, request_id=None) is None


@pytest.mark.parametrize(
    ("code", "details", "hint"),
    [
        ("ALREADY_EXISTS", {"fields": ["email"]}, "Choose another one, or log in with it: marqetfi login"),
        ("ALREADY_EXISTS", {"order_id": 7}, "marqetfi order show 7 shows it; choose another --client-order-id."),
        ("ALREADY_EXISTS", {}, "Choose another one."),
        ("SIZE_BELOW_MINIMUM", {"min_collateral": 1}, "marqetfi pairs shows the least collateral of each pair."),
        ("SIZE_BELOW_MINIMUM", {"size_step": 1}, "Give more: marqetfi pairs shows the size step of each pair."),
        ("TOO_MANY_DECIMALS", {"field": "price"}, "marqetfi pairs shows the steps of prices and sizes."),
        ("TOO_MANY_DECIMALS", {"field": "collateral"}, "Collateral has a step of 0.000001 USDC, at every pair."),
    ],
)
def test_one_code_has_the_hint_of_what_it_is_about(code: str, details: dict[str, Any], hint: str) -> None:
    assert hint_for(code, details, retry_after=None, request_id=None) == hint
