"""The unit of work: one transaction, its repositories, its events; the only place that commits."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.broadcast import Broadcast
from app.core.database import Database
from app.domain.events import Event
from app.repositories.analytics_repository import AnalyticsRepository
from app.repositories.candle_repository import CandleRepository
from app.repositories.checkpoint_repository import CheckpointRepository
from app.repositories.control_repository import DeadManSwitchRepository, TradingStateRepository
from app.repositories.deposit_repository import DepositRepository
from app.repositories.engine_state_repository import EngineStateRepository
from app.repositories.event_repository import EventRepository
from app.repositories.exposure_repository import ExposureRepository
from app.repositories.fill_repository import FillRepository
from app.repositories.funding_repository import FundingRepository
from app.repositories.idempotency_repository import IdempotencyRepository
from app.repositories.intent_repository import IntentRepository
from app.repositories.invariant_repository import InvariantRepository
from app.repositories.order_repository import OrderRepository
from app.repositories.pair_repository import PairRepository
from app.repositories.paper_account_repository import PaperAccountRepository
from app.repositories.paper_funding_repository import PaperFundingRepository
from app.repositories.paper_repository import PaperRepository
from app.repositories.position_repository import PositionRepository
from app.repositories.session_repository import SessionRepository
from app.repositories.trade_repository import TradeRepository
from app.repositories.user_repository import UserRepository
from app.repositories.venue_account_repository import VenueAccountRepository
from app.repositories.webhook_delivery_repository import WebhookDeliveryRepository
from app.repositories.webhook_repository import WebhookRepository

type UnitOfWorkFactory = Callable[[], "UnitOfWork"]

EVENTS_TOPIC = "events"
_AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}


class UnitOfWork:
    """`async with uow() as work:` commits on a clean exit, with the emitted events as its last statements.

    Lock order inside: idempotency key, account, (venue account, pair), trade, order, checkpoint, counter, ids
    ascending. No network call may happen inside; rows stay readable after the end.
    """

    def __init__(self, database: Database, broadcast: Broadcast) -> None:
        self._database = database
        self._broadcast = broadcast

    async def __aenter__(self) -> Self:
        self._scope = self._database.session()
        session: AsyncSession = await self._scope.__aenter__()
        self.session = session
        self._events: list[Event] = []
        self._hints: list[tuple[str, bytes]] = []
        self.users = UserRepository(session)
        self.sessions = SessionRepository(session)
        self.venue_accounts = VenueAccountRepository(session)
        self.pairs = PairRepository(session)
        self.candles = CandleRepository(session)
        self.checkpoints = CheckpointRepository(session)
        self.engine_state = EngineStateRepository(session)
        self.trades = TradeRepository(session)
        self.orders = OrderRepository(session)
        self.intents = IntentRepository(session)
        self.fills = FillRepository(session)
        self.positions = PositionRepository(session)
        self.events = EventRepository(session)
        self.idempotency = IdempotencyRepository(session)
        self.invariants = InvariantRepository(session)
        self.trading_states = TradingStateRepository(session)
        self.switches = DeadManSwitchRepository(session)
        self.exposure = ExposureRepository(session)
        self.paper = PaperRepository(session)
        self.deposits = DepositRepository(session)
        self.fundings = FundingRepository(session)
        self.paper_funding = PaperFundingRepository(session)
        self.paper_accounts = PaperAccountRepository(session)
        self.webhooks = WebhookRepository(session)
        self.deliveries = WebhookDeliveryRepository(session)
        self.analytics = AnalyticsRepository(session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if self._events:
                    await self.events.append(self._events)
                await self.session.commit()
        finally:
            await self._scope.__aexit__(kind, error, trace)
        if error is None:
            if self._events:
                self._broadcast.publish(EVENTS_TOPIC, b"")
            for topic, message in self._hints:
                self._broadcast.publish(topic, message)

    async def stand_alone(self) -> None:
        """Let each statement stand alone, and commit by itself: no BEGIN and no COMMIT.

        The first word of a unit that writes nothing, or of which each statement is a whole.
        """
        await self.session.connection(execution_options=_AUTOCOMMIT)

    def emit(self, *events: Event) -> None:
        """Write events to the log with this transaction's commit."""
        self._events.extend(events)

    def hint(self, topic: str, message: bytes) -> None:
        """Broadcast a message once the transaction has committed."""
        self._hints.append((topic, message))
