"""The simulated feed: one walk for one seed, on the grid, and no break at a restart."""

import statistics
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import is_multiple
from app.domain.prices import Market, Tick
from app.services.providers.paper.catalogue import CATALOGUE, PaperPair
from app.services.providers.paper.random_walk import RandomWalk
from app.services.providers.paper.simulated_feed import VOUCH_SECONDS, PairSimulation, SimulatedFeed
from tests.feeds import PAIR_IDS, Judged, PassingTime, play, start_at

BTC = PAIR_IDS["BTCUSDT"]
PAIRS = len(CATALOGUE)


def feed_of(
    clock: PassingTime, *, seed: int = 1, hz: float = 4, pairs: tuple[PaperPair, ...] = CATALOGUE
) -> SimulatedFeed:
    return SimulatedFeed(pairs, seed=seed, hz=hz, clock=clock, sleep=clock.sleep)


def facts(ticks: list[Tick]) -> list[tuple[int, int, Decimal, Decimal, Decimal | None]]:
    return [(tick.pair_id, tick.sequence, tick.bid, tick.ask, tick.last) for tick in ticks]


async def test_the_same_seed_gives_the_same_ticks_and_another_seed_others() -> None:
    one, two, other = [
        await play(feed_of(clock, seed=seed), clock, start_at(clock), most=50 * PAIRS)
        for seed, clock in ((7, PassingTime()), (7, PassingTime()), (8, PassingTime()))
    ]
    assert facts(one.ticks) == facts(two.ticks)
    assert facts(one.ticks) != facts(other.ticks)


async def test_each_pair_ticks_hz_times_a_second_and_stays_open() -> None:
    clock = PassingTime()
    played = await play(feed_of(clock, hz=10), clock, start_at(clock, base=30), most=21 * PAIRS)
    btc = [tick for tick in played.ticks if tick.pair_id == BTC]
    assert [tick.sequence for tick in btc] == list(range(31, 52))
    assert [(tick.at - btc[0].at).total_seconds() for tick in btc] == pytest.approx(
        [n / 10 for n in range(21)], abs=0.01
    )
    assert played.markets == dict.fromkeys(PAIR_IDS.values(), Market(is_open=True, vouched_until=clock.now()))


async def test_the_silence_between_rare_ticks_is_vouched_for() -> None:
    clock = PassingTime()
    until: list[float] = []
    async for piece in feed_of(clock, hz=0.05).stream(start_at(clock)):
        assert piece.markets[BTC].vouched_until == clock.now()
        until.append(clock.monotonic())
        if clock.monotonic() > 50:
            break
    assert max(later - earlier for earlier, later in pairwise(until)) <= 2 * VOUCH_SECONDS


async def test_what_was_missed_in_some_seconds_is_hurried_and_vouched_for_as_it_is_told() -> None:
    clock, began = PassingTime(), PassingTime().now()
    times, told = [], []
    async for piece in feed_of(clock).stream(start_at(clock)):
        if not piece.ticks:
            continue
        times.append(clock.monotonic())
        told.append((piece.markets[BTC].vouched_until or began) - began)
        if len(times) == 3:
            clock.advance(1)
        if len(times) == 8:
            break
    assert times == pytest.approx([0, 0.25, 0.5, 1.5, 1.5, 1.5, 1.5, 1.75], abs=0.01)
    assert [each.total_seconds() for each in told] == pytest.approx([n / 4 for n in range(8)], abs=0.01)


async def test_a_machine_that_slept_has_its_feed_read_from_the_checkpoints() -> None:
    clock = PassingTime()
    pieces = []
    async for piece in feed_of(clock).stream(start_at(clock)):
        pieces.append(piece)
        if len(pieces) == 4:
            clock.advance(3600)
    assert [len(piece.ticks) for piece in pieces] == [0, PAIRS, PAIRS, PAIRS, 0]
    assert [piece.is_lost for piece in pieces] == [False] * 4 + [True]


@pytest.mark.parametrize("pair", CATALOGUE, ids=lambda pair: pair.listing.symbol)
def test_quotes_lie_on_the_grid_with_the_pairs_spread(pair: PaperPair) -> None:
    simulation = PairSimulation(pair, seed=1)
    step = pair.listing.price_step
    quotes = [simulation.quote(number) for number in range(1, 2000)]
    assert all(is_multiple(quote.bid, step) and quote.bid > 0 for quote in quotes)
    assert {quote.ask - quote.bid for quote in quotes} == {pair.spread_steps * step}
    assert {quote.last in quote[:2] for quote in quotes} == {True}
    assert len({quote.bid for quote in quotes}) > 20
    assert quotes[0].bid == pytest.approx(pair.first_price, rel=Decimal("0.01"))


async def test_a_restart_repeats_the_last_two_minutes_and_goes_on_exactly() -> None:
    clock = PassingTime()
    whole = await play(feed_of(clock), clock, start_at(clock, base=1000), most=700 * PAIRS)
    at = {tick.pair_id: tick for tick in whole.ticks if tick.sequence == 1500 + tick.pair_id % 3}
    judged = {pair_id: Judged(tick.sequence, tick.bid, tick.ask) for pair_id, tick in at.items()}
    start = start_at(clock, base=1000, judged=judged)
    resumed = await play(feed_of(clock), clock, start, most=685 * PAIRS)
    for pair_id, checkpoint in judged.items():
        mine = [tick for tick in resumed.ticks if tick.pair_id == pair_id]
        assert [tick.sequence for tick in mine[:481]] == list(range(checkpoint.sequence - 480, checkpoint.sequence + 1))
        assert mine[480].at == start.now
        expected = [tick for tick in whole.ticks if tick.pair_id == pair_id and tick.sequence >= mine[0].sequence]
        assert facts(mine)[: len(expected)] == facts(expected)


async def test_markets_are_open_before_any_price_of_theirs_and_vouched_for_later() -> None:
    clock = PassingTime()
    judged = {BTC: Judged(500)}
    first = await anext(feed_of(clock).stream(start_at(clock, judged=judged)))
    assert first.ticks == ()
    assert first.markets == dict.fromkeys(PAIR_IDS.values(), Market(is_open=True))


@pytest.mark.parametrize("number", [0, 1, 5000])
def test_a_price_from_elsewhere_is_where_the_walk_goes_on(number: int) -> None:
    pair = CATALOGUE[0]
    judged = Judged(number, Decimal("61685.99"), Decimal("61686.00"))
    simulation = PairSimulation(pair, 1, number, judged)
    assert abs(simulation.quote(number).bid - judged.bid) <= Decimal("0.10")
    assert simulation.quote(number + 1).bid == pytest.approx(judged.bid, rel=Decimal("0.001"))


async def test_another_seed_goes_on_from_the_price_before_with_its_first_step() -> None:
    clock = PassingTime()
    judged = {BTC: Judged(900, Decimal("100.00"), Decimal("100.10"))}
    played = await play(feed_of(clock, pairs=CATALOGUE[:1]), clock, start_at(clock, base=900, judged=judged), most=3)
    assert played.sequences == [901, 902, 903]
    assert played.ticks[0].bid == pytest.approx(Decimal(100), rel=Decimal("0.001"))


def test_steps_of_the_walk_are_independent_and_normal() -> None:
    walk = RandomWalk("steps")
    values = [walk.value(step) for step in range(20_001)]
    steps = [later - earlier for earlier, later in pairwise(values)]
    assert values[0] == 0
    assert statistics.mean(steps) == pytest.approx(0, abs=0.03)
    assert statistics.stdev(steps) == pytest.approx(1, abs=0.03)
    assert statistics.correlation(steps[:-1], steps[1:]) == pytest.approx(0, abs=0.03)


@given(st.integers(0, 10**12))
def test_any_step_is_known_without_the_ones_before(step: int) -> None:
    walked = RandomWalk("any")
    nearby = [walked.value(number) for number in range(max(0, step - 3), step + 1)]
    assert RandomWalk("any").value(step) == nearby[-1]
