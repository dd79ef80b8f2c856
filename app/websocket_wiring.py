"""How the hub of WebSocket connections is wired to what feeds it."""

from functools import partial

from app.config.settings import Settings
from app.core.broadcast import Broadcast
from app.core.cache import Cache
from app.core.clock import Clock
from app.core.loop_groups import Group, LoopGroups
from app.domain.channels import Channel
from app.models.market import Pair
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.live_position_service import LivePositionService
from app.services.live_stop_service import LiveStopService
from app.services.websocket.frames import FrameFactory
from app.services.websocket_service import WebSocketLimits, WebSocketManager
from app.wiring import Trading


def wire_websockets(
    settings: Settings,
    trading: Trading,
    loops: LoopGroups,
    *,
    uow: UnitOfWorkFactory,
    broadcast: Broadcast,
    cache: Cache,
    clock: Clock,
) -> WebSocketManager:
    """The hub, with what feeds it: the live values of positions and stops."""

    async def find_pair(text: str, is_sandbox: bool) -> Pair:
        venue = await trading.router.route_for_asset(text, sandbox=is_sandbox)
        return trading.directory.resolve_pair(text, venue)

    frames = FrameFactory(trading.board, clock)
    hub = WebSocketManager(
        uow=uow,
        broadcast=broadcast,
        cache=cache,
        clock=clock,
        frames=frames,
        find_pair=find_pair,
        price_frames=trading.board.frame,
        limits=WebSocketLimits(
            connections_per_user=settings.websocket_connections_per_user,
            pairs=settings.websocket_pairs,
            messages_per_second=settings.websocket_messages_per_second,
            message_burst=max(1, round(2 * settings.websocket_messages_per_second)),
            price_seconds=settings.websocket_price_ms / 1000,
        ),
    )
    live = LivePositionService(
        uow,
        trading.board,
        frames,
        clock,
        watchers=partial(hub.events.users_on, Channel.POSITIONS),
        send=hub.send_update,
    )
    hub.events.on_event(live.on_event)
    stops = LiveStopService(uow, clock, watchers=partial(hub.events.users_on, Channel.TRADES), send=hub.send_update)
    loops[Group.GATEWAY] += [hub.run, live.run, stops.run]
    return hub
