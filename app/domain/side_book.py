"""The exits of one position side: heaps of fixed levels, and the trailing stops. Shorts are longs seen in a mirror."""

from collections.abc import Iterable
from decimal import Decimal
from heapq import heappush

from app.domain.enums import PositionSide, TriggeredLeg
from app.domain.resting import FixedState, Heap, Orders, TrailingState, pop_reached, sweep, top
from app.domain.triggers import Activated, Crossing, Standing, Tick, TriggerOrder
from app.domain.watermarks import Watermarks

_SPARE = 64


class SideBook:
    """Orders of one side, whose states stand in `orders` together with the other side's.

    A price is `seen` as by a long (negated for shorts); its reach is `seen` negated. Stops lie under their reach,
    take-profits and activations under their seen price, so that each heap fires what is not above the tick. `_left`
    counts orders gone since the last sweep: garbage never outweighs what rests.
    """

    __slots__ = (
        "_activated",
        "_activations",
        "_is_long",
        "_left",
        "_orders",
        "_resting",
        "_side",
        "_stops",
        "_take_profits",
        "_watermarks",
    )

    def __init__(self, side: PositionSide, orders: Orders, rows: Iterable[tuple[int, Decimal]]) -> None:
        self._side = side
        self._is_long = side is PositionSide.LONG
        self._orders = orders
        self._stops: Heap = []
        self._take_profits: Heap = []
        self._activations: Heap = []
        self._resting = 0
        self._left = 0
        self._activated: list[Activated] = []
        self._watermarks = Watermarks(orders, [(start, self._seen(extreme)) for start, extreme in rows])

    def rest(self, order: TriggerOrder, generation: int, standing: Standing | None = None) -> None:
        """Let an order wait here, as it was armed or as it stands after the ticks it was played."""
        self._resting += 1
        offset = order.trailing_offset
        if offset is not None:
            by_percentage = order.trailing_distance is None
            state = (generation, order.version, self._side, offset, by_percentage, None)
            self._rest_trailing(order, state, standing)
            return
        order_id = order.order_id
        self._orders[order_id] = generation, order.version, self._side
        if order.stop_price is not None:
            heappush(self._stops, (self._reach(order.stop_price), order_id, generation))
        if order.take_profit_price is not None:
            heappush(self._take_profits, (self._seen(order.take_profit_price), order_id, generation))

    def remove(self, state: FixedState | TrailingState) -> None:
        """Forget an order that left by other ways than firing."""
        if len(state) == 6:
            self._watermarks.remove(state)
        self._count_left(1)

    def judge(self, tick: Tick) -> list[Crossing]:
        """Move the watermarks, take out what the tick fires, start the trailing stops it activates."""
        price = tick[1]
        seen, reach = self._seen(price), self._reach(price)
        self._watermarks.move(seen)
        crossings = [
            self._crossing(order_id, tick, TriggeredLeg.STOP, self._reach(level), None)
            for level, order_id, _ in pop_reached(self._stops, self._orders, reach)
        ]
        crossings += [
            self._crossing(order_id, tick, TriggeredLeg.TRAILING, self._reach(level), self._seen(extreme))
            for order_id, level, extreme in self._watermarks.pop_reached(reach)
        ]
        crossings += [
            self._crossing(order_id, tick, TriggeredLeg.TAKE_PROFIT, None, None)
            for _, order_id, _ in pop_reached(self._take_profits, self._orders, seen)
        ]
        if crossings:
            self._count_left(len(crossings))
        self._activate(tick, seen)
        return crossings

    def quiet_range(self) -> tuple[Decimal, Decimal]:
        """A price strictly between the two fires, moves and activates nothing."""
        orders = self._orders
        lower = min(top(self._stops, orders), self._watermarks.next_reach())
        upper = min(top(self._take_profits, orders), top(self._activations, orders), self._watermarks.newest_extreme)
        return (lower.copy_negate(), upper) if self._is_long else (upper.copy_negate(), lower)

    def watermark_of(self, state: TrailingState) -> Decimal | None:
        """The best price since a trailing stop was armed, None before its activation."""
        group = self._watermarks.group_of(state)
        return None if group is None else self._seen(group.extreme)

    def stop_of(self, state: TrailingState) -> Decimal | None:
        """The exact stop of a trailing order as of the last tick, None before its activation."""
        group = self._watermarks.group_of(state)
        return None if group is None else self._reach(group.reach_of(state[3], state[4]))

    def rows(self) -> list[tuple[int, Decimal]]:
        """Every watermark row (from_sequence, extreme), ascending."""
        return [(start, self._seen(extreme)) for start, extreme in self._watermarks.rows()]

    def take_changes(self) -> tuple[list[tuple[int, Decimal]], list[int]]:
        """Watermark rows to write, and from_sequences to delete, since the last call."""
        upserts, deletes = self._watermarks.take_changes()
        return [(start, self._seen(extreme)) for start, extreme in upserts], deletes

    def take_activated(self) -> list[Activated]:
        """The trailing stops that began since the last call."""
        activated, self._activated = self._activated, []
        return activated

    def _seen(self, price: Decimal) -> Decimal:
        return price if self._is_long else price.copy_negate()

    def _reach(self, price: Decimal) -> Decimal:
        return price.copy_negate() if self._is_long else price

    def _rest_trailing(self, order: TriggerOrder, state: TrailingState, standing: Standing | None) -> None:
        order_id = order.order_id
        armed_sequence, watermark = order.armed_sequence, order.starting_watermark
        if standing is not None:
            armed_sequence, watermark = standing.armed_sequence, standing.watermark
        if watermark is not None:
            self._watermarks.add(order_id, state, armed_sequence, self._seen(watermark))
        elif order.activation_price is not None:
            self._orders[order_id] = state
            heappush(self._activations, (self._seen(order.activation_price), order_id, state[0]))

    def _crossing(
        self, order_id: int, tick: Tick, leg: TriggeredLeg, stop: Decimal | None, watermark: Decimal | None
    ) -> Crossing:
        version = self._orders.pop(order_id)[1]
        return Crossing(order_id, version, *tick, leg, stop, watermark)

    def _activate(self, tick: Tick, seen: Decimal) -> None:
        for _, order_id, _ in pop_reached(self._activations, self._orders, seen):
            state = self._orders[order_id]
            if len(state) == 6:
                self._watermarks.add(order_id, state, tick[0], seen)
                self._activated.append(Activated(order_id, state[1], *tick))

    def _count_left(self, count: int) -> None:
        self._resting -= count
        self._left += count
        if self._left > self._resting + _SPARE:
            self._left = 0
            self._watermarks.sweep()
            for heap in (self._stops, self._take_profits, self._activations):
                sweep(heap, self._orders)
