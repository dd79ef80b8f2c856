"""The replay feed: every row once and in order, at its time; what a restart plays again; ends and rounds."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prices import Market
from app.services.providers.paper.replay_feed import CLOSED, SLICE_TICKS, VOUCH_SECONDS, ReplayFeed
from app.services.providers.paper.replay_files import PAUSE_MS, Recording, Row, read_recording
from tests.feeds import PAIR_IDS, Judged, PassingTime, play, start_at

BTC, EUR = PAIR_IDS["BTCUSDT"], PAIR_IDS["EURUSD"]
D = Decimal


def recording(*rows: tuple[int, int], symbols: tuple[str, ...] = ("BTCUSDT", "EURUSD")) -> Recording:
    """Rows of (due_ms, symbol); the bid of row n is n."""
    made = [Row(due, symbol, D(n), D(n + 1), None) for n, (due, symbol) in enumerate(rows, 1)]
    return Recording(symbols, made, rows[-1][0] + PAUSE_MS, "d" * 64)


TWO = recording((0, 0), (0, 1), (1000, 0), (1000, 0), (4000, 1), (9000, 0))


def feed_of(recorded: Recording, clock: PassingTime, speed: float = 1, *, starts_over: bool = False) -> ReplayFeed:
    return ReplayFeed(recorded, speed=speed, starts_over=starts_over, clock=clock, sleep=clock.sleep)


@pytest.mark.parametrize("speed", [0.5, 1, 20, 1e6])
async def test_every_row_comes_once_in_order_when_it_is_due(speed: float) -> None:
    clock = PassingTime()
    began = clock.now()
    played = await play(feed_of(TWO, clock, speed), clock, start_at(clock, base=500))
    assert played.sequences == [501, 502, 503, 504, 505, 506]
    assert [tick.pair_id for tick in played.ticks] == [BTC, EUR, BTC, BTC, EUR, BTC]
    assert [tick.bid for tick in played.ticks] == [1, 2, 3, 4, 5, 6]
    due = [ms / 1000 / speed for ms in (0, 0, 1000, 1000, 4000, 9000)]
    assert [tick.at for tick in played.ticks] == [began + timedelta(seconds=seconds) for seconds in due]
    assert played.times == pytest.approx(due, abs=0.002)


async def test_a_market_closes_with_its_own_last_row_and_vouches_for_its_price_till_then() -> None:
    clock = PassingTime()
    feed = feed_of(TWO, clock)
    before_the_last = await play(feed, clock, start_at(clock), most=5)
    assert before_the_last.markets == {BTC: Market(is_open=True, vouched_until=clock.now()), EUR: CLOSED}
    whole = await play(feed, clock, start_at(clock))
    assert whole.markets == {BTC: CLOSED, EUR: CLOSED}


async def test_a_silence_is_vouched_for_while_it_lasts() -> None:
    clock = PassingTime()
    until = [clock.now()]
    async for piece in feed_of(TWO, clock).stream(start_at(clock)):
        if (vouched := piece.markets.get(BTC, CLOSED).vouched_until) is not None:
            assert vouched == clock.now()
            until.append(vouched)
    assert max(later - earlier for earlier, later in pairwise(until)) <= timedelta(seconds=2 * VOUCH_SECONDS)
    assert until[-1] - until[0] >= timedelta(seconds=7)


async def test_a_feed_that_is_behind_vouches_only_for_what_it_has_told() -> None:
    clock, began = PassingTime(), PassingTime().now()
    many = recording(*[(n * 100, 0) for n in range(1000)], symbols=("BTCUSDT",))
    vouched = []
    async for piece in feed_of(many, clock).stream(start_at(clock)):
        vouched += [(market.vouched_until, len(piece.ticks)) for market in piece.markets.values() if market.is_open]
        if len(vouched) == 2:
            # As a machine that was asleep.
            clock.advance(60)
        if len(vouched) == 6:
            break
    told = [(began + timedelta(seconds=seconds), ticks) for seconds, ticks in ((0, 1), (20, 200), (40, 200), (60, 200))]
    assert vouched[1:5] == told
    assert vouched[5] == (clock.now(), 1)


async def test_rows_that_are_late_come_at_once_in_slices() -> None:
    clock = PassingTime()
    many = recording(*[(n, 0) for n in range(1000)], symbols=("BTCUSDT",))
    clock_of_a_slow_machine = PassingTime()
    feed = ReplayFeed(many, speed=1, starts_over=False, clock=clock_of_a_slow_machine, sleep=clock.sleep)
    sizes = []
    async for piece in feed.stream(start_at(clock)):
        sizes.append(len(piece.ticks))
        clock_of_a_slow_machine.advance(10)
    assert sum(sizes) == 1000
    assert max(sizes) == SLICE_TICKS
    assert clock.monotonic() == 0


async def test_a_recording_starts_over_after_a_pause_with_numbers_that_go_on() -> None:
    clock = PassingTime()
    began = clock.now()
    played = await play(feed_of(TWO, clock, 2, starts_over=True), clock, start_at(clock), most=14)
    assert played.sequences == list(range(1, 15))
    assert [tick.bid for tick in played.ticks] == [1, 2, 3, 4, 5, 6] * 2 + [1, 2]
    assert played.ticks[6].at == began + timedelta(seconds=(9 + PAUSE_MS / 1000) / 2)
    assert all(market.is_open for market in played.markets.values())


async def test_a_restart_plays_on_from_each_pairs_checkpoint() -> None:
    clock = PassingTime()
    judged = {BTC: Judged(103), EUR: Judged(105)}
    start = start_at(clock, base=100, judged=judged)
    feed = feed_of(TWO, clock)
    played = await play(feed, clock, start)
    assert played.sequences == [101, 102, 103, 105, 104, 106]
    again, new = played.ticks[:4], played.ticks[4:]
    assert [tick.pair_id for tick in again] == [BTC, EUR, BTC, EUR]
    assert [tick.at - start.now for tick in new] == [timedelta(0), timedelta(seconds=8)]
    assert [tick.at - start.now for tick in again[:3]] == [timedelta(seconds=s) for s in (-1, -1, 0)]
    assert feed.began_at(start) == start.now - timedelta(seconds=1)


async def test_markets_are_open_before_any_price_of_theirs_and_vouched_for_later() -> None:
    clock = PassingTime()
    judged = {BTC: Judged(3), EUR: Judged(2)}
    first = await anext(feed_of(TWO, clock).stream(start_at(clock, judged=judged)))
    assert first.ticks == ()
    assert first.markets == dict.fromkeys((BTC, EUR), Market(is_open=True))


async def test_only_the_last_two_minutes_of_wall_time_are_played_again_and_always_the_last_judged_row() -> None:
    rows = recording(*[(n * 10_000, n % 2) for n in range(40)])
    clock = PassingTime()
    judged = {BTC: Judged(31), EUR: Judged(4)}
    normal = await play(feed_of(rows, clock), clock, start_at(clock, judged=judged), most=15)
    assert normal.sequences[:9] == [2, 4, *range(19, 32, 2)]
    assert normal.sequences[9:] == [6, 8, 10, 12, 14, 16]
    slow = await play(feed_of(rows, clock, 0.1), clock, start_at(clock, judged=judged), most=3)
    assert slow.sequences == [4, 31, 6]
    fast = await play(feed_of(rows, clock, 1.5), clock, start_at(clock, judged=judged), most=14)
    assert fast.sequences[:12] == [2, 4, *range(13, 32, 2)]


async def test_a_recording_that_has_ended_stays_ended() -> None:
    clock = PassingTime()
    judged = {BTC: Judged(6), EUR: Judged(5)}
    played = await play(feed_of(TWO, clock), clock, start_at(clock, judged=judged))
    assert played.sequences == [1, 2, 3, 4, 5, 6]
    assert played.markets == {BTC: CLOSED, EUR: CLOSED}
    assert played.times == [0] * 6


async def test_a_recording_that_was_looping_ends_where_it_is_when_it_no_longer_may() -> None:
    clock = PassingTime()
    judged = {BTC: Judged(15), EUR: Judged(14)}
    played = await play(feed_of(TWO, clock), clock, start_at(clock, judged=judged))
    assert played.sequences[-2:] == [14, 15]
    assert set(played.markets.values()) == {CLOSED}


async def test_a_looping_recording_restarts_in_its_round() -> None:
    clock = PassingTime()
    start = start_at(clock, judged={BTC: Judged(615), EUR: Judged(614)})
    feed = feed_of(TWO, clock, starts_over=True)
    played = await play(feed, clock, start, most=10)
    assert played.sequences[:10] == [610, 611, 612, 613, 614, 615, 616, 617, 618, 619]
    assert played.ticks[6].at == start.now


async def test_crossed_rows_are_numbered_and_nobody_waits_for_their_checkpoint() -> None:
    clock = PassingTime()
    crossed = Row(0, 1, D(3), D(2), None)
    rows = [Row(0, 0, D(1), D(2), None), crossed, Row(5000, 0, D(2), D(3), None)]
    recorded = Recording(("BTCUSDT", "EURUSD"), rows, 6000, "x")
    whole = await play(feed_of(recorded, clock), clock, start_at(clock))
    assert whole.sequences == [1, 2, 3]
    start = start_at(clock, judged={BTC: Judged(1)})
    resumed = await play(feed_of(recorded, clock), clock, start)
    assert [tick.sequence for tick in resumed.ticks if tick.at == start.now] == [3]


@given(
    st.lists(st.tuples(st.integers(0, 90_000), st.integers(0, 1)), min_size=4, max_size=60),
    st.integers(0, 130),
    st.integers(0, 130),
    st.sampled_from([0.5, 1, 7]),
    st.booleans(),
)
async def test_a_restart_anywhere_gives_every_unjudged_tick_once(
    rows: list[tuple[int, int]], btc: int, eur: int, speed: float, starts_over: bool
) -> None:
    recorded = recording(*sorted(rows))
    clock = PassingTime()
    feed = feed_of(recorded, clock, speed, starts_over=starts_over)
    total = 200 if starts_over else len(rows)
    whole = await play(feed, clock, start_at(clock), most=total)
    numbers = {BTC: btc, EUR: eur}
    judged = {
        pair_id: Judged(max((t.sequence for t in whole.ticks if t.pair_id == pair_id and t.sequence <= n), default=0))
        for pair_id, n in numbers.items()
    }
    resumed = await play(feed, clock, start_at(clock, judged=judged), most=total + 200)
    for pair_id, checkpoint in judged.items():
        expected = [(t.sequence, t.bid) for t in whole.ticks if t.pair_id == pair_id]
        given_now = [(t.sequence, t.bid) for t in resumed.ticks if t.pair_id == pair_id]
        assert [number for number, _ in given_now] == sorted({number for number, _ in given_now})
        unjudged = [tick for tick in given_now if checkpoint.sequence < tick[0] <= whole.sequences[-1]]
        assert unjudged == [tick for tick in expected if tick[0] > checkpoint.sequence]
        again = [tick for tick in given_now if tick[0] <= checkpoint.sequence]
        known = [tick for tick in expected if tick[0] <= checkpoint.sequence]
        assert again == known[len(known) - len(again) :]
        assert bool(again) == bool(known)


@pytest.mark.recorded
async def test_recorded_files_together_lose_no_row_at_any_speed(recorded_data: Path) -> None:
    recorded = read_recording(
        [
            f"BTCUSDT={recorded_data}/btcusdt_spot_2024-08-09_quotes.csv",
            f"EURUSD={recorded_data}/eurusd_2014-05-13_quotes_1s.csv",
            f"XAUUSD={recorded_data}/xauusd_2014-05-13_quotes_1s.csv",
        ]
    )
    clock = PassingTime()
    played = await play(feed_of(recorded, clock, 5000), clock, start_at(clock, base=7))
    assert played.sequences == list(range(8, 8 + 2390 + 19186 + 20000))
    assert [tick.at for tick in played.ticks] == sorted(tick.at for tick in played.ticks)
