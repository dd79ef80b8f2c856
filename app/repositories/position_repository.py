"""Questions about positions."""

from app.models.trading import Position
from app.repositories.base import Repository


class PositionRepository(Repository[Position]):
    """Questions about positions."""

    model = Position
