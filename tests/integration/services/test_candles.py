"""Candles of real ticks: the same as by looking at every tick, however often the feed is played again."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from app.domain.candles import Bar, CandleInterval
from app.domain.prices import Tick
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.candle_writer import CandleWriter
from app.services.pair_directory import PairDirectory
from app.services.providers.paper.replay_feed import ReplayFeed
from app.services.providers.paper.replay_files import read_recording
from tests.feeds import PAIR_IDS, PassingTime, play, start_at

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
async def pair_ids(uow: UnitOfWorkFactory) -> list[int]:
    directory = PairDirectory(uow)
    await directory.load()
    return [pair.id for pair in directory.listed()]


def tick(pair_id: int, sequence: int, seconds: float, mark: int) -> Tick:
    price = Decimal(mark)
    return Tick(pair_id, sequence, price, price, NOON + timedelta(seconds=seconds), "paper")


async def write(uow: UnitOfWorkFactory, *batches: Iterable[Tick]) -> None:
    """A process that writes batches, each in a flush of its own."""
    writer = CandleWriter(uow)
    for batch in batches:
        for each in batch:
            writer.on_tick(each)
        await writer.flush()


async def bars(uow: UnitOfWorkFactory, pair_id: int, interval: str = "1m", hours: float = 100) -> list[Bar]:
    async with uow() as work:
        start = NOON - timedelta(hours=1)
        return await work.candles.bars(pair_id, CandleInterval(interval), start, start + timedelta(hours=hours))


async def test_flushes_of_one_minute_make_one_candle(uow: UnitOfWorkFactory, pair_ids: list[int]) -> None:
    ticks = [tick(pair_ids[0], n, n, mark) for n, mark in enumerate([10, 12, 8, 11], 1)]
    await write(uow, ticks[:1], [], ticks[1:3], ticks[3:])
    (bar,) = await bars(uow, pair_ids[0])
    assert bar == Bar(pair_ids[0], NOON, Decimal(10), Decimal(12), Decimal(8), Decimal(11), 4, 4)


async def test_ticks_that_come_again_count_once_also_at_another_time(
    uow: UnitOfWorkFactory, pair_ids: list[int]
) -> None:
    pair_id = pair_ids[1]
    await write(uow, [tick(pair_id, n, n, 10) for n in range(1, 31)])
    again = [tick(pair_id, n, n + 600, 99) for n in range(20, 31)]
    new = [tick(pair_id, n, n + 600, 20) for n in range(31, 36)]
    await write(uow, again, new)
    assert [(bar.ticks, bar.high) for bar in await bars(uow, pair_id)] == [(30, Decimal(10)), (5, Decimal(20))]


async def test_two_writers_of_the_same_ticks_write_the_same_prices(uow: UnitOfWorkFactory, pair_ids: list[int]) -> None:
    pair_id = pair_ids[2]
    ticks = [tick(pair_id, n, n / 2, (n * 37) % 50 + 1) for n in range(1, 101)]
    one, other = CandleWriter(uow), CandleWriter(uow)
    for position in range(0, 100, 10):
        for each in ticks[position : position + 10]:
            one.on_tick(each)
            other.on_tick(each)
        await one.flush()
        await other.flush()
    marks = [each.mark for each in ticks]
    (bar,) = await bars(uow, pair_id)
    assert bar == Bar(pair_id, NOON, marks[0], max(marks), min(marks), marks[-1], 100, 100)


async def test_longer_candles_are_made_of_minutes(uow: UnitOfWorkFactory, pair_ids: list[int]) -> None:
    pair_id = pair_ids[3]
    ticks = [tick(pair_id, n + 1, n * 60, 100 + (n * 7) % 11) for n in range(150)]
    await write(uow, ticks)
    for interval, minutes in (("5m", 5), ("1h", 60)):
        found = await bars(uow, pair_id, interval)
        groups = [[t.mark for t in ticks[start : start + minutes]] for start in range(0, 150, minutes)]
        assert [bar.opened_at for bar in found] == [NOON + timedelta(minutes=n * minutes) for n in range(len(groups))]
        assert [(bar.open, bar.high, bar.low, bar.close, bar.ticks) for bar in found] == [
            (marks[0], max(marks), min(marks), marks[-1], len(marks)) for marks in groups
        ]
        assert found[-1].last_sequence == 150


async def test_what_could_not_be_written_is_written_the_next_time(uow: UnitOfWorkFactory, pair_ids: list[int]) -> None:
    pair_id = pair_ids[4]
    is_down = True

    def sometimes() -> UnitOfWork:
        if is_down:
            raise ConnectionRefusedError
        return uow()

    writer = CandleWriter(sometimes)
    writer.on_tick(tick(pair_id, 1, 0, 10))
    with pytest.raises(ConnectionRefusedError):
        await writer.flush()
    is_down = False
    writer.on_tick(tick(pair_id, 2, 1, 12))
    await writer.flush()
    assert [(bar.open, bar.close, bar.ticks) for bar in await bars(uow, pair_id)] == [(Decimal(10), Decimal(12), 2)]


@pytest.mark.recorded
@pytest.mark.parametrize("interval", ["1m", "5m", "1h"])
async def test_candles_of_a_recorded_day_equal_brute_force(
    uow: UnitOfWorkFactory, pair_ids: list[int], recorded_data: Path, interval: str
) -> None:
    pair_id = pair_ids[{"1m": 5, "5m": 6, "1h": 7}[interval]]
    recording = read_recording([f"BTCUSDT={recorded_data}/btcusd_dydx_perp_2026-01-01_1m_quotes.csv"])
    clock = PassingTime(NOON)
    feed = ReplayFeed(recording, speed=3, starts_over=False, clock=clock, sleep=clock.sleep)
    played = await play(feed, clock, start_at(clock))
    assert {each.pair_id for each in played.ticks} == {PAIR_IDS["BTCUSDT"]}
    mine = [Tick(pair_id, t.sequence, t.bid, t.ask, t.at, t.source) for t in played.ticks if t.bid <= t.ask]
    await write(uow, *[mine[start : start + 777] for start in range(0, len(mine), 777)])
    length = CandleInterval(interval).length
    expected: dict[datetime, list[Decimal]] = {}
    for each in mine:
        opened_at = NOON + (each.at - NOON) // length * length
        expected.setdefault(opened_at, []).append((each.bid + each.ask) / 2)
    found = await bars(uow, pair_id, interval)
    assert {bar.opened_at: (bar.open, bar.high, bar.low, bar.close, bar.ticks) for bar in found} == {
        opened_at: (marks[0], max(marks), min(marks), marks[-1], len(marks)) for opened_at, marks in expected.items()
    }
