"""Prices as bytes that are ready to send: what a tick fixes is encoded once per tick, not once per request."""

from datetime import timedelta
from typing import NamedTuple

from app.core.clock import Clock
from app.core.json import encode
from app.domain.prices import Quote
from app.models.market import Pair
from app.services.pair_directory import PairDirectory
from app.services.price_board import price_data, price_of
from app.services.price_feed_service import PriceFeedService
from app.services.providers.router import ProviderRouter

# People write a pair in a few ways; whoever tries all of them only empties the table.
MOST_NAMES = 1000
_MILLISECOND = timedelta(milliseconds=1)


class _Ready(NamedTuple):
    quote: Quote
    head: bytes


class ReadyPrices:
    """The JSON of a price answer, for the last quote of each pair."""

    def __init__(self, directory: PairDirectory, board: PriceFeedService, router: ProviderRouter, clock: Clock) -> None:
        self._directory = directory
        self._board = board
        self._router = router
        self._clock = clock
        self._ready: dict[tuple[int, bool], _Ready] = {}
        self._names: dict[str, Pair] = {}
        self._names_of = (directory.version, router.rules)

    async def find(self, text: str, *, sandbox: bool) -> Pair:
        """The pair that a text means at the venue it routes to; PAIR_NOT_FOUND with near matches."""
        venue = await self._router.route_for_asset(text, sandbox=sandbox)
        pair = self._directory.resolve_pair(text, venue)
        if not sandbox:
            self._remember(text, pair)
        return pair

    def body(self, pair: Pair, *, numbers_as_strings: bool = False) -> bytes | None:
        """The answer for a pair now, numbers as JSON numbers or as strings; None before its first price."""
        quote = self._board.latest(pair.id)
        if quote is None:
            return None
        now = self._clock.now()
        key = (pair.id, numbers_as_strings)
        ready = self._ready.get(key)
        if ready is None or ready.quote is not quote:
            facts = {name: value for name, value in price_data(price_of(pair, quote, now)).items() if name != "stale"}
            head = encode(facts, numbers_as_strings=numbers_as_strings)[:-1]
            ready = self._ready[key] = _Ready(quote, head)
        age_ms = max(0, (now - quote.received_at) // _MILLISECOND)
        is_stale = b"true" if quote.is_stale(now, pair.category) else b"false"
        return b'%b,"age_ms":%d,"stale":%b}' % (ready.head, age_ms, is_stale)

    def remembered(self, text: str) -> Pair | None:
        """The pair of a text that was found before, as long as pairs and routes are what they were."""
        return self._names.get(text) if self._are_names_valid() else None

    def _are_names_valid(self) -> bool:
        version, rules = self._names_of
        return version == self._directory.version and rules is self._router.rules

    def _remember(self, text: str, pair: Pair) -> None:
        if not self._are_names_valid() or len(self._names) >= MOST_NAMES:
            self._names = {}
            self._names_of = (self._directory.version, self._router.rules)
        self._names[text] = pair
