"""Prices as bytes that are ready to send: what a tick fixes is encoded once per tick, not once per request."""

from datetime import datetime, timedelta
from typing import NamedTuple

from app.core.json import encode
from app.domain.prices import Quote
from app.models.market import Pair
from app.services.price_feed_service import price_data, price_of

_MILLISECOND = timedelta(milliseconds=1)


class _Ready(NamedTuple):
    quote: Quote
    head: bytes


class ReadyPrices:
    """The JSON of PriceResponse for the last quote of each pair; numbers as JSON numbers, or as strings."""

    def __init__(self) -> None:
        self._ready: dict[tuple[int, bool], _Ready] = {}

    def body(self, pair: Pair, quote: Quote, now: datetime, *, numbers_as_strings: bool) -> bytes:
        """The answer for a pair's last quote at an instant."""
        key = (pair.id, numbers_as_strings)
        ready = self._ready.get(key)
        if ready is None or ready.quote is not quote:
            facts = {name: value for name, value in price_data(price_of(pair, quote, now)).items() if name != "stale"}
            head = encode(facts, numbers_as_strings=numbers_as_strings)[:-1]
            ready = self._ready[key] = _Ready(quote, head)
        age_ms = max(0, (now - quote.received_at) // _MILLISECOND)
        is_stale = b"true" if quote.is_stale(now, pair.category) else b"false"
        return b'%b,"age_ms":%d,"stale":%b}' % (ready.head, age_ms, is_stale)
