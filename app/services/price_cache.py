"""Keeps the last prices in the cache, for processes that have none of their own yet."""

import asyncio
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from app.core.cache import Cache
from app.core.cache_keys import PRICE_SECONDS, price_key
from app.core.clock import Clock
from app.core.json import encode
from app.domain.prices import STALE_AFTER, Quote
from app.models.market import Pair
from app.services.pair_directory import PairDirectory
from app.services.price_board import PriceBoard, price_data, price_of
from app.services.providers.router import ProviderRouter

WRITE_SECONDS = 1.0
_MILLISECOND = timedelta(milliseconds=1)


class PriceCache:
    """`price:{asset}:{quote}` for the default route, `price:{venue}:{asset}:{quote}` otherwise, each for 30 s.

    Written behind the ticks, at most once a second; trading and the order engine never read it.
    """

    def __init__(
        self, cache: Cache, board: PriceBoard, directory: PairDirectory, router: ProviderRouter, clock: Clock
    ) -> None:
        self._cache = cache
        self._board = board
        self._directory = directory
        self._router = router
        self._clock = clock
        self._written: dict[int, Quote] = {}

    def key(self, pair: Pair) -> str:
        """The key that a pair's price is kept under."""
        is_default = self._router.explain(pair.symbol).venue == pair.venue
        return price_key(pair.base, pair.quote, None if is_default else pair.venue)

    async def run(self) -> None:
        """Write what has changed, each second, until cancelled."""
        while True:
            await self.write()
            await asyncio.sleep(WRITE_SECONDS)

    async def write(self) -> None:
        """Keep the prices that changed since the last time."""
        for pair in self._directory.listed():
            quote = self._board.latest(pair.id)
            if quote is None or self._written.get(pair.id) is quote:
                continue
            price = encode(price_data(price_of(pair, quote, self._clock.now())))
            await self._cache.set(self.key(pair), price, ttl_seconds=PRICE_SECONDS)
            self._written[pair.id] = quote

    async def find(self, pair: Pair) -> dict[str, Any] | None:
        """The facts of a kept price, with its age now; None where none is kept. Numbers are exact."""
        kept = await self._cache.get(self.key(pair))
        if kept is None:
            return None
        facts: dict[str, Any] = json.loads(kept, parse_float=Decimal)
        age = max(self._clock.now() - datetime.fromisoformat(facts["received_at"]), timedelta())
        is_stale = bool(facts["market_open"]) and age > STALE_AFTER[pair.category]
        return {**facts, "age_ms": age // _MILLISECOND, "stale": is_stale}
