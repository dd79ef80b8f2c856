"""The price service: which ticks are taken, who is shown them, what is kept, and where feeds start."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from app.core.broadcast import MemoryBroadcast
from app.domain.channels import price_topic
from app.domain.enums import Category
from app.domain.errors import Unavailable
from app.domain.prices import Market, Tick
from app.repositories.engine_state_repository import EngineState
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.candle_writer import CandleWriter
from app.services.pair_directory import PairDirectory
from app.services.price_feed_service import PriceFeedService
from app.services.providers.feed import FeedSlice, PriceFeed
from app.services.providers.paper.catalogue import CATALOGUE
from app.services.providers.paper.replay_feed import ReplayFeed
from app.services.providers.paper.replay_files import Recording, read_recording
from app.services.providers.paper.simulated_feed import SimulatedFeed
from tests.feeds import PassingTime, ScriptedFeed
from tests.waiting import until

OPEN = Market(is_open=True)
BTC_QUOTES = "btcusdt_spot_2024-08-09_quotes.csv"


@pytest.fixture
def passing() -> PassingTime:
    return PassingTime()


@pytest.fixture
async def directory(uow: UnitOfWorkFactory) -> PairDirectory:
    directory = PairDirectory(uow)
    await directory.load()
    return directory


class Bench:
    """A service with a listener that notes what it was shown."""

    def __init__(
        self, uow: UnitOfWorkFactory, directory: PairDirectory, passing: PassingTime, feeds: Sequence[PriceFeed]
    ) -> None:
        self.broadcast = MemoryBroadcast()
        self.service = PriceFeedService(uow, directory, feeds, self.broadcast, passing)
        self.shown: list[Tick] = []
        self.service.subscribe(self.shown.append)

    @property
    def sequences(self) -> list[int]:
        return [tick.sequence for tick in self.shown]

    @asynccontextmanager
    async def running(self, is_done: Callable[[], bool | Awaitable[bool]]) -> AsyncIterator[None]:
        """Run until the condition holds; the block sees the service still running."""
        task = asyncio.create_task(self.service.run())
        try:
            await until(lambda: task.done() or is_done())
            if task.done():
                task.result()
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


type MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(uow: UnitOfWorkFactory, directory: PairDirectory, passing: PassingTime) -> MakeBench:
    return lambda *feeds: Bench(uow, directory, passing, feeds)


@pytest.fixture
def btc(directory: PairDirectory) -> int:
    return directory.resolve_pair("BTC", "paper").id


def tick(pair_id: int, sequence: int, passing: PassingTime, bid: str = "100", ask: str = "101") -> Tick:
    return Tick(pair_id, sequence, Decimal(bid), Decimal(ask), passing.now(), "paper")


async def test_old_repeated_and_crossed_ticks_are_dropped(bench: MakeBench, passing: PassingTime, btc: int) -> None:
    numbers = [5, 5, 4, 7, 6, 8]
    ticks = [tick(btc, number, passing) for number in numbers] + [
        tick(btc, 9, passing, "102"),
        tick(btc, 10, passing, "101"),
    ]
    made = bench(ScriptedFeed(FeedSlice(ticks)))
    async with made.running(lambda: made.sequences[-1:] == [10]):
        assert made.sequences == [5, 7, 8, 10]
        latest = made.service.latest(btc)
        assert latest is not None
        assert latest.tick is made.shown[-1]


async def test_listeners_are_called_in_order_and_a_tick_that_one_fails_on_comes_again(
    bench: MakeBench, passing: PassingTime, btc: int
) -> None:
    made = bench(ScriptedFeed(FeedSlice([tick(btc, 1, passing), tick(btc, 2, passing), tick(btc, 3, passing)])))
    order: list[str] = []
    faults = [RuntimeError("a fault of a listener")]

    def second(shown: Tick) -> None:
        if shown.sequence == 2 and faults:
            raise faults.pop()
        order.append(f"second {shown.sequence}")

    made.service.subscribe(lambda shown: order.append(f"first {shown.sequence}"))
    made.service.subscribe(second)
    with pytest.raises(ExceptionGroup):
        await made.service.run()
    assert order == ["first 1", "second 1", "first 2"]
    async with made.running(lambda: made.sequences[-1:] == [3]):
        assert order[3:] == ["first 2", "second 2", "first 3", "second 3"]


async def test_a_gate_holds_the_feed_back(bench: MakeBench, passing: PassingTime, btc: int) -> None:
    made = bench(ScriptedFeed(*[FeedSlice([tick(btc, n, passing)]) for n in range(1, 4)]))
    is_open, waiting = asyncio.Event(), asyncio.Event()

    async def gate() -> None:
        waiting.set()
        await is_open.wait()

    made.service.add_gate(gate)
    async with made.running(waiting.is_set):
        assert made.sequences == []
        is_open.set()
        await until(lambda: made.sequences == [1, 2, 3])


async def test_a_restart_reads_again_from_the_checkpoints(bench: MakeBench, passing: PassingTime, btc: int) -> None:
    made = bench(ScriptedFeed(*[FeedSlice([tick(btc, n, passing)]) for n in range(1, 4)]))
    async with made.running(lambda: made.sequences == [1, 2, 3]):
        made.service.restart()
        assert made.service.kept(btc, 0) == []
        await until(lambda: made.sequences == [1, 2, 3, 1, 2, 3])


async def test_two_minutes_of_ticks_are_kept(bench: MakeBench, passing: PassingTime, btc: int) -> None:
    made = bench(ScriptedFeed(*[FeedSlice([tick(btc, n, passing)]) for n in range(1, 16)]))

    async def ten_seconds() -> None:
        passing.advance(10)

    made.service.add_gate(ten_seconds)
    async with made.running(lambda: made.sequences[-1:] == [15]):
        assert [kept.sequence for kept in made.service.kept(btc, 0)] == list(range(3, 16))
        assert [kept.sequence for kept in made.service.kept(btc, 12)] == [13, 14, 15]
        assert made.service.kept(btc, 15) == []
        assert made.service.kept(btc + 1, 0) == []


async def test_a_price_tells_its_age_its_market_and_whether_it_is_stale(
    bench: MakeBench, directory: PairDirectory, passing: PassingTime, btc: int
) -> None:
    opens = passing.now() + timedelta(hours=1)
    pair = directory.by_id(btc)
    feed = ScriptedFeed(FeedSlice(markets={btc: OPEN}), FeedSlice([tick(btc, 1, passing, "100.01", "100.04")]))
    made = bench(feed)
    with pytest.raises(Unavailable) as caught:
        made.service.price(pair)
    assert (caught.value.code, made.service.frame(btc)) == ("PRICE_STALE", None)
    async with made.running(lambda: bool(made.shown)):
        passing.advance(10)
        fresh = made.service.price(pair)
        assert (fresh.price, fresh.age_ms, fresh.stale, fresh.market_open) == (Decimal("100.025"), 10_000, False, True)
        passing.advance(0.001)
        assert made.service.price(pair).stale
        feed.slices = [FeedSlice(markets={btc: Market(is_open=False, next_open=opens)})]
    async with made.running(lambda: not made.service.price(pair).market_open):
        closed = made.service.price(pair)
        assert (closed.stale, closed.next_open, closed.price) == (False, opens, fresh.price)


async def test_a_price_that_is_vouched_for_is_as_old_as_what_its_feed_has_told(
    bench: MakeBench, directory: PairDirectory, passing: PassingTime, btc: int
) -> None:
    vouched = Market(is_open=True, vouched_until=passing.now() + timedelta(hours=1))
    made = bench(ScriptedFeed(FeedSlice([tick(btc, 1, passing)], {btc: vouched})))
    pair = directory.by_id(btc)
    frames: list[bytes] = []
    made.broadcast.subscribe(price_topic(btc), frames.append)
    with pytest.raises(Unavailable):
        await made.service.ping()
    async with made.running(lambda: bool(made.shown)):
        passing.advance(3600)
        assert not made.service.price(pair).stale
        await made.service.ping()
    passing.advance(10)
    assert not made.service.price(pair).stale
    passing.advance(0.001)
    assert made.service.price(pair).stale
    assert not orjson.loads(frames[0])["data"]["stale"]


async def test_a_feed_that_is_lost_is_read_anew_from_the_checkpoints(
    bench: MakeBench, passing: PassingTime, btc: int
) -> None:
    feed = ScriptedFeed(FeedSlice([tick(btc, 1, passing), tick(btc, 2, passing)]), FeedSlice(is_lost=True))
    made = bench(feed)

    async def script_the_next_start() -> None:
        if made.shown:
            feed.slices = [FeedSlice([tick(btc, 2, passing), tick(btc, 3, passing)])]

    made.service.add_gate(script_the_next_start)
    async with made.running(lambda: made.sequences[-1:] == [3]):
        assert made.sequences == [1, 2, 2, 3]
        assert [kept.sequence for kept in made.service.kept(btc, 0)] == [1, 2, 3]


async def test_what_a_feed_tells_once_it_is_to_be_read_anew_is_not_taken(
    bench: MakeBench, directory: PairDirectory, passing: PassingTime, btc: int
) -> None:
    feed = ScriptedFeed(FeedSlice([tick(btc, 1, passing)]), FeedSlice([tick(btc, 2, passing)], {btc: OPEN}))
    made = bench(feed)

    async def restart_after_the_first_tick() -> None:
        if made.shown and feed.slices:
            feed.slices = []
            made.service.restart()

    made.service.add_gate(restart_after_the_first_tick)
    async with made.running(lambda: len(feed.starts) == 2):
        assert made.sequences == [1]
        assert not made.service.price(directory.by_id(btc)).market_open


async def test_a_frame_is_made_once_a_tick_and_only_for_listeners(
    bench: MakeBench, passing: PassingTime, btc: int, directory: PairDirectory
) -> None:
    other = directory.resolve_pair("ETH", "paper").id
    made = bench(ScriptedFeed(FeedSlice([tick(btc, 1, passing), tick(other, 1, passing), tick(btc, 2, passing)])))
    frames: list[bytes] = []
    made.broadcast.subscribe(price_topic(btc), frames.append)
    made.broadcast.subscribe(price_topic(btc), frames.append)
    async with made.running(lambda: len(made.shown) == 3):
        assert [orjson.loads(frame)["data"]["sequence"] for frame in frames] == [1, 1, 2, 2]
        assert frames[0] is frames[1]
        shown = orjson.loads(frames[0])
        assert (shown["type"], shown["channel"], shown["data"]["pair"]) == ("price_update", "prices", "BTCUSDT")
        assert b'"price":100.5,' in frames[0]
        assert made.service.frame(btc) == frames[-1]


async def checkpoint(uow: UnitOfWorkFactory, *ticks: Tick) -> None:
    async with uow() as work:
        assert (await work.engine_state.save([EngineState(tick, {}, []) for tick in ticks], token=1)).refused == 0


def has_started(feed: ScriptedFeed) -> Callable[[], bool]:
    return lambda: bool(feed.starts)


async def test_a_feed_of_the_same_identity_keeps_its_base_and_another_starts_above_everything_known(
    bench: MakeBench, uow: UnitOfWorkFactory, passing: PassingTime, btc: int
) -> None:
    feeds = [ScriptedFeed(identity=name) for name in ("one", "one", "two", "one")]
    for number, feed in enumerate(feeds, 1):
        made = bench(feed)
        async with made.running(has_started(feed)):
            await checkpoint(uow, tick(btc, 1_000_000 * number, passing))
    first, same, other, again = [feed.starts[0] for feed in feeds]
    assert same.base == first.base
    assert other.base == 2_000_000
    assert again.base == 3_000_000
    assert again.judged[btc].sequence == 3_000_000
    assert again.number_of("BTCUSDT") == 0
    writer = CandleWriter(uow)
    writer.on_tick(tick(btc, 9_000_000, passing))
    await writer.flush()
    last = ScriptedFeed(identity="three")
    async with bench(last).running(has_started(last)):
        assert last.starts[0].base == 9_000_000
    async with uow() as work:
        state = await work.checkpoints.feed_state("paper")
        assert state is not None
        assert (state.identity, state.base, state.started_at) == ("three", 9_000_000, passing.now())


@pytest.mark.recorded
async def test_stopped_and_started_anywhere_no_tick_is_missed_doubled_or_renumbered(
    bench: MakeBench, uow: UnitOfWorkFactory, passing: PassingTime, btc: int, recorded_data: Path
) -> None:
    recording = read_recording([f"BTCUSDT={recorded_data / BTC_QUOTES}"])

    def feed(recorded: Recording = recording) -> ReplayFeed:
        return ReplayFeed(recorded, speed=20, starts_over=False, clock=passing, sleep=passing.sleep)

    judged: list[Tick] = []

    async def run_until(stop_after: int) -> None:
        made, halt = bench(feed()), asyncio.Event()

        async def hold() -> None:
            unjudged = [shown for shown in made.shown if not judged or shown.sequence > judged[-1].sequence]
            if len(judged) + len(unjudged) >= stop_after:
                judged.extend(unjudged[: stop_after - len(judged)])
                await checkpoint(uow, judged[-1])
                halt.set()
                await asyncio.Event().wait()

        made.service.add_gate(hold)
        async with made.running(halt.is_set):
            assert made.sequences == sorted(set(made.sequences))

    for stop_after in (700, 701, 1500, 2390):
        await run_until(stop_after)
    base = judged[0].sequence - 1
    assert [shown.sequence - base for shown in judged] == list(range(1, 2391))
    assert [(shown.bid, shown.ask) for shown in judged] == [(row.bid, row.ask) for row in recording.rows]


async def test_a_price_from_before_a_pause_stays_stale_until_its_judged_tick_is_told_again(
    bench: MakeBench, uow: UnitOfWorkFactory, directory: PairDirectory, passing: PassingTime, btc: int
) -> None:
    made = bench(SimulatedFeed(CATALOGUE, seed=1, hz=4, clock=passing, sleep=passing.sleep))
    judged, seen = list[int](), list[tuple[int, bool, bool]]()

    async def judge_elsewhere_while_we_sleep() -> None:
        quote = made.service.latest(btc)
        if quote is not None and judged:
            is_stale = quote.is_stale(passing.now(), Category.CRYPTO)
            seen.append((quote.tick.sequence, is_stale, quote.market.is_open))
        elif quote is not None and quote.tick.sequence - made.shown[0].sequence == 20:
            judged.append(quote.tick.sequence + 520)
            for pair in directory.listed(venue="paper"):
                await checkpoint(uow, tick(pair.id, judged[0], passing))
            passing.advance(130)

    made.service.add_gate(judge_elsewhere_while_we_sleep)
    async with made.running(lambda: bool(seen) and seen[-1][0] > judged[0]):
        before = [is_stale for sequence, is_stale, _ in seen if sequence < judged[0]]
        after = [(is_stale, is_open) for sequence, is_stale, is_open in seen if sequence >= judged[0]]
    assert before
    assert all(before)
    assert set(after) == {(False, True)}
