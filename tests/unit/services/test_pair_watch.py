"""What the order engine holds of one pair: whatever is killed and played on, every exit fires once, where it must."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import OrderRole, OrderSide, OrderStatus, OrderType, PositionSide, TriggerBy, TriggeredLeg
from app.domain.prices import PROTECT_LIMIT, Tick, series_price
from app.domain.triggers import Activated, TriggerOrder
from app.models.market import WatermarkRow
from app.models.trading import Order
from app.repositories.engine_state_repository import EngineState, WatermarkKey
from app.services.claim_service import Crossed
from app.services.live_stops import watched_terms
from app.services.pair_watch import PairWatch, Unsettled
from tests.oracles import Fired, oracle_order

PAIR = 7
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
KEPT = 60
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def tick(sequence: int, price: str, last: str | None = None) -> Tick:
    mark = Decimal(price)
    at = START + timedelta(seconds=sequence)
    return Tick(PAIR, sequence, mark - 1, mark + 1, at, "test", None if last is None else Decimal(last))


def exit_order(order_id: int, armed: Tick, side: PositionSide = LONG, **values: Any) -> Order:
    trigger_by = values.get("trigger_by", TriggerBy.MARK)
    base: dict[str, Any] = {
        "id": order_id,
        "pair_id": PAIR,
        "role": OrderRole.EXIT,
        "order_type": OrderType.STOP_LOSS,
        "side": OrderSide.SELL if side is LONG else OrderSide.BUY,
        "status": OrderStatus.PENDING,
        "version": 1,
        "trigger_by": trigger_by,
        "price_protect": False,
        "armed_sequence": armed.sequence,
        "armed_price": armed.price_by(trigger_by, side),
    }
    return Order(**(base | values))


def started(first: Tick) -> PairWatch:
    """A watch that has judged its first tick."""
    watch = PairWatch(PAIR, 0, [])
    assert watch.on_tick(first, [first]) == []
    return watch


def fired(crossed: list[Crossed]) -> list[tuple[int, int, TriggeredLeg]]:
    return [(c.crossing.order_id, c.crossing.sequence, c.crossing.leg) for c in crossed]


def test_a_tick_fires_what_it_reaches_and_tells_where_it_came_from() -> None:
    first = tick(1, "100")
    watch = started(first)
    watch.watch(exit_order(1, first, stop_price=Decimal(95)), [first])
    watch.watch(exit_order(2, first, SHORT, stop_price=Decimal(105)), [first])

    assert watch.on_tick(tick(2, "96"), ()) == []
    (crossed,) = watch.on_tick(tick(3, "95"), ())

    assert fired([crossed]) == [(1, 3, TriggeredLeg.STOP)]
    assert (crossed.at, crossed.source, crossed.crossing.price) == (tick(3, "95").at, "test", Decimal(95))
    assert len(watch) == 1


def test_a_tick_given_again_fires_nothing() -> None:
    first = tick(1, "100")
    watch = started(first)
    watch.on_tick(tick(2, "90"), ())
    watch.watch(exit_order(1, tick(2, "90"), stop_price=Decimal(89)), [first, tick(2, "90")])

    assert watch.on_tick(tick(1, "80"), ()) == []
    assert watch.on_tick(tick(2, "80"), ()) == []
    assert fired(watch.on_tick(tick(3, "80"), ())) == [(1, 3, TriggeredLeg.STOP)]


def test_an_exit_heard_of_late_is_played_the_kept_ticks() -> None:
    first = tick(1, "100")
    watch = started(first)
    ticks = [first, tick(2, "94"), tick(3, "100")]
    for each in ticks[1:]:
        watch.on_tick(each, ())

    crossed = watch.watch(exit_order(1, first, stop_price=Decimal(95)), ticks)

    assert fired(crossed) == [(1, 2, TriggeredLeg.STOP)]
    assert crossed[0].at == ticks[1].at


def test_the_armed_tick_itself_cannot_fire() -> None:
    first = tick(1, "90")
    watch = started(first)

    assert watch.watch(exit_order(1, first, stop_price=Decimal(95)), [first]) == []
    assert fired(watch.on_tick(tick(2, "90"), ())) == [(1, 2, TriggeredLeg.STOP)]


def test_each_series_watches_its_own_price() -> None:
    first = tick(1, "100", last="100")
    watch = started(first)
    levels: dict[str, Any] = {"stop_price": Decimal(96)}
    watch.watch(exit_order(1, first, trigger_by=TriggerBy.MARK, **levels), [first])
    watch.watch(exit_order(2, first, trigger_by=TriggerBy.EXIT, **levels), [first])
    watch.watch(exit_order(3, first, trigger_by=TriggerBy.LAST, **levels), [first])
    watch.watch(exit_order(4, first, SHORT, trigger_by=TriggerBy.EXIT, stop_price=Decimal(104)), [first])

    # Bid 96, mark 97, no trade; then mark 96; then a trade at 96; then ask 104.
    seen = [
        {order_id for order_id, _, _ in fired(watch.on_tick(each, ()))}
        for each in (tick(2, "97"), tick(3, "96"), tick(4, "100", last="96"), tick(5, "103"))
    ]

    assert seen == [{2}, {1}, {3}, {4}]


def test_a_protected_exit_passes_over_a_price_far_from_the_last_trade_for_five_seconds() -> None:
    first = tick(1, "100", last="100")
    watch = started(first)
    watch.watch(exit_order(1, first, stop_price=Decimal(90), price_protect=True), [first])
    watch.watch(exit_order(2, first, stop_price=Decimal(90)), [first])

    seen = [
        {order_id for order_id, _, _ in fired(watch.on_tick(tick(sequence, "89", last="100"), ()))}
        for sequence in (2, 6, 7)
    ]

    assert seen == [{2}, set(), {1}]


def test_a_protected_exit_heard_of_late_is_not_played_what_was_held_back() -> None:
    ticks = [tick(1, "100", last="100"), tick(2, "80"), tick(3, "100"), tick(4, "94.9", last="99")]
    watch = started(ticks[0])
    for each in ticks[1:]:
        watch.on_tick(each, ())

    crossed = watch.watch(exit_order(1, ticks[0], stop_price=Decimal(95), price_protect=True), ticks)

    assert fired(crossed) == [(1, 4, TriggeredLeg.STOP)]


def test_an_activation_is_saved_with_the_checkpoint_of_its_tick() -> None:
    first = tick(1, "100")
    watch = started(first)
    order = exit_order(1, first, trailing_stop_distance=Decimal(5), activation_price=Decimal(110), version=3)
    watch.watch(order, [first])
    assert watch.on_tick(tick(2, "90"), ()) == []
    watch.on_tick(tick(3, "112"), ())

    state = watch.savable_state()

    assert state is not None
    assert list(state.activated) == [Activated(1, 3, 3, Decimal(112))]
    assert list(state.upserts.values()) == [Decimal(112)]
    watch.saved(state)
    watch.on_tick(tick(4, "113"), ())
    after = watch.savable_state()
    assert after is not None
    assert list(after.activated) == []
    assert fired(watch.on_tick(tick(5, "108"), ())) == [(1, 5, TriggeredLeg.TRAILING)]


def test_an_activation_heard_of_after_the_checkpoint_of_its_tick_does_not_wait_for_another_tick() -> None:
    ticks = [tick(1, "100"), tick(2, "112")]
    watch = started(ticks[0])
    watch.on_tick(ticks[1], ())
    before = watch.savable_state()
    assert before is not None
    watch.saved(before)
    assert watch.savable_state() is None
    order = exit_order(1, ticks[0], trailing_stop_distance=Decimal(5), activation_price=Decimal(110))
    assert watch.watch(order, ticks) == []

    state = watch.savable_state()

    assert state is not None
    assert (state.tick, list(state.activated)) == (ticks[1], [Activated(1, 1, 2, Decimal(112))])
    watch.saved(state)
    assert watch.savable_state() is None


def test_what_is_forgotten_does_not_fire_and_an_older_version_does_not_come_back() -> None:
    first = tick(1, "100")
    watch = started(first)
    watch.watch(exit_order(1, first, stop_price=Decimal(95)), [first])
    watch.watch(exit_order(2, first, stop_price=Decimal(95), version=2), [first])
    watch.watch(exit_order(2, first, stop_price=Decimal(99), version=1), [first])
    watch.forget(1)
    watch.forget(404)

    assert watch.on_tick(tick(2, "98"), ()) == []
    assert fired(watch.on_tick(tick(3, "95"), ())) == [(2, 3, TriggeredLeg.STOP)]


def test_a_newer_version_replaces_the_older_also_on_another_series() -> None:
    first = tick(1, "100", last="100")
    watch = started(first)
    watch.watch(exit_order(1, first, stop_price=Decimal(95)), [first])

    watch.watch(exit_order(1, first, stop_price=Decimal(95), version=2, trigger_by=TriggerBy.LAST), [first])

    assert watch.on_tick(tick(2, "90"), ()) == []
    assert fired(watch.on_tick(tick(3, "90", last="95"), ())) == [(1, 3, TriggeredLeg.STOP)]


def test_exits_read_before_the_first_tick_wait_for_it_and_can_be_forgotten() -> None:
    ticks = [tick(9, "100"), tick(10, "94"), tick(11, "100")]
    watch = PairWatch(PAIR, 11, [])
    watch.watch(exit_order(1, ticks[0], stop_price=Decimal(95)), ())
    watch.watch(exit_order(2, ticks[0], stop_price=Decimal(95)), ())
    watch.forget(2)
    assert (len(watch), watch.is_unarmed) == (1, True)

    crossed = [c for index, each in enumerate(ticks) for c in watch.on_tick(each, ticks[: index + 1])]

    # Played what the feed gave again: it had crossed before the checkpoint and was not settled then.
    assert fired(crossed) == [(1, 10, TriggeredLeg.STOP)]
    assert not watch.is_unarmed


def test_there_is_nothing_to_save_before_a_new_tick_or_twice() -> None:
    watch = PairWatch(PAIR, 5, [])
    assert watch.savable_state() is None
    watch.on_tick(tick(5, "100"), [tick(5, "100")])
    assert watch.savable_state() is None
    watch.on_tick(tick(6, "101"), ())

    state = watch.savable_state()

    assert state is not None
    assert state.tick.sequence == 6
    # Until it is known to be durable it is what has to be saved, whatever came since.
    watch.on_tick(tick(7, "102"), ())
    assert watch.savable_state() is state
    watch.saved(state)
    after = watch.savable_state()
    assert after is not None
    assert after.tick.sequence == 7


@pytest.mark.parametrize("unsettled_at", [2, 3])
def test_the_checkpoint_does_not_pass_what_is_not_settled(unsettled_at: int) -> None:
    first = tick(1, "100")
    watch = started(first)
    (order,) = [exit_order(1, first, stop_price=Decimal(95))]
    watch.watch(order, [first])
    prices = {2: "100", 3: "100", unsettled_at: "95"}
    for sequence in (2, 3):
        for crossed in watch.on_tick(tick(sequence, prices[sequence]), ()):
            watch.unsettled.add(Unsettled(watch, crossed.crossing.sequence, crossed))

    held_back = watch.savable_state()
    watch.unsettled.clear()
    state = watch.savable_state()

    assert held_back is None
    assert state is not None
    assert state.tick.sequence == 3


@dataclass
class Durable:
    """What survives a kill: the checkpoint with its watermark rows, and the orders, of which some still wait."""

    sequence: int = 0
    rows: dict[WatermarkKey, Decimal] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    pending: dict[int, Order] = field(default_factory=dict)
    committed: dict[int, Crossed] = field(default_factory=dict)

    def save(self, state: EngineState) -> None:
        for key in state.deletes:
            del self.rows[key]
        self.rows |= state.upserts
        for one in state.activated:
            order = self.orders[one.order_id]
            assert (order.version, order.activated_sequence) == (one.version, None)
            order.activated_sequence = order.armed_sequence = one.sequence
            order.armed_price = one.price
        self.sequence = state.tick.sequence

    def commit(self, crossed: Crossed) -> None:
        order_id = crossed.crossing.order_id
        assert order_id not in self.committed, f"{order_id} fired twice"
        self.committed[order_id] = crossed
        del self.pending[order_id]

    def watermarks(self) -> list[WatermarkRow]:
        return [
            WatermarkRow(
                pair_id=PAIR,
                trigger_by=key.trigger_by,
                price_protect=key.price_protect,
                side=key.side,
                from_sequence=key.from_sequence,
                extreme=extreme,
            )
            for key, extreme in sorted(self.rows.items(), key=lambda row: row[0].from_sequence)
        ]


class Engine:
    """An engine in miniature: it queues what fires, commits it some ticks later, and saves when it may."""

    def __init__(self, durable: Durable, chance: random.Random) -> None:
        self._durable, self._chance = durable, chance
        self._kept: list[Tick] = []
        self._queue: list[Unsettled] = []
        self.watch = PairWatch(PAIR, durable.sequence, durable.watermarks())
        for order in durable.pending.values():
            self.take_up(order)

    def take_up(self, order: Order) -> None:
        self._push(self.watch.watch(order, [t for t in self._kept if t.sequence >= (order.armed_sequence or 0)]))

    def on_tick(self, each: Tick) -> None:
        self._kept = [*self._kept, each][-KEPT:]
        self._push(self.watch.on_tick(each, self._kept if self.watch.is_armed_by(each) else ()))
        while self._queue and self._chance.random() < 0.4:
            self._settle()
        if self._chance.random() < 0.3:
            self._save()

    def finish(self) -> None:
        while self._queue:
            self._settle()

    def _push(self, crossed: list[Crossed]) -> None:
        for item in crossed:
            unsettled = Unsettled(self.watch, item.crossing.sequence, item)
            self.watch.unsettled.add(unsettled)
            self._queue.append(unsettled)

    def _settle(self) -> None:
        item = self._queue.pop(0)
        assert isinstance(item.subject, Crossed)
        self._durable.commit(item.subject)
        self.watch.unsettled.discard(item)

    def _save(self) -> None:
        state = self.watch.savable_state()
        if state is not None:
            assert all(item.sequence > state.tick.sequence for item in self._queue)
            self._durable.save(state)
            self.watch.saved(state)


def random_ticks(chance: random.Random, count: int) -> list[Tick]:
    """A walk with trades on every other tick, and bursts of prices far from them."""
    price, ticks, far_until = 1000, [], 0
    for sequence in range(1, count + 1):
        price = max(50, price + chance.choice([-9, -4, -1, 0, 0, 1, 4, 9]))
        if chance.random() < 0.02:
            far_until = sequence + chance.randint(1, 12)
        shown = price + (chance.choice([-80, 80]) if sequence < far_until else 0)
        ticks.append(tick(sequence, str(shown), last=str(price) if chance.random() < 0.5 else None))
    return ticks


def random_exit(chance: random.Random, order_id: int, past: list[Tick]) -> Order:
    armed = past[-1]
    side = chance.choice([LONG, SHORT])
    trigger_by = chance.choice([TriggerBy.MARK, TriggerBy.MARK, TriggerBy.EXIT])
    sign = 1 if side is LONG else -1
    is_protected = chance.random() < 0.4
    stop = armed.mark - sign * chance.randint(3, 60)
    take_profit = armed.mark + sign * chance.randint(3, 60)
    levels: dict[str, Any] = chance.choice(
        [
            {"stop_price": stop},
            {"take_profit_price": take_profit},
            {"oco_stop_price": stop, "oco_take_profit_price": take_profit},
            {"trailing_stop_distance": Decimal(chance.randint(3, 60))},
            {"trailing_stop_percentage": Decimal(chance.randint(1, 50)) / 10},
            {"trailing_stop_distance": Decimal(chance.randint(3, 60)), "activation_price": take_profit},
            {"trailing_stop_percentage": Decimal(chance.randint(1, 50)) / 10, "activation_price": take_profit},
        ]
    )
    if is_protected:
        levels |= {"price_protect": True, "armed_price": series_price(past, trigger_by, side, PROTECT_LIMIT)}
    return exit_order(order_id, armed, side, trigger_by=trigger_by, **levels)


def oracle_believes(ticks: list[Tick]) -> set[int]:
    """The sequences of the ticks that a guarded exit sees, by looking back from each."""
    seen = set()
    since: Tick | None = None
    for index, each in enumerate(ticks):
        told = next((one for one in reversed(ticks[: index + 1]) if one.last is not None), None)
        is_far = (
            told is not None
            and each.at - told.at < timedelta(seconds=5)
            and abs(each.mark - (told.last or 0)) * 20 > (told.last or 0)
        )
        since = (since or each) if is_far else None
        if since is None or each.at - since.at >= timedelta(seconds=5):
            seen.add(each.sequence)
    return seen


def expected(orders: list[tuple[Order, TriggerOrder]], ticks: list[Tick]) -> dict[int, Fired]:
    """How each exit, by its terms as it was armed, fires by the slow oracle: alone and never interrupted."""
    outcomes = {}
    seen = oracle_believes(ticks)
    assert len(seen) < len(ticks)
    for order, terms in orders:
        shown = [t for t in ticks if t.sequence in seen] if order.price_protect else ticks
        prices = [(t.sequence, p) for t in shown if (p := t.price_by(order.trigger_by, terms.side)) is not None]
        outcome = oracle_order(terms, prices)
        if isinstance(outcome, Fired):
            outcomes[order.id] = outcome
    return outcomes


def as_fired(crossed: Crossed) -> Fired:
    crossing = crossed.crossing
    return Fired(crossing.sequence, crossing.price, crossing.leg, crossing.stop_price, crossing.watermark)


@pytest.mark.parametrize("kills", [0, 1, 6])
@pytest.mark.parametrize("seed", range(12))
def test_a_killed_engine_that_plays_on_fires_exactly_what_an_uninterrupted_one_does(seed: int, kills: int) -> None:
    chance = random.Random(seed)
    ticks = random_ticks(chance, 500)
    arrivals: dict[int, list[Order]] = {}
    for order_id in range(1, 121):
        sequence = chance.randint(1, 450)
        arrivals.setdefault(sequence, []).append(random_exit(chance, order_id, ticks[:sequence]))
    terms = [(order, watched_terms(order)) for arrived in arrivals.values() for order in arrived]
    killed_at = sorted(chance.sample(range(20, 500), kills))
    durable = Durable()
    engine = Engine(durable, chance)
    known, position = 0, 0
    while position < len(ticks):
        each = ticks[position]
        engine.on_tick(each)
        if each.sequence > known:
            known = each.sequence
            for order in arrivals.get(known, ()):
                durable.pending[order.id] = durable.orders[order.id] = order
                engine.take_up(order)
        position += 1
        if killed_at and known >= killed_at[0]:
            killed_at.pop(0)
            # Its queue is lost; the feed gives the ticks kept before the checkpoint again, then plays on.
            engine = Engine(durable, chance)
            position = max(0, durable.sequence - KEPT + 1)
    engine.finish()

    assert {order_id: as_fired(crossed) for order_id, crossed in durable.committed.items()} == expected(terms, ticks)
    assert not killed_at
