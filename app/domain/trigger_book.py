"""Every exit that waits on one price series; a tick that fires nothing costs the same however many they are."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from heapq import heappop, heappush
from itertools import count, islice
from operator import attrgetter, itemgetter

from app.domain.enums import PositionSide
from app.domain.resting import INFINITY, Orders
from app.domain.side_book import SideBook
from app.domain.triggers import Activated, Crossing, Tick, TriggerOrder, play, trailing_stop

NOTHING: tuple[Crossing, ...] = ()


@dataclass(frozen=True, slots=True)
class Watermark:
    """One durable row: the best price for `side` from `from_sequence` up to the next row's.

    The watermark of an order is that of the first row whose `from_sequence` is not before its `armed_sequence`.
    """

    side: PositionSide
    from_sequence: int
    extreme: Decimal


@dataclass(frozen=True, slots=True)
class WatermarkChanges:
    """What a checkpoint at tick `sequence` has to write since the one before it.

    `activated` orders get a new armed tick on their own rows, in the same transaction. Changes that could not be
    written stay valid: write them before later ones.
    """

    sequence: int
    upserts: tuple[Watermark, ...]
    deletes: tuple[tuple[PositionSide, int], ...]
    activated: tuple[Activated, ...]


class TriggerBook:
    """The exits of one pair and price series, judged up to the tick `sequence`.

    Start it at the pair's last judged tick, or at a checkpoint with its watermark rows; then add the orders, each
    with the `armed_sequence` and `armed_price` it had. An order armed after `sequence` waits for that tick. One
    that crosses leaves the book.

    `armed_price` must be the price of this very series as of `armed_sequence`: others may share the watermark.
    """

    __slots__ = (
        "_ceiling",
        "_floor",
        "_generations",
        "_orders",
        "_played_activations",
        "_sequence",
        "_settled",
        "_sides",
        "_waiting",
        "_waiting_orders",
    )

    def __init__(self, sequence: int, rows: Iterable[Watermark] = ()) -> None:
        self._sequence = sequence
        self._generations = count()
        self._orders: Orders = {}
        known = [(row.side, (row.from_sequence, row.extreme)) for row in rows]
        self._sides = {
            side: SideBook(side, self._orders, [row for of, row in known if of is side]) for side in PositionSide
        }
        self._waiting: list[tuple[int, int, TriggerOrder]] = []
        self._waiting_orders: dict[int, TriggerOrder] = {}
        self._played_activations: list[Activated] = []
        self._settled: Decimal | None = None
        self._disturb()

    @property
    def sequence(self) -> int:
        """The last tick that was judged."""
        return self._sequence

    def __len__(self) -> int:
        return len(self._orders) + len(self._waiting_orders)

    def __contains__(self, order_id: int) -> bool:
        return order_id in self._orders or order_id in self._waiting_orders

    def on_price(self, sequence: int, price: Decimal) -> Sequence[Crossing]:
        """Judge one tick: what it fires, by ascending order id. A tick not after the last one is ignored."""
        if self._floor < price < self._ceiling and sequence > self._sequence:
            self._sequence = sequence
            return NOTHING
        return self._judge(sequence, price)

    def add(self, order: TriggerOrder, kept_ticks: Sequence[Tick] = ()) -> Crossing | None:
        """Let an order wait; one whose id is here already replaces it if its version is newer, else is ignored.

        `kept_ticks` are (sequence, price), ascending; those after the armed tick that this book has judged are
        played first. If the order fires at one of them it does not rest: that crossing is returned.
        """
        order_id, watched_after = order.order_id, order.watched_after
        if order_id in self._orders or order_id in self._waiting_orders:
            if self._version_of(order_id) >= order.version:
                return None
            self.cancel(order_id)
        self._disturb()
        if watched_after > self._sequence:
            self._waiting_orders[order_id] = order
            heappush(self._waiting, (watched_after, next(self._generations), order))
        elif kept_ticks and watched_after < self._sequence:
            return self._add_late(order, kept_ticks)
        else:
            self._sides[order.side].rest(order, next(self._generations))
        return None

    def cancel(self, order_id: int) -> bool:
        """Take an order out; False where it is not here (any more)."""
        state = self._orders.pop(order_id, None)
        if state is None:
            return self._waiting_orders.pop(order_id, None) is not None
        self._sides[state[2]].remove(state)
        return True

    def stop_of(self, order_id: int) -> Decimal | None:
        """The live exact stop of a trailing order; None for others and before activation."""
        state = self._orders.get(order_id)
        if state is not None:
            return self._sides[state[2]].stop_of(state) if len(state) == 6 else None
        waiting = self._waiting_orders.get(order_id)
        if waiting is None or waiting.starting_watermark is None:
            return None
        return trailing_stop(waiting, waiting.starting_watermark)

    def watermark_of(self, order_id: int) -> Decimal | None:
        """The best price since a trailing order was armed; None for others and before activation."""
        state = self._orders.get(order_id)
        if state is not None:
            return self._sides[state[2]].watermark_of(state) if len(state) == 6 else None
        waiting = self._waiting_orders.get(order_id)
        return None if waiting is None else waiting.starting_watermark

    def rows(self) -> list[Watermark]:
        """All watermark rows as of `sequence`."""
        return [Watermark(side, start, extreme) for side, book in self._sides.items() for start, extreme in book.rows()]

    def take_changes(self) -> WatermarkChanges:
        """What became different since the last call (or since the rows this book started with)."""
        upserts: list[Watermark] = []
        deletes: list[tuple[PositionSide, int]] = []
        activated, self._played_activations = self._played_activations, []
        for side, book in self._sides.items():
            changed, gone = book.take_changes()
            upserts += [Watermark(side, start, extreme) for start, extreme in changed]
            deletes += [(side, start) for start in gone]
            activated += book.take_activated()
        return WatermarkChanges(self._sequence, tuple(upserts), tuple(deletes), tuple(activated))

    def _judge(self, sequence: int, price: Decimal) -> Sequence[Crossing]:
        if sequence <= self._sequence:
            return NOTHING
        self._admit_watched_before(sequence)
        self._sequence = sequence
        if price == self._settled:
            return NOTHING
        tick = sequence, price
        crossings = [crossing for side in self._sides.values() for crossing in side.judge(tick)]
        if self._waiting:
            self._admit_watched_before(sequence + 1)
        else:
            self._settle(price)
        return sorted(crossings, key=attrgetter("order_id")) if crossings else NOTHING

    def _settle(self, price: Decimal) -> None:
        """Remember in which range nothing can happen, and that this price again can do nothing either."""
        ranges = [side.quiet_range() for side in self._sides.values()]
        self._floor = max(floor for floor, _ in ranges)
        self._ceiling = min(ceiling for _, ceiling in ranges)
        self._settled = price

    def _disturb(self) -> None:
        """The next tick is judged in full: an empty range is never quiet."""
        self._floor = self._ceiling = INFINITY
        self._settled = None

    def _admit_watched_before(self, sequence: int) -> None:
        while self._waiting and self._waiting[0][0] < sequence:
            order = heappop(self._waiting)[2]
            if self._waiting_orders.get(order.order_id) is order:
                del self._waiting_orders[order.order_id]
                self._sides[order.side].rest(order, next(self._generations))

    def _add_late(self, order: TriggerOrder, kept_ticks: Sequence[Tick]) -> Crossing | None:
        missed = islice(
            kept_ticks,
            bisect_right(kept_ticks, order.watched_after, key=itemgetter(0)),
            bisect_right(kept_ticks, self._sequence, key=itemgetter(0)),
        )
        standing, activated = play(order, missed)
        if activated is not None:
            self._played_activations.append(activated)
        if isinstance(standing, Crossing):
            return standing
        self._sides[order.side].rest(order, next(self._generations), standing)
        return None

    def _version_of(self, order_id: int) -> int:
        state = self._orders.get(order_id)
        return self._waiting_orders[order_id].version if state is None else state[1]
