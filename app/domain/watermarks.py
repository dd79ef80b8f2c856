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

from app.domain.triggers import TriggerOrder, distance_below, percentage_below

INFINITY = Decimal("Infinity")
_SPARE = 64


class Resting:
    """One order in a book. Heaps forget it lazily, once `live` is false."""

    __slots__ = ("live", "order_id", "side", "version")

    def __init__(self, order: TriggerOrder) -> None:
        self.live = True
        self.order_id = order.order_id
        self.version = order.version
        self.side = order.side

    def __lt__(self, other: Self) -> bool:
        """Ties at a level need no order: crossings are sorted when all are known."""
        return False


class TrailingOrder(Resting):
    """A trailing stop; `offset` is its distance or percentage, `group` None until it is activated."""

    __slots__ = ("by_percentage", "group", "offset")

    def __init__(self, order: TriggerOrder, offset: Decimal) -> None:
        super().__init__(order)
        self.by_percentage = order.trailing_distance is None
        self.offset = offset
        self.group: WatermarkGroup | None = None


class WatermarkGroup:
    """Trailing stops with one watermark: `extreme`, the best price from `from_sequence` to the next group.

    The tightest of them is the one with the smallest offset, whatever the extreme, so two heaps of offsets serve
    for life. `queued` is the reach under which the group stands in the queue of next stops.
    """

    __slots__ = ("distances", "extreme", "from_sequence", "members", "percentages", "queued")

    def __init__(self, from_sequence: int, extreme: Decimal) -> None:
        self.from_sequence = from_sequence
        self.extreme = extreme
        self.members = 0
        self.queued: Decimal | None = None
        self.distances: list[tuple[Decimal, TrailingOrder]] = []
        self.percentages: list[tuple[Decimal, TrailingOrder]] = []

    def __lt__(self, other: Self) -> bool:
        """Ties in the queue need no order: every group that is reached is judged."""
        return False

    def add(self, order: TrailingOrder) -> None:
        """Let an order share this watermark."""
        order.group = self
        self.members += 1
        heappush(self.percentages if order.by_percentage else self.distances, (order.offset, order))

    def absorb(self, other: Self) -> None:
        """Take over the orders of a smaller group; an order moves at most log2(n) times in its life."""
        for _, order in (*other.distances, *other.percentages):
            if order.live:
                self.add(order)

    def reach_of(self, order: TrailingOrder) -> Decimal:
        """The reach at which one of its orders fires: its exact stop, negated."""
        below = percentage_below if order.by_percentage else distance_below
        return below(self.extreme, order.offset).copy_negate()

    def next_reach(self) -> Decimal:
        """The reach of its tightest order, Infinity where it has none."""
        reach = INFINITY
        for heap in (self.distances, self.percentages):
            while heap and not heap[0][1].live:
                heappop(heap)
            if heap:
                reach = min(reach, self.reach_of(heap[0][1]))
        return reach

    def pop_reached(self, reach: Decimal) -> list["TrailingCrossing"]:
        """Take out the orders that fire at a reach."""
        crossings: list[TrailingCrossing] = []
        for heap in (self.distances, self.percentages):
            while heap:
                order = heap[0][1]
                if order.live:
                    own = self.reach_of(order)
                    if own > reach:
                        break
                    order.live = False
                    self.members -= 1
                    crossings.append(TrailingCrossing(order, own, self.extreme))
                heappop(heap)
        return crossings

    def sweep(self) -> None:
        """Forget the orders that have left."""
        for heap in (self.distances, self.percentages):
            heap[:] = [entry for entry in heap if entry[1].live]
            heapify(heap)


class TrailingCrossing(NamedTuple):
    """A trailing stop that was reached: the reach of its final exact stop, and its watermark."""

    order: TrailingOrder
    reach: Decimal
    extreme: Decimal


class Watermarks:
    """The groups of one side, oldest first: `from_sequence` ascends, extremes strictly descend.

    An order's watermark is the extreme of the first group whose `from_sequence` is not before its armed sequence.
    That is what is persisted: rows (from_sequence, extreme), a cost per pair and not per order. A group that is no
    better than a later one is merged into it; one whose last order leaves is dropped.
    """

    __slots__ = ("_changed", "_groups", "_queue", "_starts", "_stored")

    def __init__(self, rows: list[tuple[int, Decimal]]) -> None:
        self._groups = [WatermarkGroup(start, extreme) for start, extreme in sorted(rows)]
        self._starts = [group.from_sequence for group in self._groups]
        # Reaches of all groups but the newest, whose own moves with every new extreme.
        self._queue: list[tuple[Decimal, WatermarkGroup]] = []
        self._stored = set(self._starts)
        self._changed: set[int] = set()

    @property
    def newest_extreme(self) -> Decimal:
        """Only a price above it moves a watermark; Infinity where nothing trails."""
        return self._groups[-1].extreme if self._groups else INFINITY

    def add(self, order: TrailingOrder, armed_sequence: int, start: Decimal) -> None:
        """Let an order trail from `start`, or from its group's extreme where that is better."""
        index = bisect_left(self._starts, armed_sequence)
        if index == len(self._groups) or self._groups[index].extreme < start:
            index = self._cut(index, armed_sequence, start)
        group = self._groups[index]
        group.add(order)
        if index < len(self._groups) - 1:
            self._enqueue(group)

    def remove(self, order: TrailingOrder) -> None:
        """An order left by other ways than its stop."""
        group = order.group
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
        return min(oldest, self._groups[-1].next_reach()) if self._groups else INFINITY

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
            elif start in self._stored:
                deletes.append(start)
                self._stored.remove(start)
        self._changed.clear()
        return upserts, deletes

    def sweep(self) -> None:
        """Forget the orders that have left."""
        for group in self._groups:
            group.sweep()

    def _cut(self, index: int, start: int, extreme: Decimal) -> int:
        """Make the row (start, extreme) before the row at `index`; returns where it stands."""
        groups = self._groups
        if index < len(groups) and self._starts[index] == start:
            groups[index].extreme = extreme
        elif index and groups[index - 1].extreme <= extreme:
            index -= 1
            self._changed.add(self._starts[index])
            self._starts[index] = groups[index].from_sequence = start
            groups[index].extreme = extreme
        else:
            if index and index == len(groups):
                self._enqueue(groups[-1])
            groups.insert(index, WatermarkGroup(start, extreme))
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
            group.queued = None
            if group is not survivor:
                survivor.absorb(group)
        self._changed.update(starts[first:index])
        groups[first : index + 1] = [survivor]
        del starts[first:index]
        return first

    def _fire(self, group: WatermarkGroup, reach: Decimal) -> list[TrailingCrossing]:
        crossings = group.pop_reached(reach)
        if crossings:
            self._drop_if_empty(group)
        return crossings

    def _drop_if_empty(self, group: WatermarkGroup) -> None:
        if group.members:
            return
        index = bisect_left(self._starts, group.from_sequence)
        del self._groups[index], self._starts[index]
        group.queued = None
        self._changed.add(group.from_sequence)

    def _enqueue(self, group: WatermarkGroup) -> None:
        reach = group.next_reach()
        if reach in (INFINITY, group.queued):
            return
        group.queued = reach
        heappush(self._queue, (reach, group))
        if len(self._queue) > 2 * len(self._groups) + _SPARE:
            self._queue[:] = [(other.queued, other) for other in self._groups if other.queued is not None]
            heapify(self._queue)
