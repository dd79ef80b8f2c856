"""Questions about candles."""

from app.models.market import Candle
from app.repositories.base import Repository


class CandleRepository(Repository[Candle]):
    """Questions about candles."""

    model = Candle
