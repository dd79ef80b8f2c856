"""A running process whose paper market is moved by hand."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core.clock import Clock
from tests.factories import Person
from tests.integration.api.trading.market import HandFeed, HandMarket, Trader
from tests.waiting import until


@pytest.fixture(scope="module")
def feed(clock: Clock) -> HandFeed:
    """The ticks of the module's market."""
    return HandFeed(clock)


@pytest_asyncio.fixture(scope="module")
async def container(settings: Settings, clock: Clock, feed: HandFeed) -> AsyncIterator[Container]:
    """The parts of a process whose prices come by hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.wiring.paper_feed", lambda choice, clock: feed)
        async with bootstrap(settings, clock=clock) as container:
            yield container


@pytest_asyncio.fixture(scope="module")
async def running_market(container: Container, client: httpx2.AsyncClient, feed: HandFeed) -> HandMarket:
    """The market of the running server, whose order engine watches it."""

    async def is_ready() -> bool:
        health = (await client.get("/health/ready")).json()
        return "parts" in health and set(health["parts"].values()) == {"up"}

    await until(is_ready)
    await until(lambda: feed.is_running)
    return HandMarket(feed, container.board)


@pytest_asyncio.fixture
async def market(running_market: HandMarket) -> HandMarket:
    """The market with BTC at 50,000 and EURUSD at 1.1."""
    await running_market.at(50_000)
    await running_market.quote(("1.09995", "1.10005"), symbol="EURUSD")
    return running_market


@pytest.fixture
def trader(client: httpx2.AsyncClient, user: Person, market: HandMarket) -> Trader:
    """Somebody new in that market."""
    return Trader(client, user)


@pytest.fixture
def other_trader(client: httpx2.AsyncClient, other_user: Person, market: HandMarket) -> Trader:
    """Somebody else in that market."""
    return Trader(client, other_user)
