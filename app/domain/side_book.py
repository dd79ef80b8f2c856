"""The exits of one position side: heaps of fixed levels, and the trailing stops. Shorts are longs seen in a mirror."""

from collections.abc import Iterable
from decimal import Decimal
from heapq import heapify, heappop, heappush

from app.domain.enums import PositionSide, TriggeredLeg
from app.domain.triggers import Activated, Crossing, Tick, TriggerOrder
from app.domain.watermarks import INFINITY, Resting, TrailingOrder, Watermarks

_SPARE = 64


class SideBook:
    """Orders of one side. A price is `seen` as by a long (negated for shorts); its reach is `seen` negated.

    Stops lie under their reach, take-profits and activations under their seen price, so that each heap fires what is
    not above the tick. `_left` counts orders gone since the last sweep: garbage never outweighs what rests.
    `activated` gathers the trailing stops that began, until the book takes them.
    """

    __slots__ = (
        "_activations",
        "_is_long",
        "_left",
        "_resting",
        "_stops",
        "_take_profits",
        "activated",
        "watermarks",
    )

    def __init__(self, side: PositionSide, rows: Iterable[tuple[int, Decimal]]) -> None:
        self._is_long = side is PositionSide.LONG
        self._stops: list[tuple[Decimal, Resting]] = []
        self._take_profits: list[tuple[Decimal, Resting]] = []
        self._activations: list[tuple[Decimal, TrailingOrder]] = []
        self._resting = 0
        self._left = 0
        self.activated: list[Activated] = []
        self.watermarks = Watermarks([(start, self._seen(extreme)) for start, extreme in rows])

    def rest(self, order: TriggerOrder, armed_sequence: int, watermark: Decimal | None) -> Resting:
        """Let an order wait here, as it stands after the ticks it was played."""
        self._resting += 1
        offset = order.trailing_offset
        if offset is not None:
            trailing = TrailingOrder(order, offset)
            if watermark is not None:
                self.watermarks.add(trailing, armed_sequence, self._seen(watermark))
            elif order.activation_price is not None:
                heappush(self._activations, (self._seen(order.activation_price), trailing))
            return trailing
        resting = Resting(order)
        if order.stop_price is not None:
            heappush(self._stops, (self._reach(order.stop_price), resting))
        if order.take_profit_price is not None:
            heappush(self._take_profits, (self._seen(order.take_profit_price), resting))
        return resting

    def remove(self, resting: Resting) -> None:
        """Take out an order that did not fire."""
        resting.live = False
        if isinstance(resting, TrailingOrder):
            self.watermarks.remove(resting)
        self._count_left(1)

    def judge(self, tick: Tick) -> list[Crossing]:
        """Move the watermarks, take out what the tick fires, start the trailing stops it activates."""
        price = tick[1]
        seen, reach = self._seen(price), self._reach(price)
        self.watermarks.move(seen)
        crossings = [
            _crossing(resting, tick, TriggeredLeg.STOP, self._reach(level), None)
            for level, resting in _pop_reached(self._stops, reach)
        ]
        crossings += [
            _crossing(order, tick, TriggeredLeg.TRAILING, self._reach(level), self._seen(extreme))
            for order, level, extreme in self.watermarks.pop_reached(reach)
        ]
        crossings += [
            _crossing(resting, tick, TriggeredLeg.TAKE_PROFIT, None, None)
            for _, resting in _pop_reached(self._take_profits, seen)
        ]
        if crossings:
            self._count_left(len(crossings))
        self._activate(tick, seen)
        return crossings

    def quiet_range(self) -> tuple[Decimal, Decimal]:
        """A price strictly between the two fires, moves and activates nothing."""
        lower = min(_top(self._stops), self.watermarks.next_reach())
        upper = min(_top(self._take_profits), _top(self._activations), self.watermarks.newest_extreme)
        return (lower.copy_negate(), upper) if self._is_long else (upper.copy_negate(), lower)

    def watermark_of(self, order: TrailingOrder) -> Decimal | None:
        """The best price since a trailing stop was armed, None before its activation."""
        return None if order.group is None else self._seen(order.group.extreme)

    def stop_of(self, order: TrailingOrder) -> Decimal | None:
        """The exact stop of a trailing order as of the last tick, None before its activation."""
        return None if order.group is None else self._reach(order.group.reach_of(order))

    def rows(self) -> list[tuple[int, Decimal]]:
        """Every watermark row (from_sequence, extreme), ascending."""
        return [(start, self._seen(extreme)) for start, extreme in self.watermarks.rows()]

    def take_changes(self) -> tuple[list[tuple[int, Decimal]], list[int]]:
        """Watermark rows to write, and from_sequences to delete, since the last call."""
        upserts, deletes = self.watermarks.take_changes()
        return [(start, self._seen(extreme)) for start, extreme in upserts], deletes

    def take_activated(self) -> list[Activated]:
        """The trailing stops that began since the last call."""
        activated, self.activated = self.activated, []
        return activated

    def _seen(self, price: Decimal) -> Decimal:
        return price if self._is_long else price.copy_negate()

    def _reach(self, price: Decimal) -> Decimal:
        return price.copy_negate() if self._is_long else price

    def _activate(self, tick: Tick, seen: Decimal) -> None:
        for _, order in _pop_reached(self._activations, seen):
            self.watermarks.add(order, tick[0], seen)
            self.activated.append(Activated(order.order_id, order.version, *tick))

    def _count_left(self, count: int) -> None:
        self._resting -= count
        self._left += count
        if self._left > self._resting + _SPARE:
            self._left = 0
            self.watermarks.sweep()
            _sweep(self._stops)
            _sweep(self._take_profits)
            _sweep(self._activations)


def _top[Order: Resting](heap: list[tuple[Decimal, Order]]) -> Decimal:
    """The level that is reached next, Infinity where there is none."""
    while heap and not heap[0][1].live:
        heappop(heap)
    return heap[0][0] if heap else INFINITY


def _pop_reached[Order: Resting](heap: list[tuple[Decimal, Order]], reached: Decimal) -> list[tuple[Decimal, Order]]:
    popped: list[tuple[Decimal, Order]] = []
    while heap and heap[0][0] <= reached:
        entry = heappop(heap)
        if entry[1].live:
            popped.append(entry)
    return popped


def _sweep[Order: Resting](heap: list[tuple[Decimal, Order]]) -> None:
    heap[:] = [entry for entry in heap if entry[1].live]
    heapify(heap)


def _crossing(
    order: Resting, tick: Tick, leg: TriggeredLeg, stop: Decimal | None, watermark: Decimal | None
) -> Crossing:
    order.live = False
    return Crossing(order.order_id, order.version, *tick, leg, stop, watermark)
