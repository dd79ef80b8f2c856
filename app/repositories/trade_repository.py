"""Questions about trades."""

from app.domain.enums import TradeStatus
from app.domain.lifecycle import TRADE_MOVES
from app.models.trading import Trade
from app.repositories.base import LifecycleRepository


class TradeRepository(LifecycleRepository[Trade, TradeStatus]):
    """Questions about trades; every one about a user's names the user."""

    model = Trade
    moves = TRADE_MOVES
