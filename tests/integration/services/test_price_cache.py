"""Kept prices: exact, aged, and only under the key of the route they belong to."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.bootstrap import Container
from app.core.broadcast import MemoryBroadcast
from app.core.cache import MemoryCache
from app.domain.prices import Market, Tick
from app.models.market import Pair
from app.services.price_board import PriceBoard
from app.services.price_cache import PriceCache
from tests.fakes import ManualClock

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
OPEN = Market(is_open=True)


@pytest.fixture
def watch() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def btc(container: Container) -> Pair:
    return container.directory.resolve_pair("BTC", "paper")


@pytest.fixture
def board(container: Container, btc: Pair, watch: ManualClock) -> PriceBoard:
    """A board that has seen one quote of BTC, a moment ago."""
    board = PriceBoard(container.directory, MemoryBroadcast(), watch)
    tick = Tick(btc.id, 7, Decimal("61685.99"), Decimal("61686.00"), NOON, "paper")
    board._accept(tick, NOON, is_shown=True)
    board._set_market(btc.id, OPEN)
    return board


@pytest.fixture
def kept(container: Container, board: PriceBoard, watch: ManualClock) -> PriceCache:
    return PriceCache(MemoryCache(watch), board, container.directory, container.router, watch)


async def test_a_kept_price_is_exact_and_has_its_age(kept: PriceCache, btc: Pair, watch: ManualClock) -> None:
    await kept.write()
    watch.advance(4)

    found = await kept.find(btc)

    assert found is not None
    assert (found["price"], found["bid"], found["sequence"]) == (Decimal("61685.995"), Decimal("61685.99"), 7)
    assert (found["age_ms"], found["stale"]) == (4000, False)


async def test_it_goes_stale_and_then_away(kept: PriceCache, btc: Pair, watch: ManualClock) -> None:
    await kept.write()
    watch.advance(29)
    found = await kept.find(btc)
    assert found is not None
    assert found["stale"] is True
    watch.advance(2)
    assert await kept.find(btc) is None


async def test_a_price_is_written_once(kept: PriceCache, btc: Pair, watch: ManualClock) -> None:
    await kept.write()
    watch.advance(31)
    await kept.write()
    assert await kept.find(btc) is None


def test_the_key_is_the_seeds_on_the_default_route(kept: PriceCache, btc: Pair) -> None:
    assert kept.key(btc) == "price:BTC:USD"
