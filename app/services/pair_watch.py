"""What the order engine holds of one pair: its trigger books, and the state that may be made durable."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from loguru import logger

from app.domain.enums import PositionSide, TriggerBy
from app.domain.prices import PROTECT_LIMIT, UNGUARDED, Tick, judged_by_guard
from app.domain.trading_state import watched_on, watched_through
from app.domain.trigger_book import TriggerBook, Watermark
from app.domain.triggers import Activated, Crossing, TriggerOrder
from app.models.market import WatermarkRow
from app.models.trading import Order
from app.repositories.engine_state_repository import EngineState, WatermarkKey
from app.services.claim_service import Crossed
from app.services.live_stops import watched_terms
from app.services.providers.base import Match

# Ticks that the guard holds back are few: so many are remembered, for exits that are heard of late.
MOST_HELD_BACK = 50_000


@dataclass(frozen=True, slots=True)
class Series:
    """One price series that exits watch; `side` is told only where the two sides watch different prices."""

    trigger_by: TriggerBy
    side: PositionSide | None
    price_protect: bool = False


class Unsettled:
    """Something a tick did that is not yet committed nor latched: it holds back the checkpoint."""

    __slots__ = ("sequence", "subject", "watch")

    def __init__(self, watch: "PairWatch", sequence: int, subject: Crossed | Match) -> None:
        self.watch = watch
        self.sequence = sequence
        self.subject = subject


class PairWatch:
    """The trigger books of one pair, from a checkpoint on.

    Orders that are read before the first tick wait for it, so that those armed shortly before the checkpoint can be
    played the ticks that the feed gives again. The price guard follows every tick, also those given again, so that
    it stands where it stood: nothing it knows counts for longer than some seconds. `protect_limit` is the pair's.
    """

    def __init__(
        self, pair_id: int, sequence: int, rows: Iterable[WatermarkRow], protect_limit: Decimal = PROTECT_LIMIT
    ) -> None:
        self.pair_id = pair_id
        self.unsettled: set[Unsettled] = set()
        self._start = sequence
        self._judged = sequence
        self._rows = list(rows)
        self._books: dict[Series, TriggerBook] = {}
        self._series_of: dict[int, Series] = {}
        self._versions: dict[int, int] = {}
        self._unarmed: dict[int, Order] | None = {}
        self._held: dict[int, TriggerOrder] = {}
        self._protect_limit = protect_limit
        self._guard = UNGUARDED
        self._held_back: deque[int] = deque(maxlen=MOST_HELD_BACK)
        self._tick: Tick | None = None
        self._saved = sequence
        self._candidate: EngineState | None = None

    @property
    def is_unarmed(self) -> bool:
        """Whether its orders still wait for the first tick."""
        return self._unarmed is not None

    def is_armed_by(self, tick: Tick) -> bool:
        """Whether a tick is the first from the checkpoint on, which arms its orders: it alone needs the kept ones."""
        return self._unarmed is not None and tick.sequence >= self._start

    def on_tick(self, tick: Tick, kept: Sequence[Tick]) -> list[Crossed]:
        """Judge one tick; what it fired. Ticks up to the checkpoint are only taken as given again."""
        if tick.sequence < self._start:
            return []
        late = self._arm(kept, tick) if self.is_armed_by(tick) else []
        if tick.sequence <= self._judged:
            return late
        self._judged = tick.sequence
        self._tick = tick
        is_believed = self._ask_guard(tick)
        crossings: list[Crossing] = []
        for series, book in self._books.items():
            price = _price(tick, series)
            if price is not None and (is_believed or not series.price_protect):
                crossings += book.on_price(tick.sequence, price)
        fired = [crossing for crossing in crossings if not self._put_back(crossing)]
        for crossing in fired:
            self._drop(crossing.order_id)
        return late + [Crossed(crossing, tick.at, tick.source) for crossing in fired]

    def watch(self, order: Order, kept: Sequence[Tick]) -> list[Crossed]:
        """Watch an exit, or its newer version; what the kept ticks after it was armed already fired."""
        if self._unarmed is not None:
            self._unarmed[order.id] = order
            return []
        try:
            return self._watch(order, kept)
        except (LookupError, ValueError) as error:
            logger.opt(exception=error).error("Exit {order} cannot be watched; others are", order=order.id)
            return []

    def _watch(self, order: Order, kept: Sequence[Tick]) -> list[Crossed]:
        terms = watched_terms(order)
        series = _series(order, terms.side)
        if self._series_of.get(order.id, series) != series:
            self.forget(order.id)
        # An empty book is falsy.
        book = self._books[series] if series in self._books else self._open_book(series)
        priced = self._shown(kept, series, terms.watched_after)
        if order.held_since is not None:
            judged = [tick for tick in priced if tick[0] <= self._judged]
            terms = self._held[order.id] = watched_through(terms, judged)
            book.add(terms)
            self._series_of[order.id] = series
            self._versions[order.id] = order.version
            return []
        self._held.pop(order.id, None)
        crossing = book.add(terms, priced)
        if crossing is None:
            self._series_of[order.id] = series
            self._versions[order.id] = order.version
            return []
        fired_at = next(tick for tick in kept if tick.sequence == crossing.sequence)
        return [Crossed(crossing, fired_at.at, fired_at.source)]

    def forget(self, order_id: int) -> None:
        """Stop watching an exit."""
        if self._unarmed is not None:
            self._unarmed.pop(order_id, None)
        series = self._drop(order_id)
        if series is not None:
            self._books[series].cancel(order_id)

    def knows(self, order: Order) -> bool:
        """Whether an exit is watched as its row stands."""
        is_held = order.id in self._held
        return self._versions.get(order.id) == order.version and is_held is (order.held_since is not None)

    def savable_state(self) -> EngineState | None:
        """The state to write now: as of a tick that nothing unsettled stands before. None when there is none."""
        if self._candidate is None:
            self._candidate = self._take_state()
        state = self._candidate
        if state is None or any(item.sequence <= state.tick.sequence for item in self.unsettled):
            return None
        return state

    def saved(self, state: EngineState) -> None:
        """Note that a state is durable."""
        if self._candidate is state:
            self._candidate = None
            self._saved = state.tick.sequence

    def __len__(self) -> int:
        return len(self._series_of) + len(self._unarmed or ())

    def _put_back(self, crossing: Crossing) -> bool:
        """Watch an exit on that fired while it is held: it ratchets, and fires once it is released."""
        terms = self._held.get(crossing.order_id)
        if terms is None:
            return False
        terms = self._held[crossing.order_id] = watched_on(terms, crossing)
        self._books[self._series_of[crossing.order_id]].add(terms)
        return True

    def _drop(self, order_id: int) -> Series | None:
        self._held.pop(order_id, None)
        self._versions.pop(order_id, None)
        return self._series_of.pop(order_id, None)

    def _ask_guard(self, tick: Tick) -> bool:
        """Whether guarded exits see a tick."""
        self._guard, is_believed = judged_by_guard(self._guard, tick, self._protect_limit)
        if not is_believed:
            self._held_back.append(tick.sequence)
        return is_believed

    def _shown(self, kept: Sequence[Tick], series: Series, after: int) -> list[tuple[int, Decimal]]:
        """The (sequence, price) of the kept ticks that tell a price of a series, and that it sees.

        None where some after the tick named are kept no more: the watermark rows know more than they do.
        """
        if not kept or kept[0].sequence > after:
            return []
        unseen = set(self._held_back) if series.price_protect else ()
        priced = ((tick.sequence, _price(tick, series)) for tick in kept if tick.sequence not in unseen)
        return [(sequence, price) for sequence, price in priced if price is not None]

    def _arm(self, kept: Sequence[Tick], first: Tick) -> list[Crossed]:
        for tick in kept:
            if tick.sequence < first.sequence or tick.sequence <= self._judged:
                self._ask_guard(tick)
        waiting, self._unarmed = self._unarmed or {}, None
        fired = [crossed for order in waiting.values() for crossed in self.watch(order, kept)]
        return sorted(fired, key=lambda crossed: crossed.by_tick)

    def _open_book(self, series: Series) -> TriggerBook:
        rows = [
            Watermark(row.side, row.from_sequence, row.extreme)
            for row in self._rows
            if row.trigger_by is series.trigger_by
            and row.price_protect is series.price_protect
            and series.side in (None, row.side)
        ]
        book = self._books[series] = TriggerBook(self._judged, rows)
        return book

    def _take_state(self) -> EngineState | None:
        """What there is to write: as of a tick not written yet, or of what an exit that came after it changed."""
        tick = self._tick
        if tick is None:
            return None
        upserts: dict[WatermarkKey, Decimal] = {}
        deletes: list[WatermarkKey] = []
        activated: list[Activated] = []
        for series, book in self._books.items():
            changes = book.take_changes()
            for row in changes.upserts:
                upserts[_key(series, row.side, row.from_sequence)] = row.extreme
            deletes += [_key(series, side, sequence) for side, sequence in changes.deletes]
            activated += changes.activated
        if tick.sequence == self._saved and not (upserts or deletes or activated):
            return None
        return EngineState(tick, upserts, [key for key in deletes if key not in upserts], activated)


def _key(series: Series, side: PositionSide, from_sequence: int) -> WatermarkKey:
    return WatermarkKey(series.trigger_by, series.price_protect, side, from_sequence)


def _price(tick: Tick, series: Series) -> Decimal | None:
    return tick.price_by(series.trigger_by, series.side or PositionSide.LONG)


def _series(order: Order, side: PositionSide) -> Series:
    return Series(order.trigger_by, side if order.trigger_by is TriggerBy.EXIT else None, order.price_protect)
