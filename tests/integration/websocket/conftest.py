"""A running process with a market that is moved by hand."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core.clock import Clock
from app.domain.channels import Channel
from app.models.market import Pair
from app.services.event_relay_service import EventRelayService
from app.services.live_position_service import LivePositionService
from app.services.pair_directory import PairDirectory
from app.services.price_feed_service import PriceFeedService
from app.services.websocket.frames import FrameFactory
from app.services.websocket_service import WebSocketLimits, WebSocketManager
from tests.factories import Person, create_person
from tests.integration.websocket.market import LISTINGS, VENUE, Desk, HandFeed
from tests.servers import RunningServer
from tests.waiting import until


@pytest.fixture(scope="module")
def limits() -> WebSocketLimits:
    """What one client may use; a module overrides this."""
    return WebSocketLimits()


@pytest.fixture(scope="module")
def feed() -> HandFeed:
    """The ticks of the module's market."""
    return HandFeed()


@pytest_asyncio.fixture(scope="module")
async def container(
    settings: Settings, clock: Clock, limits: WebSocketLimits, feed: HandFeed
) -> AsyncIterator[Container]:
    """The parts of a process whose prices come by hand."""
    async with bootstrap(settings, clock=clock) as container:
        uow, broadcast = container.uow, container.broadcast
        directory = PairDirectory(uow)
        async with uow() as work:
            await work.pairs.store(VENUE, LISTINGS)
        await directory.load()
        prices = PriceFeedService(uow, directory, [feed], broadcast, clock)
        frames = FrameFactory(prices, clock)

        async def find_pair(text: str, _: bool) -> Pair:
            return directory.resolve_pair(text, VENUE)

        hub = WebSocketManager(
            uow=uow,
            broadcast=broadcast,
            cache=container.cache,
            clock=clock,
            frames=frames,
            find_pair=find_pair,
            price_frames=prices.frame,
            limits=limits,
        )
        live = LivePositionService(
            uow, prices, frames, clock, watchers=partial(hub.events.users_on, Channel.POSITIONS), send=hub.send_update
        )
        hub.events.on_event(live.on_event)
        container.websockets = hub
        container.loops[:] = [prices.run, hub.run, EventRelayService(uow, broadcast).run, live.run]
        yield container


@pytest_asyncio.fixture(scope="module")
async def desk(container: Container, server: RunningServer, feed: HandFeed) -> Desk:
    """Writes trades; its market is open."""
    directory = PairDirectory(container.uow)
    await directory.load()
    await until(lambda: feed.is_running)
    return Desk(container.uow, directory)


@pytest_asyncio.fixture
async def person(container: Container) -> Person:
    """Somebody new."""
    return await create_person(container)
