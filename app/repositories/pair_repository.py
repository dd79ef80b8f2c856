"""Questions about pairs."""

from app.models.market import Pair
from app.repositories.base import Repository


class PairRepository(Repository[Pair]):
    """Questions about pairs."""

    model = Pair
