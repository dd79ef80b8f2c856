"""Prices: takes each tick once, in order, shows it to whoever must judge it, keeps it, and answers from it."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from loguru import logger

from app.core.broadcast import Broadcast
from app.core.clock import Clock
from app.core.json import encode
from app.domain.channels import Channel, price_topic
from app.domain.errors import Unavailable
from app.domain.prices import Market, Price, Quote, Tick, is_acceptable
from app.models.market import Pair
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.pair_directory import PairDirectory
from app.services.providers.feed import FeedStart, PriceFeed

type TickListener = Callable[[Tick], None]
type Gate = Callable[[], Awaitable[None]]

KEPT = timedelta(seconds=60)
# A recording played as fast as it goes would fill the memory: these are still many times what anybody needs.
MOST_KEPT = 200_000
PAUSE_SECONDS = 0.005
UNKNOWN_MARKET = Market(is_open=False)
_MILLISECOND = timedelta(milliseconds=1)


class _Kept(NamedTuple):
    received_at: datetime
    tick: Tick


class PriceFeedService:
    """The last ticks of every pair in this process (a QuoteBoard), and the loop that fills them from feeds.

    Listeners are called synchronously, in the order of their registration, for every tick that is not dropped;
    gates are awaited between ticks, at least every 200 of them or 5 ms, so that they can hold the feed back.
    """

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        directory: PairDirectory,
        feeds: Sequence[PriceFeed],
        broadcast: Broadcast,
        clock: Clock,
    ) -> None:
        self._uow = uow
        self._directory = directory
        self._feeds = feeds
        self._broadcast = broadcast
        self._clock = clock
        self._listeners: list[TickListener] = []
        self._gates: list[Gate] = []
        self._quotes: dict[int, Quote] = {}
        self._markets: dict[int, Market] = {}
        self._taken: dict[int, int] = {}
        self._kept: dict[int, deque[_Kept]] = defaultdict(partial(deque, maxlen=MOST_KEPT))
        self._topics: dict[int, str] = {}
        self._is_running = False

    def latest(self, pair_id: int) -> Quote | None:
        """The pair's last tick; None before the first."""
        return self._quotes.get(pair_id)

    def kept(self, pair_id: int, after_sequence: int) -> Sequence[Tick]:
        """The pair's ticks of the last 60 s (by when they came) with a higher sequence, ascending."""
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

    def add_gate(self, gate: Gate) -> None:
        """Await `gate` before more ticks are taken."""
        self._gates.append(gate)

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

    async def ping(self) -> None:
        """Return while the feeds are being read; raise Unavailable when their loop is not running."""
        if not self._is_running:
            raise Unavailable("Prices are not being read.")

    async def run(self) -> None:
        """Read every feed until cancelled; when started again each plays on from its checkpoints."""
        self._is_running = True
        try:
            async with asyncio.TaskGroup() as readers:
                for feed in self._feeds:
                    readers.create_task(self._read(feed))
            await asyncio.Event().wait()
        finally:
            self._is_running = False
            self._vouch_no_longer()

    def _vouch_no_longer(self) -> None:
        """A feed that nobody reads says nothing about its last prices: they go stale like any other."""
        for pair_id, quote in self._quotes.items():
            self._set_market(pair_id, replace(quote.market, silence_is_stale=True))

    async def _read(self, feed: PriceFeed) -> None:
        start = await self._start(feed)
        async with aclosing(feed.stream(start)) as pieces:
            async for piece in pieces:
                await self._take(piece.ticks)
                for pair_id, market in piece.markets.items():
                    self._set_market(pair_id, market)
        logger.info("{feed} has come to its end", feed=feed.identity[:24])

    async def _start(self, feed: PriceFeed) -> FeedStart:
        """Where the feed plays on: its own base again, or above every sequence known when it is another feed."""
        pair_ids = {pair.symbol: pair.id for pair in self._directory.listed(venue=feed.venue)}
        async with self._uow() as work:
            state = await work.checkpoints.feed_state(feed.venue)
            is_known = state is not None and state.identity == feed.identity
            base = state.base if state and is_known else await _highest_sequence(work, feed.venue, pair_ids.values())
            judged = await work.engine_state.checkpoints(list(pair_ids.values()))
            start = FeedStart(base, self._clock.now(), pair_ids, judged)
            await work.checkpoints.save_feed_state(feed.venue, feed.identity, base, feed.began_at(start))
        logger.info("{feed} starts from base {base}", feed=feed.identity[:24], base=base)
        return start

    async def _take(self, ticks: Sequence[Tick]) -> None:
        received_at = self._clock.now()
        until = self._clock.monotonic() + PAUSE_SECONDS
        for tick in ticks:
            if self._clock.monotonic() > until:
                await self._pause()
                received_at = self._clock.now()
                until = self._clock.monotonic() + PAUSE_SECONDS
            self._accept(tick, received_at)
        await self._pause()

    async def _pause(self) -> None:
        for gate in self._gates:
            await gate()
        await asyncio.sleep(0)

    def _accept(self, tick: Tick, received_at: datetime) -> None:
        """Take one tick. It counts as taken once every listener has had it, so that a failure loses none."""
        pair_id = tick.pair_id
        if not is_acceptable(tick, self._taken.get(pair_id)):
            return
        self._quotes[pair_id] = quote = Quote(tick, received_at, self._markets.get(pair_id, UNKNOWN_MARKET))
        self._keep(tick, received_at)
        for listener in self._listeners:
            listener(tick)
        self._taken[pair_id] = tick.sequence
        topic = self._topic(pair_id)
        if self._broadcast.has_subscribers(topic):
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


async def _highest_sequence(work: UnitOfWork, venue: str, pair_ids: Iterable[int]) -> int:
    """The highest sequence that anything remembers of a venue's pairs."""
    in_candles = await work.candles.last_sequences()
    elsewhere = await work.checkpoints.highest_sequence(venue)
    return max([elsewhere, *(in_candles.get(pair_id, 0) for pair_id in pair_ids)])


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
