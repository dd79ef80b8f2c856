"""What a trigger book remembers of each order, and heaps that forget orders lazily.

States and heap entries are plain tuples of plain values, which the garbage collector stops visiting: a million
resting orders must not stretch its pauses, since ticks are judged between them.
"""

from decimal import Decimal
from heapq import heapify, heappop

from app.domain.enums import PositionSide

INFINITY = Decimal("Infinity")

# Generation, version, side of the position. A generation is one stay in the book: an entry of an earlier stay
# of the same order is garbage.
FixedState = tuple[int, int, PositionSide]
# The same, then offset, whether that is a percentage, and the number of its group (None before activation).
TrailingState = tuple[int, int, PositionSide, Decimal, bool, int | None]
Orders = dict[int, FixedState | TrailingState]

# Level (or offset), order id, generation.
Entry = tuple[Decimal, int, int]
Heap = list[Entry]


def is_live(orders: Orders, entry: Entry) -> bool:
    """Whether the order of an entry still rests as it did when the entry was made."""
    state = orders.get(entry[1])
    return state is not None and state[0] == entry[2]


def top(heap: Heap, orders: Orders) -> Decimal:
    """The level that is reached next, Infinity where there is none."""
    while heap and not is_live(orders, heap[0]):
        heappop(heap)
    return heap[0][0] if heap else INFINITY


def pop_reached(heap: Heap, orders: Orders, reached: Decimal) -> list[Entry]:
    """Take out the live entries whose level is not above `reached`."""
    popped: list[Entry] = []
    while heap and heap[0][0] <= reached:
        entry = heappop(heap)
        if is_live(orders, entry):
            popped.append(entry)
    return popped


def sweep(heap: Heap, orders: Orders) -> None:
    """Forget the orders that have left."""
    heap[:] = [entry for entry in heap if is_live(orders, entry)]
    heapify(heap)
