"""The parts of one running process, as routes, loops and jobs use them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from app.config.settings import Settings
from app.core.broadcast import Broadcast
from app.core.cache import Cache
from app.core.clock import Clock
from app.core.database import Database
from app.core.queue import Queue
from app.core.rate_limit import RateLimiter
from app.core.security import Cipher
from app.core.supervision import Loop
from app.domain.trading import VenueBalance
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.analytics_service import AnalyticsService
from app.services.auth_service import AuthService
from app.services.dead_man_switch_service import DeadManSwitchService
from app.services.engine_watch import EngineWatch
from app.services.event_relay_service import EventRelayService
from app.services.exit_order_service import ExitOrderService
from app.services.idempotency_service import IdempotencyService
from app.services.market_view import MarketView
from app.services.order_monitoring_service import OrderMonitoringService
from app.services.pair_directory import PairDirectory
from app.services.price_cache import PriceCache
from app.services.price_feed_service import PriceFeedService
from app.services.providers.router import ProviderRouter
from app.services.ready_prices import ReadyPrices
from app.services.settlement_service import SettlementService
from app.services.trading_service import TradingService
from app.services.trading_state_service import TradingStateService
from app.services.webhook_service import WebhookService
from app.services.websocket_service import WebSocketManager

type Ping = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Part:
    """Something whose health is told; readiness fails only with a required one."""

    ping: Ping
    is_required: bool


@dataclass(slots=True)
class Container:
    """The parts of one running process. Parts that are built later add their loops and pings."""

    settings: Settings
    clock: Clock
    database: Database
    uow: UnitOfWorkFactory
    # For reads that may be a moment old; on the replica, where there is one.
    read_uow: UnitOfWorkFactory
    broadcast: Broadcast
    cache: Cache
    limiter: RateLimiter
    cipher: Callable[[str], Cipher]
    auth: AuthService
    websockets: WebSocketManager
    directory: PairDirectory
    board: PriceFeedService
    ready_prices: ReadyPrices
    price_cache: PriceCache
    router: ProviderRouter
    market: MarketView
    trading: TradingService
    exits: ExitOrderService
    states: TradingStateService
    switches: DeadManSwitchService
    idempotency: IdempotencyService
    webhooks: WebhookService
    analytics: AnalyticsService
    settlement: SettlementService
    monitor: OrderMonitoringService
    reset_paper: Callable[[int], Awaitable[VenueBalance]]
    queue: Queue
    relay: EventRelayService
    engines: EngineWatch
    loops: list[Loop] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    is_draining: bool = False

    def watch(self, name: str, ping: Ping, *, is_required: bool = False) -> None:
        """Tell a part's health: `ping` raises when it is down."""
        self.parts[name] = Part(ping, is_required)
