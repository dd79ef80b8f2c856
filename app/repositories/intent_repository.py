"""Questions about intents: effects on venues, written before they are sent."""

from app.domain.enums import IntentStatus
from app.domain.lifecycle import INTENT_MOVES
from app.models.trading import Intent
from app.repositories.base import LifecycleRepository


class IntentRepository(LifecycleRepository[Intent, IntentStatus]):
    """Questions about intents."""

    model = Intent
    moves = INTENT_MOVES
