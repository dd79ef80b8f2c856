"""What a person can do about an error."""

from app.cli.hints import hint_for


def test_a_venues_refusal_has_the_hint_of_its_reason() -> None:
    stale = hint_for("PRICE_STALE", {}, retry_after=None, request_id=None)
    refused = hint_for("TRADE_EXECUTION_FAILED", {"reason": "PRICE_STALE"}, retry_after=None, request_id=None)
    assert stale is not None
    assert refused == stale
    assert hint_for("TRADE_EXECUTION_FAILED", {"reason": "its own"}, retry_after=None, request_id=None) is None
