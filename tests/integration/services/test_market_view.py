"""What a trade needs of its market: the pair by routing, a quote that may be traded on, the venue's balance."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.bootstrap import Container
from app.domain.errors import Conflict, InvalidRequest, Unavailable
from app.domain.prices import Market
from tests.desks import Desk


async def test_an_asset_is_found_at_the_venue_it_routes_to(desk: Desk) -> None:
    for text in ("BTC", "btcusd", "BTC-USD", "BTCUSDT"):
        assert (await desk.market.find(text, is_sandbox=False)).id == desk.pair.id


async def test_a_sandbox_user_trades_on_paper_whatever_the_rules_say(desk: Desk) -> None:
    assert (await desk.market.find("BTC", is_sandbox=True)).venue == "paper"


async def test_an_unknown_asset_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await desk.market.find("NOPE", is_sandbox=False)
    assert caught.value.code == "UNSUPPORTED_ASSET"


async def test_a_pair_without_a_tick_has_no_quote(desk: Desk, container: Container) -> None:
    pair = container.directory.resolve_pair("ETHUSDT", "paper")

    with pytest.raises(Unavailable) as caught:
        desk.market.quote(pair)

    assert (caught.value.code, caught.value.retry_after) == ("PRICE_STALE", 1)


async def test_a_closed_market_says_when_it_opens(desk: Desk) -> None:
    opens = datetime(2026, 12, 1, tzinfo=UTC)
    desk.board.market = Market(is_open=False, next_open=opens)
    desk.tick("999", "1000")

    assert desk.market.quote(desk.pair).tick.bid == Decimal(999)
    with pytest.raises(Conflict) as caught:
        desk.market.tradable_quote(desk.pair)
    assert (caught.value.code, caught.value.details["next_open"]) == ("MARKET_CLOSED", opens)


async def test_an_old_price_can_be_read_and_not_traded_on(desk: Desk) -> None:
    desk.board.clock.set(datetime.now(UTC) - timedelta(minutes=1))
    desk.tick("999", "1000")

    assert desk.market.quote(desk.pair).tick.ask == Decimal(1000)
    with pytest.raises(Unavailable) as caught:
        desk.market.tradable_quote(desk.pair)
    assert caught.value.code == "PRICE_STALE"


async def test_the_balance_is_the_venues(desk: Desk) -> None:
    balance = await desk.market.venue_balance(desk.user_id, desk.venue.name)

    assert (balance.free, balance.locked) == (Decimal(10_000), Decimal(0))
