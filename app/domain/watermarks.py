"""Trailing stops of one side of a book: groups that share a watermark, so a tick costs the same however many trail.

Everything here is in the coordinates of a long: prices rise in its favour, stops lie below. The book negates prices
for shorts, which mirrors the whole. A reach is a negated price: a stop fires once the reach of a tick is at least
its own, so the smallest reach is the next to fire.
"""

from bisect import bisect_left
from decimal import Decimal
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import NamedTuple, Self

from app.domain.resting import INFINITY, Heap, Orders, TrailingState, is_live, sweep, top
from app.domain.triggers import level_below

_SPARE = 64


class TrailingCrossing(NamedTuple):
    """A trailing stop that was reached: the reach of its final exact stop, and its watermark."""

    order_id: int
    reach: Decimal
    extreme: Decimal


class WatermarkGroup:
    """Trailing stops with one watermark: `extreme`, the best price from `from_sequence` to the next group.

    The tightest of them is the one with the smallest offset, whatever the extreme, so two heaps of offsets serve
    for life. `number` is how an order names its group, `queued` the reach under which the group stands in the queue
    of next stops.
    """

    __slots__ = ("distances", "extreme", "from_sequence", "members", "number", "percentages", "queued")

    def __init__(self, number: int, from_sequence: int, extreme: Decimal) -> None:
        self.number = number
        self.from_sequence = from_sequence
        self.extreme = extreme
        self.members = 0
        self.queued: Decimal | None = None
        self.distances: Heap = []
        self.percentages: Heap = []

    def __lt__(self, other: Self) -> bool:
        """Ties in the queue need no order: every group that is reached is judged."""
        return False

    def add(self, order_id: int, state: TrailingState, orders: Orders) -> None:
        """Let an order share this watermark."""
        generation, version, side, offset, by_percentage, _ = state
        orders[order_id] = generation, version, side, offset, by_percentage, self.number
        self.members += 1
        heappush(self.percentages if by_percentage else self.distances, (offset, order_id, generation))

    def absorb(self, other: Self, orders: Orders) -> None:
        """Take over the orders of a smaller group; an order moves at most log2(n) times in its life."""
        for entry in (*other.distances, *other.percentages):
            state = orders.get(entry[1])
            if state is not None and state[0] == entry[2] and len(state) == 6:
                self.add(entry[1], state, orders)
        other.queued = None

    def reach_of(self, offset: Decimal, by_percentage: bool) -> Decimal:
        """The reach at which an order with this offset fires: its exact stop, negated."""
        return level_below(self.extreme, offset, by_percentage).copy_negate()

    def next_reach(self, orders: Orders) -> Decimal:
        """The reach of its tightest order, Infinity where it has none."""
        reach = INFINITY
        for heap, by_percentage in ((self.distances, False), (self.percentages, True)):
            if heap:
                offset = top(heap, orders)
                if heap:
                    reach = min(reach, self.reach_of(offset, by_percentage))
        return reach

    def pop_reached(self, reach: Decimal, orders: Orders) -> list[TrailingCrossing]:
        """Take out the orders that fire at a reach."""
        crossings: list[TrailingCrossing] = []
        for heap, by_percentage in ((self.distances, False), (self.percentages, True)):
            while heap:
                own = self.reach_of(heap[0][0], by_percentage)
                if own > reach:
                    break
                entry = heappop(heap)
                if is_live(orders, entry):
                    self.members -= 1
                    crossings.append(TrailingCrossing(entry[1], own, self.extreme))
        return crossings

    def sweep(self, orders: Orders) -> None:
        """Forget the orders that have left."""
        sweep(self.distances, orders)
        sweep(self.percentages, orders)


class Watermarks:
    """The groups of one side, oldest first: `from_sequence` ascends, extremes strictly descend.

    An order's watermark is the extreme of the first group whose `from_sequence` is not before its armed sequence.
    That is what is persisted: rows (from_sequence, extreme), a cost per pair and not per order. A group that is no
    better than a later one is merged into it; one whose last order leaves is dropped.
    """

    __slots__ = ("_by_number", "_changed", "_groups", "_numbers", "_orders", "_queue", "_starts", "_stored")

    def __init__(self, orders: Orders, rows: list[tuple[int, Decimal]]) -> None:
        self._orders = orders
        self._by_number: dict[int, WatermarkGroup] = {}
        self._numbers = 0
        self._groups = [self._group(start, extreme) for start, extreme in sorted(rows)]
        self._starts = [group.from_sequence for group in self._groups]
        # Reaches of all groups but the newest, whose own moves with every new extreme.
        self._queue: list[tuple[Decimal, WatermarkGroup]] = []
        self._stored = set(self._starts)
        self._changed: set[int] = set()

    @property
    def newest_extreme(self) -> Decimal:
        """Only a price above it moves a watermark; Infinity where nothing trails."""
        return self._groups[-1].extreme if self._groups else INFINITY

    def group_of(self, state: TrailingState) -> WatermarkGroup | None:
        """The group of an order, None before its activation."""
        return None if state[5] is None else self._by_number[state[5]]

    def add(self, order_id: int, state: TrailingState, armed_sequence: int, start: Decimal) -> None:
        """Let an order trail from `start`, or from its group's extreme where that is better."""
        index = bisect_left(self._starts, armed_sequence)
        if index == len(self._groups) or self._groups[index].extreme < start:
            index = self._cut(index, armed_sequence, start)
        group = self._groups[index]
        group.add(order_id, state, self._orders)
        if index < len(self._groups) - 1:
            self._enqueue(group)

    def remove(self, state: TrailingState) -> None:
        """An order left by other ways than its stop."""
        group = self.group_of(state)
        if group is not None:
            group.members -= 1
            self._drop_if_empty(group)

    def move(self, price: Decimal) -> None:
        """Raise every watermark that a price is better than, merging the groups that thereby share one."""
        groups = self._groups
        if groups and groups[-1].extreme < price:
            self._merge_older(len(groups) - 1, price)
            groups[-1].extreme = price
            self._changed.add(groups[-1].from_sequence)

    def pop_reached(self, reach: Decimal) -> list[TrailingCrossing]:
        """Take out the orders that fire at a reach; call `move` with the same tick before."""
        crossings: list[TrailingCrossing] = []
        queue = self._queue
        while queue and queue[0][0] <= reach:
            queued, group = heappop(queue)
            if group.queued is queued:
                group.queued = None
                crossings += self._fire(group, reach)
                if group.members and group is not self._groups[-1]:
                    self._enqueue(group)
        if self._groups:
            crossings += self._fire(self._groups[-1], reach)
        return crossings

    def next_reach(self) -> Decimal:
        """No order fires below this reach; it may say so too early, never too late."""
        queue = self._queue
        while queue and queue[0][1].queued is not queue[0][0]:
            heappop(queue)
        oldest = queue[0][0] if queue else INFINITY
        return min(oldest, self._groups[-1].next_reach(self._orders)) if self._groups else INFINITY

    def rows(self) -> list[tuple[int, Decimal]]:
        """Every (from_sequence, extreme), ascending."""
        return [(group.from_sequence, group.extreme) for group in self._groups]

    def take_changes(self) -> tuple[list[tuple[int, Decimal]], list[int]]:
        """Rows to write and from_sequences to delete since the last call, each ascending."""
        upserts: list[tuple[int, Decimal]] = []
        deletes: list[int] = []
        for start in sorted(self._changed):
            index = bisect_left(self._starts, start)
            if index < len(self._starts) and self._starts[index] == start:
                upserts.append((start, self._groups[index].extreme))
                self._stored.add(start)
            else:
                deletes.append(start)
                self._stored.remove(start)
        self._changed.clear()
        return upserts, deletes

    def sweep(self) -> None:
        """Forget the orders that have left."""
        for group in self._groups:
            group.sweep(self._orders)

    def _group(self, start: int, extreme: Decimal) -> WatermarkGroup:
        self._numbers += 1
        group = self._by_number[self._numbers] = WatermarkGroup(self._numbers, start, extreme)
        return group

    def _cut(self, index: int, start: int, extreme: Decimal) -> int:
        """Make the row (start, extreme) before the row at `index`; returns where it stands."""
        groups = self._groups
        if index < len(groups) and self._starts[index] == start:
            groups[index].extreme = extreme
        elif index and groups[index - 1].extreme <= extreme:
            index -= 1
            self._note_gone(self._starts[index : index + 1])
            self._starts[index] = groups[index].from_sequence = start
            groups[index].extreme = extreme
        else:
            if index and index == len(groups):
                self._enqueue(groups[-1])
            groups.insert(index, self._group(start, extreme))
            self._starts.insert(index, start)
        self._changed.add(start)
        return self._merge_older(index, extreme)

    def _merge_older(self, index: int, extreme: Decimal) -> int:
        """Merge into the row at `index` those before it that are no better; returns where it stands then."""
        groups, starts = self._groups, self._starts
        first = index
        while first and groups[first - 1].extreme <= extreme:
            first -= 1
        if first == index:
            return index
        merged = groups[first : index + 1]
        survivor = max(merged, key=attrgetter("members"))
        survivor.from_sequence, survivor.extreme = starts[index], extreme
        for group in merged:
            if group is not survivor:
                survivor.absorb(group, self._orders)
                del self._by_number[group.number]
        self._note_gone(starts[first:index])
        groups[first : index + 1] = [survivor]
        del starts[first:index]
        return first

    def _fire(self, group: WatermarkGroup, reach: Decimal) -> list[TrailingCrossing]:
        crossings = group.pop_reached(reach, self._orders)
        if crossings:
            self._drop_if_empty(group)
        return crossings

    def _drop_if_empty(self, group: WatermarkGroup) -> None:
        if group.members:
            return
        index = bisect_left(self._starts, group.from_sequence)
        del self._groups[index], self._starts[index], self._by_number[group.number]
        group.queued = None
        self._note_gone([group.from_sequence])

    def _note_gone(self, starts: list[int]) -> None:
        """A row that was never stored needs no deleting."""
        for start in starts:
            if start in self._stored:
                self._changed.add(start)
            else:
                self._changed.discard(start)

    def _enqueue(self, group: WatermarkGroup) -> None:
        reach = group.next_reach(self._orders)
        if reach in (INFINITY, group.queued):
            return
        group.queued = reach
        heappush(self._queue, (reach, group))
        if len(self._queue) > 2 * len(self._groups) + _SPARE:
            self._queue[:] = [(other.queued, other) for other in self._groups if other.queued is not None]
            heapify(self._queue)
