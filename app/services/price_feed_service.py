"""Prices: reads feeds from their checkpoints on, and takes each tick once, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing

from loguru import logger

from app.core.broadcast import Broadcast
from app.core.clock import Clock
from app.domain.errors import Unavailable
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.pair_directory import PairDirectory
from app.services.price_board import PriceBoard
from app.services.providers.feed import FeedSlice, FeedStart, PriceFeed

type Gate = Callable[[], Awaitable[None]]

PAUSE_SECONDS = 0.005


class PriceFeedService(PriceBoard):
    """The board of this process, and the loop that fills it from feeds.

    Gates are awaited between ticks, at least every 200 of them or 5 ms, so that they can hold the feed back.
    """

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        directory: PairDirectory,
        feeds: Sequence[PriceFeed],
        broadcast: Broadcast,
        clock: Clock,
    ) -> None:
        super().__init__(directory, broadcast, clock)
        self._uow = uow
        self._feeds = feeds
        self._gates: list[Gate] = []
        self._is_running = False
        self._restarted = asyncio.Event()
        # Ticks read before the last restart are let go.
        self._epoch = 0

    def add_gate(self, gate: Gate) -> None:
        """Await `gate` before more ticks are taken."""
        self._gates.append(gate)

    async def ping(self) -> None:
        """Return while the feeds are being read; raise Unavailable when their loop is not running."""
        if not self._is_running:
            raise Unavailable("Prices are not being read.")

    async def run(self) -> None:
        """Read every feed until cancelled; when started again each plays on from its checkpoints."""
        self._is_running = True
        try:
            while True:
                self._restarted.clear()
                await self._read_until_restarted()
        finally:
            self._is_running = False

    def restart(self) -> None:
        """Forget the ticks taken and read every feed anew from its checkpoints, once the gates let it."""
        self.forget_ticks()
        self._read_anew()

    def _read_anew(self) -> None:
        self._epoch += 1
        self._restarted.set()

    async def _read_until_restarted(self) -> None:
        reading = asyncio.ensure_future(self._read_all(self._epoch))
        restarted = asyncio.ensure_future(self._restarted.wait())
        try:
            await asyncio.wait({reading, restarted}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                await restarted
        finally:
            reading.cancel()
            restarted.cancel()
            await asyncio.wait({reading, restarted})

    async def _read_all(self, epoch: int) -> None:
        async with asyncio.TaskGroup() as readers:
            for feed in self._feeds:
                readers.create_task(self._read(feed, epoch))

    async def _read(self, feed: PriceFeed, epoch: int) -> None:
        # Whoever stands at a gate may bring other checkpoints.
        await self._pause()
        start = await self._start(feed)
        async with aclosing(feed.stream(start)) as pieces:
            async for piece in pieces:
                if epoch != self._epoch:
                    return
                if piece.is_lost:
                    logger.warning("{feed} was not read for too long; it is read anew", feed=feed.identity[:24])
                    # An engine that judges goes on, and needs the ticks that are kept.
                    self.take_again()
                    self._read_anew()
                    return
                await self._take(piece, start, epoch)
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

    async def _take(self, piece: FeedSlice, start: FeedStart, epoch: int) -> None:
        """Take a slice; markets that it finds open are so for its ticks, those that close do so after them."""
        self._set_markets(piece, is_open=True)
        received_at = self._clock.now()
        until = self._clock.monotonic() + PAUSE_SECONDS
        for tick in piece.ticks:
            if self._clock.monotonic() > until:
                await self._pause()
                received_at = self._clock.now()
                until = self._clock.monotonic() + PAUSE_SECONDS
            if epoch != self._epoch:
                return
            judged = start.judged.get(tick.pair_id)
            self._accept(tick, received_at, is_shown=judged is None or tick.sequence >= judged.sequence)
        self._set_markets(piece, is_open=False)
        await self._pause()

    def _set_markets(self, piece: FeedSlice, *, is_open: bool) -> None:
        for pair_id, market in piece.markets.items():
            if market.is_open is is_open:
                self._set_market(pair_id, market)

    async def _pause(self) -> None:
        for gate in self._gates:
            await gate()
        await asyncio.sleep(0)


async def _highest_sequence(work: UnitOfWork, venue: str, pair_ids: Iterable[int]) -> int:
    """The highest sequence that anything remembers of a venue's pairs."""
    in_candles = await work.candles.last_sequences()
    elsewhere = await work.checkpoints.highest_sequence(venue)
    return max([elsewhere, *(in_candles.get(pair_id, 0) for pair_id in pair_ids)])
