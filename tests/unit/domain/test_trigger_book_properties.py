"""The trigger book against the slow oracle: random orders, late adds, cancels, amends, checkpoints and crashes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any, TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.enums import PositionSide
from app.domain.trigger_book import TriggerBook, Watermark
from app.domain.triggers import Crossing, Tick, TriggerOrder
from tests.oracles import Fired, oracle_order

GRID = Decimal("0.25")
KEPT = 8


class Levels(TypedDict, total=False):
    """What makes a TriggerOrder the kind of exit it is."""

    stop_price: Decimal
    take_profit_price: Decimal
    trailing_distance: Decimal
    trailing_percentage: Decimal
    activation_price: Decimal


@dataclass
class Life:
    """One version of an order: its terms as the oracle sees them, and the last tick that could fire it."""

    terms: TriggerOrder
    last_sequence: int | None = None
    crossing: Crossing | None = None


@dataclass
class Desk:
    """Drives a book as the order engine does, and keeps what the engine's database would."""

    ticks: list[Tick] = field(default_factory=lambda: [(5, Decimal(100))])
    pending: dict[int, TriggerOrder] = field(default_factory=dict)
    fired: dict[int, TriggerOrder] = field(default_factory=dict)
    uncommitted: list[int] = field(default_factory=list)
    lives: dict[tuple[int, int], Life] = field(default_factory=dict)
    table: dict[tuple[PositionSide, int], Decimal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.book = TriggerBook(self.now)
        self.checkpoint_sequence = self.now

    @property
    def now(self) -> int:
        return self.ticks[-1][0]

    @property
    def price(self) -> Decimal:
        return self.ticks[-1][1]

    def tick(self, price: Decimal, gap: int = 1) -> None:
        self.ticks.append((self.now + gap, price))
        for crossing in self.book.on_price(self.now, price):
            self._record(crossing)

    def add(self, late: int, side: PositionSide, levels: Callable[[Decimal], Levels]) -> None:
        sequence, price = self.ticks[-1 - min(late, len(self.ticks) - 1)]
        self._live(TriggerOrder(len(self.lives) + 1, 0, side, sequence, price, **levels(price)))

    def cancel(self, choice: int) -> None:
        if self.pending:
            order_id = self._chosen(self.pending, choice)
            assert self.book.cancel(order_id)
            assert not self.book.cancel(order_id)
            self._end(self.pending.pop(order_id))

    def amend(self, choice: int, levels: Callable[[Decimal], Levels]) -> None:
        if self.pending:
            old = self.pending[self._chosen(self.pending, choice)]
            self._end(old)
            self._live(TriggerOrder(old.order_id, old.version + 1, old.side, *self.ticks[-1], **levels(self.price)))

    def release(self, choice: int) -> None:
        """Let a crossing go: the order waits again, from the tick that fired it."""
        if not self.fired:
            return
        order_id = self._chosen(self.fired, choice)
        old = self.fired[order_id]
        crossing = self.lives[order_id, old.version].crossing
        assert crossing is not None
        if crossing.sequence < self.ticks[-KEPT:][0][0]:
            return
        del self.fired[order_id]
        start = old.armed_price if crossing.watermark is None else crossing.watermark
        self._live(
            replace(
                old,
                version=old.version + 1,
                armed_price=start,
                activation_price=None,
                released_sequence=crossing.sequence,
            )
        )

    def checkpoint(self) -> None:
        changes = self.book.take_changes()
        for row in changes.upserts:
            self.table[row.side, row.from_sequence] = row.extreme
        for key in changes.deletes:
            del self.table[key]
        for activated in changes.activated:
            order = self.pending.get(activated.order_id)
            if order is not None and order.version == activated.version:
                self.pending[activated.order_id] = replace(
                    order,
                    activation_price=None,
                    armed_sequence=activated.sequence,
                    armed_price=activated.price,
                )
        assert {(row.side, row.from_sequence): row.extreme for row in self.book.rows()} == self.table
        self.checkpoint_sequence = changes.sequence
        self.uncommitted.clear()

    def crash(self, seed: int) -> None:
        """Start again from the last checkpoint; some crossings since then were not committed."""
        random = Random(seed)
        for order_id in self.uncommitted:
            if order_id in self.fired and random.random() < 0.5:
                self.pending[order_id] = self.fired.pop(order_id)
        rows = [Watermark(side, start, extreme) for (side, start), extreme in self.table.items()]
        random.shuffle(rows)
        self.book = TriggerBook(self.checkpoint_sequence, rows)
        judged = [tick for tick in self.ticks if tick[0] <= self.checkpoint_sequence]
        for order in random.sample(list(self.pending.values()), len(self.pending)):
            self._add(order, judged[-KEPT:])
        for tick in self.ticks[len(judged) :]:
            for crossing in self.book.on_price(*tick):
                self._record(crossing)

    def check_book(self) -> None:
        assert len(self.book) == len(self.pending)
        assert all(order_id in self.book for order_id in self.pending)
        for side, sign in ((PositionSide.LONG, 1), (PositionSide.SHORT, -1)):
            rows = [row for row in self.book.rows() if row.side is side]
            assert all(a.from_sequence < b.from_sequence for a, b in pairwise(rows))
            assert all(a.extreme * sign > b.extreme * sign for a, b in pairwise(rows))

    def check_all(self) -> None:
        """Every order, living or gone, did what the oracle says, exactly."""
        self.check_book()
        for (order_id, version), life in self.lives.items():
            expected = oracle_order(life.terms, self.ticks, life.last_sequence)
            if isinstance(expected, Fired):
                assert life.crossing is not None, expected
                c = life.crossing
                assert Fired(c.sequence, c.price, c.leg, c.stop_price, c.watermark) == expected
                continue
            assert life.crossing is None, expected
            order = self.pending.get(order_id)
            if order is not None and order.version == version:
                assert self.book.stop_of(order_id) == expected.stop
                assert self.book.watermark_of(order_id) == expected.watermark

    def _live(self, order: TriggerOrder) -> None:
        terms = order
        if order.released_sequence is not None:
            terms = replace(order, armed_sequence=order.released_sequence)
        self.lives[order.order_id, order.version] = Life(terms)
        self.pending[order.order_id] = order
        self._add(order, self.ticks[-KEPT:])

    def _add(self, order: TriggerOrder, kept: list[Tick]) -> None:
        crossing = self.book.add(order, kept)
        if crossing is not None:
            assert order.order_id not in self.book
            self._record(crossing)

    def _end(self, order: TriggerOrder) -> None:
        self.lives[order.order_id, order.version].last_sequence = self.now

    def _record(self, crossing: Crossing) -> None:
        order = self.pending.pop(crossing.order_id)
        assert order.version == crossing.version
        life = self.lives[crossing.order_id, crossing.version]
        assert life.crossing in {None, crossing}, "fired again, but otherwise"
        life.crossing = crossing
        self.fired[crossing.order_id] = order
        self.uncommitted.append(crossing.order_id)

    @staticmethod
    def _chosen(orders: dict[int, TriggerOrder], choice: int) -> int:
        return sorted(orders)[choice % len(orders)]


def levels_of(side: PositionSide, kind: str, near: int, far: int, percentage: str) -> Callable[[Decimal], Levels]:
    """Levels `near` and `far` grid steps from the price at which an order is armed."""
    step = GRID if side is PositionSide.LONG else -GRID

    def levels(price: Decimal) -> Levels:
        stop, take_profit = price - near * step, price + far * step
        kinds: dict[str, Levels] = {
            "stop": {"stop_price": stop},
            "take_profit": {"take_profit_price": take_profit},
            "oco": {"stop_price": stop, "take_profit_price": take_profit},
            "distance": {"trailing_distance": near * GRID},
            "percentage": {"trailing_percentage": Decimal(percentage)},
            "activated": {"trailing_distance": near * GRID, "activation_price": take_profit},
            "activated_percentage": {
                "trailing_percentage": Decimal(percentage),
                "activation_price": take_profit,
            },
        }
        return kinds[kind]

    return levels


KINDS = ("stop", "take_profit", "oco", "distance", "percentage", "activated", "activated_percentage")
PERCENTAGES = ("0.1", "0.5", "1", "1.25", "2.500000000000000001", "40")

sides = st.sampled_from(list(PositionSide))
level_terms = st.tuples(st.sampled_from(KINDS), st.integers(1, 12), st.integers(1, 12), st.sampled_from(PERCENTAGES))
choices = st.integers(0, 50)
actions = st.one_of(
    st.tuples(st.just("tick"), st.integers(-8, 8), st.integers(1, 3)),
    st.tuples(st.just("tick"), st.integers(-2, 2), st.just(1)),
    st.tuples(st.just("add"), st.integers(0, KEPT - 1), sides, level_terms),
    st.tuples(st.just("add"), st.just(0), sides, level_terms),
    st.tuples(st.just("cancel"), choices),
    st.tuples(st.just("amend"), choices, level_terms),
    st.tuples(st.just("release"), choices),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("crash"), choices),
)


def perform(desk: Desk, action: tuple[Any, ...]) -> None:
    match action:
        case ("tick", steps, gap):
            desk.tick(max(desk.price + steps * GRID, GRID), gap)
        case ("add", late, side, (kind, near, far, percentage)):
            desk.add(late, side, levels_of(side, kind, near, far, percentage))
        case ("amend", choice, (kind, near, far, percentage)):
            if desk.pending:
                side = desk.pending[sorted(desk.pending)[choice % len(desk.pending)]].side
                desk.amend(choice, levels_of(side, kind, near, far, percentage))
        case ("cancel", choice):
            desk.cancel(choice)
        case ("release", choice):
            desk.release(choice)
        case ("checkpoint",):
            desk.checkpoint()
        case ("crash", seed):
            desk.crash(seed)
        case _:
            raise AssertionError(action)


@given(st.lists(actions, min_size=25, max_size=100))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_crossing_is_the_oracles(script: list[tuple[Any, ...]]) -> None:
    desk = Desk()
    for action in script:
        perform(desk, action)
        desk.check_book()
    desk.check_all()


def random_action(random: Random) -> tuple[Any, ...]:
    terms = (
        random.choice(KINDS),
        random.randint(1, 400),
        random.randint(1, 400),
        random.choice(PERCENTAGES),
    )
    side = random.choice(list(PositionSide))
    choice = random.randrange(1000)
    possible: dict[str, tuple[tuple[Any, ...], float]] = {
        "tick": (("tick", random.choice((-2, -1, -1, 0, 0, 1, 1, 2)), 1), 1000),
        "jump": (("tick", random.randint(-100, 100), random.randint(1, 5)), 10),
        "add": (("add", 0, side, terms), 60),
        "late": (("add", random.randint(1, KEPT - 1), side, terms), 20),
        "cancel": (("cancel", choice), 15),
        "amend": (("amend", choice, terms), 15),
        "release": (("release", choice), 10),
        "checkpoint": (("checkpoint",), 20),
        "crash": (("crash", choice), 0.3),
    }
    return random.choices([action for action, _ in possible.values()], [w for _, w in possible.values()])[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_thousand_ticks_with_everything_in_between(seed: int) -> None:
    random = Random(seed)
    desk = Desk(ticks=[(5, Decimal(500))])
    while len(desk.ticks) < 20_000:
        perform(desk, random_action(random))
    desk.check_all()

    fired = [life.crossing for life in desk.lives.values() if life.crossing is not None]
    assert {crossing.leg for crossing in fired} == {"stop", "take_profit", "trailing"}
    assert len(fired) > 500
    assert len(desk.pending) > 50
