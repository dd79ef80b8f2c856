"""The last ticks of every pair: shown to whoever must judge them, kept for two minutes, and answered from."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from app.core.broadcast import Broadcast
from app.core.clock import Clock
from app.core.json import encode
from app.domain.channels import Channel, price_topic
from app.domain.errors import Unavailable
from app.domain.prices import KEPT, Market, Price, Quote, Tick, is_acceptable
from app.models.market import Pair
from app.services.pair_directory import PairDirectory

type TickListener = Callable[[Tick], None]

# A recording played as fast as it goes would fill the memory: these are still many times what anybody needs.
MOST_KEPT = 200_000
UNKNOWN_MARKET = Market(is_open=False)
_MILLISECOND = timedelta(milliseconds=1)


class _Kept(NamedTuple):
    received_at: datetime
    tick: Tick


class PriceBoard:
    """The last ticks of every pair in this process (a QuoteBoard).

    Listeners are called synchronously, in the order of their registration, for every tick that is not dropped.
    """

    def __init__(self, directory: PairDirectory, broadcast: Broadcast, clock: Clock) -> None:
        self._directory = directory
        self._broadcast = broadcast
        self._clock = clock
        self._listeners: list[TickListener] = []
        self._quotes: dict[int, Quote] = {}
        self._markets: dict[int, Market] = {}
        self._taken: dict[int, int] = {}
        self._kept: dict[int, deque[_Kept]] = defaultdict(partial(deque, maxlen=MOST_KEPT))
        self._topics: dict[int, str] = {}

    def latest(self, pair_id: int) -> Quote | None:
        """The pair's last tick; None before the first."""
        return self._quotes.get(pair_id)

    def kept(self, pair_id: int, after_sequence: int) -> Sequence[Tick]:
        """The pair's ticks of the last 120 s (by when they came) with a higher sequence, ascending."""
        newer: list[Tick] = []
        for entry in reversed(self._kept[pair_id]):
            if entry.tick.sequence <= after_sequence:
                break
            newer.append(entry.tick)
        newer.reverse()
        return newer

    def subscribe(self, listener: TickListener) -> None:
        """Call `listener` with every tick from now on, after those registered before; it must not block or raise."""
        self._listeners.append(listener)

    def price(self, pair: Pair) -> Price:
        """The pair's price now, stale or not; PRICE_STALE (503) before the first tick."""
        quote = self._quotes.get(pair.id)
        if quote is None:
            raise no_price_yet(pair)
        return price_of(pair, quote, self._clock.now())

    def frame(self, pair_id: int) -> bytes | None:
        """The ready price_update frame of a pair's last tick; None before the first."""
        quote = self._quotes.get(pair_id)
        return None if quote is None else price_frame(self._directory.by_id(pair_id), quote, self._clock.now())

    def _accept(self, tick: Tick, received_at: datetime, *, is_shown: bool) -> None:
        """Take one tick. It counts as taken once every listener has had it, so that a failure loses none.

        One that is played again, from before the checkpoint, is kept and listened to, but is no price any more.
        """
        pair_id = tick.pair_id
        if not is_acceptable(tick, self._taken.get(pair_id)):
            return
        quote = Quote(tick, received_at, self._markets.get(pair_id, UNKNOWN_MARKET))
        shown = self._quotes.get(pair_id)
        # A feed that is read anew may go back behind what was shown while another engine judged.
        is_shown = is_shown and (shown is None or tick.sequence >= shown.tick.sequence)
        if is_shown:
            self._quotes[pair_id] = quote
        self._keep(tick, received_at)
        for listener in self._listeners:
            listener(tick)
        self._taken[pair_id] = tick.sequence
        topic = self._topic(pair_id)
        if is_shown and self._broadcast.has_subscribers(topic):
            self._broadcast.publish(topic, price_frame(self._directory.by_id(pair_id), quote, received_at))

    def _keep(self, tick: Tick, received_at: datetime) -> None:
        kept = self._kept[tick.pair_id]
        if kept and kept[-1].tick.sequence >= tick.sequence:
            return
        kept.append(_Kept(received_at, tick))
        oldest = received_at - KEPT
        while kept[0].received_at < oldest:
            kept.popleft()

    def _topic(self, pair_id: int) -> str:
        topic = self._topics.get(pair_id)
        if topic is None:
            topic = self._topics[pair_id] = price_topic(pair_id)
        return topic

    def _set_market(self, pair_id: int, market: Market) -> None:
        self._markets[pair_id] = market
        quote = self._quotes.get(pair_id)
        if quote is not None:
            self._quotes[pair_id] = Quote(quote.tick, quote.received_at, market)

    def take_again(self) -> None:
        """Take ticks from any sequence on again; the last prices stay as they are shown."""
        self._taken.clear()

    def forget_ticks(self) -> None:
        """Take ticks from any sequence on again, and keep none of those before."""
        self.take_again()
        self._kept.clear()


def no_price_yet(pair: Pair) -> Unavailable:
    """What is answered before a pair's first tick."""
    return Unavailable(f"{pair.symbol} has no price yet.", code="PRICE_STALE", pair=pair.symbol, retry_after=1)


def price_of(pair: Pair, quote: Quote, now: datetime) -> Price:
    """A quote as it is answered at an instant."""
    tick = quote.tick
    return Price(
        pair_id=pair.id,
        pair=pair.symbol,
        asset=pair.base,
        quote=pair.quote,
        price=tick.mark,
        bid=tick.bid,
        ask=tick.ask,
        timestamp=tick.at,
        received_at=quote.received_at,
        age_ms=max(0, (now - quote.received_at) // _MILLISECOND),
        stale=quote.is_stale(now, pair.category),
        market_open=quote.market.is_open,
        next_open=quote.market.next_open,
        sequence=tick.sequence,
        source=tick.source,
    )


def price_data(price: Price) -> Mapping[str, object]:
    """The facts of a price that stay true, as WebSocket frames carry them."""
    return {
        "pair": price.pair,
        "price": price.price,
        "timestamp": price.timestamp,
        "source": price.source,
        "asset": price.asset,
        "quote": price.quote,
        "bid": price.bid,
        "ask": price.ask,
        "received_at": price.received_at,
        "stale": price.stale,
        "market_open": price.market_open,
        "next_open": price.next_open,
        "sequence": price.sequence,
    }


def price_frame(pair: Pair, quote: Quote, now: datetime) -> bytes:
    """The price_update frame of a quote, as every reader is sent it."""
    return encode(
        {
            "type": Channel.PRICES.update_type,
            "channel": Channel.PRICES,
            "data": price_data(price_of(pair, quote, now)),
            "timestamp": now.astimezone(UTC),
        }
    )
