"""The trigger book alone on one core: ticks that fire nothing, adds, cancels and memory, by number of orders."""

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from itertools import batched, islice
from random import Random
from typing import Any

from app.domain.enums import PositionSide
from app.domain.trigger_book import NOTHING, TriggerBook
from app.domain.triggers import Tick, TriggerOrder

SIZES = (1_000, 10_000, 100_000, 1_000_000)
TICKS = 200_000
ROUNDS = 5
FILL_ROUNDS = 3
ARMING_TICKS = 200
START_CENTS = 6_000_000
# The walk keeps within this of its start; no level lies so near, and no stop trails so closely.
SWING_CENTS = 50_000

TICKS_TARGET = 1_000_000
ADDS_TARGET = 300_000
BYTES_TARGET = 500
COST_TARGET = 2


class Floor:
    """The least that a tick can cost in Python: a method that makes one chained comparison."""

    __slots__ = ("_ceiling", "_floor")

    def __init__(self) -> None:
        self._floor = Decimal("0.01")
        self._ceiling = Decimal(1_000_000_000)

    def on_price(self, sequence: int, price: Decimal) -> object:
        if self._floor < price < self._ceiling:
            return NOTHING
        return sequence


class AddFloor:
    """The least that an add can cost: a method that stores the order by its id."""

    __slots__ = ("_orders",)

    def __init__(self) -> None:
        self._orders: dict[int, TriggerOrder] = {}

    def add(self, order: TriggerOrder) -> None:
        self._orders[order.order_id] = order


def walk(count: int, first_sequence: int, random: Random) -> list[Tick]:
    """A random walk on a grid of cents, a third of it standing still, some of it new extremes."""
    cents, ticks = START_CENTS, []
    for sequence in range(first_sequence, first_sequence + count):
        step = random.choice((-25, -5, -1, 0, 0, 0, 1, 5, 25))
        if abs(cents + step - START_CENTS) < SWING_CENTS:
            cents += step
        ticks.append((sequence, Decimal(cents).scaleb(-2)))
    return ticks


def orders(count: int, ticks: list[Tick], random: Random) -> Iterator[TriggerOrder]:
    """Exits of every kind and both sides, armed evenly over the ticks."""
    per_tick = -(-count // len(ticks))
    for order_id in range(count):
        side = random.choice((PositionSide.LONG, PositionSide.SHORT))
        direction = 1 if side is PositionSide.LONG else -1
        sequence, price = ticks[order_id // per_tick]
        near, far = (Decimal(random.randint(2 * SWING_CENTS, 2_000_000)).scaleb(-2) for _ in range(2))
        stop, take_profit = price - near * direction, price + far * direction
        kind = order_id % 10
        yield TriggerOrder(
            order_id,
            0,
            side,
            sequence,
            price,
            stop_price=stop if kind < 5 else None,
            take_profit_price=take_profit if 3 <= kind < 7 else None,
            trailing_distance=near if kind in {7, 8} else None,
            trailing_percentage=Decimal(random.randint(300, 3000)).scaleb(-2) if kind == 9 else None,
        )


def seconds(run: Callable[[], None]) -> float:
    """Processor time of a call, so that other programs do not count; garbage is collected as in a server."""
    started = time.process_time()
    run()
    return time.process_time() - started


def play(target: TriggerBook | Floor, ticks: list[Tick]) -> None:
    on_price = target.on_price
    for sequence, price in ticks:
        if on_price(sequence, price):
            raise AssertionError(f"tick {sequence} fired")


def add_all(target: TriggerBook | AddFloor, waiting: list[TriggerOrder]) -> None:
    add = target.add
    for order in waiting:
        add(order)


def cancel_all(book: TriggerBook, order_ids: list[int]) -> None:
    cancel = book.cancel
    for order_id in order_ids:
        if not cancel(order_id):
            raise AssertionError(f"order {order_id} was not there")


def fill(book: TriggerBook, arming: list[Tick], resting: list[TriggerOrder]) -> float:
    """Add the orders, each right after the tick that it is armed at; the seconds that the adds alone took."""
    spent = 0.0
    per_tick = -(-len(resting) // len(arming))
    for (sequence, price), batch in zip(arming, batched(resting, per_tick), strict=True):
        book.on_price(sequence, price)
        waiting = list(batch)
        spent += seconds(partial(add_all, book, waiting))
    return spent


def tick_speeds(book: TriggerBook, random: Random) -> tuple[float, float, float]:
    """Ticks a second, those of the floor, and the ratio of the two: medians of rounds taken in turn."""
    speeds, floors = [], []
    for _ in range(ROUNDS):
        ticks = walk(TICKS, book.sequence + 1, random)
        floors.append(TICKS / seconds(partial(play, Floor(), ticks)))
        speeds.append(TICKS / seconds(partial(play, book, ticks)))
    ratios = [ours / least for ours, least in zip(speeds, floors, strict=True)]
    return statistics.median(speeds), statistics.median(floors), statistics.median(ratios)


def bytes_per_order(count: int) -> float:
    """What a resting order keeps alive, its own prices and id included."""
    random = Random(count)
    arming = walk(ARMING_TICKS, 1, random)
    book = TriggerBook(0)
    coming = orders(count, arming, random)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for tick in arming:
            book.on_price(*tick)
            for order in islice(coming, count // len(arming)):
                book.add(order)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / len(book)
    finally:
        tracemalloc.stop()


def row(name: str, value: float, unit: str, floor: float | None, target: float | None) -> dict[str, Any]:
    """A row for people and machines; where a floor was measured, the ratio is to it."""
    return {
        "name": f"trigger book: {name}",
        "value": round(value, 2) if value < 100 else round(value),
        "unit": unit,
        "floor": None if floor is None else round(floor),
        "ratio": None if floor is None else round(value / floor, 2),
        "target": target,
        "met": None if target is None else value >= target,
    }


def filled(count: int, random: Random) -> tuple[TriggerBook, float, float]:
    """A book with so many orders, and the adds a second that it and the floor took: the best of a few rounds."""
    arming = walk(ARMING_TICKS, 1, random)
    resting = list(orders(count, arming, random))
    adds, floors = [], []
    for _ in range(FILL_ROUNDS):
        book = TriggerBook(0)
        adds.append(count / fill(book, arming, resting))
        floors.append(count / seconds(partial(add_all, AddFloor(), resting)))
    return book, max(adds), max(floors)


def speed_rows(count: int) -> list[dict[str, Any]]:
    """Ticks a second with so many orders; of the largest book also adds and cancels."""
    random = Random(count)
    book, adds, add_floor = filled(count, random)
    ticks, tick_floor, tick_ratio = tick_speeds(book, random)
    measured = [
        row(f"ticks that fire nothing, {count:,} orders", ticks, "ticks/s", tick_floor, TICKS_TARGET)
        | {"ratio": round(tick_ratio, 2)}
    ]
    if count == SIZES[-1]:
        cancels = count / seconds(partial(cancel_all, book, random.sample(range(count), count)))
        measured += [
            row(f"adds, {count:,} orders", adds, "orders/s", add_floor, ADDS_TARGET),
            row(f"cancels, {count:,} orders", cancels, "orders/s", None, None),
        ]
    return measured


def cost_row(count: int, ticks: dict[str, Any], fewest: dict[str, Any]) -> dict[str, Any]:
    """What a tick costs with so many orders, in costs of one with the fewest; both as ratios to their own floors."""
    times = fewest["ratio"] / ticks["ratio"]
    cost = row(f"cost of a tick, {count:,} orders to {SIZES[0]:,}", times, "times", None, COST_TARGET)
    return cost | {"met": cost["value"] <= COST_TARGET}


def rows() -> list[dict[str, Any]]:
    """Measure everything; about a minute."""
    measured = [speed_rows(count) for count in SIZES]
    costs = [cost_row(count, group[0], measured[0][0]) for count, group in zip(SIZES, measured, strict=True)]
    memory = row(f"memory, {SIZES[-1]:,} orders", bytes_per_order(SIZES[-1]), "bytes/order", None, BYTES_TARGET)
    memory["met"] = memory["value"] <= BYTES_TARGET
    return [one for group in measured for one in group] + costs[1:] + [memory]
