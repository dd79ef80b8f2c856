"""The paper venue's matching of one pair: what a tick liquidates, and which resting orders it fills."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter

from app.domain.enums import OrderSide, PositionSide
from app.domain.prices import Tick
from app.domain.trigger_book import TriggerBook
from app.domain.triggers import Crossing, TriggerOrder
from app.models.paper import PaperOrder, PaperPosition
from app.services.providers.paper.mapping import known


class MatchKind(StrEnum):
    """What a tick can do by itself."""

    LIQUIDATION = "liquidation"
    LIMIT_FILL = "limit_fill"


@dataclass(frozen=True, slots=True)
class PaperMatch:
    """A position (`row_id`) that a tick liquidated, or a resting order that it filled, with the quote of that tick."""

    kind: MatchKind
    row_id: int
    pair_id: int
    sequence: int
    bid: Decimal
    ask: Decimal
    mark: Decimal

    def quote_for(self, side: OrderSide) -> Decimal:
        """What a market order on `side` paid at the tick."""
        return self.ask if side is OrderSide.BUY else self.bid


class _Book:
    """Levels on one series of prices; a buy limit waits for it to fall, as the stop of a long does."""

    def __init__(self, kind: MatchKind, price_of: Callable[[Tick], Decimal]) -> None:
        self.kind = kind
        self.price_of = price_of
        self.levels = TriggerBook(0)

    def on_tick(self, tick: Tick) -> Sequence[Crossing]:
        return self.levels.on_price(tick.sequence, self.price_of(tick))

    def add(self, order: TriggerOrder, kept: Sequence[Tick]) -> PaperMatch | None:
        crossing = self.levels.add(order, [(tick.sequence, self.price_of(tick)) for tick in kept])
        if crossing is None:
            return None
        tick = kept[bisect_left(kept, crossing.sequence, key=attrgetter("sequence"))]
        return _match(self.kind, crossing, tick)


class PairBooks:
    """Every open position and resting order of one pair, each judged by the ticks after its own armed one.

    Two with the same rows and the same ticks make the same matches, whenever the rows were added: one that is late is
    played the kept ticks first. What is matched has left the books; `matched` tells it until it is forgotten.
    """

    def __init__(self) -> None:
        self._liquidations = _Book(MatchKind.LIQUIDATION, attrgetter("mark"))
        self._buys = _Book(MatchKind.LIMIT_FILL, attrgetter("ask"))
        self._sells = _Book(MatchKind.LIMIT_FILL, attrgetter("bid"))
        self._matched: dict[tuple[MatchKind, int], PaperMatch] = {}

    def on_tick(self, tick: Tick) -> Sequence[PaperMatch]:
        """Judge a tick: liquidations first, then the resting orders it fills, each by ascending id."""
        liquidations = self._liquidations.on_tick(tick)
        buys = self._buys.on_tick(tick)
        sells = self._sells.on_tick(tick)
        if not (liquidations or buys or sells):
            return ()
        matches = [_match(MatchKind.LIQUIDATION, crossing, tick) for crossing in liquidations]
        filled = sorted((*buys, *sells), key=attrgetter("order_id"))
        matches += [_match(MatchKind.LIMIT_FILL, crossing, tick) for crossing in filled]
        return [self._remember(match) for match in matches]

    def __contains__(self, row: PaperPosition | PaperOrder) -> bool:
        kind = _kind(row)
        return (kind, row.id) in self._matched or any(row.id in book.levels for book in self._books_of(kind))

    def add(self, row: PaperPosition | PaperOrder, kept: Sequence[Tick]) -> PaperMatch | None:
        """Watch a row; what the ticks after its armed one did to it already, if anything."""
        if isinstance(row, PaperOrder):
            match = (self._buys if row.side is OrderSide.BUY else self._sells).add(_limit(row), kept)
        else:
            # No price liquidates a long whose liquidation price is 0.
            match = self._liquidations.add(_liquidation(row), kept) if row.liquidation_price else None
        return None if match is None else self._remember(match)

    def matched(self, kind: MatchKind, row_id: int) -> PaperMatch | None:
        """The match of a row that is not known to be booked."""
        return self._matched.get((kind, row_id))

    def forget(self, kind: MatchKind, row_id: int) -> None:
        """Stop watching a row, and remembering its match."""
        self._matched.pop((kind, row_id), None)
        for book in self._books_of(kind):
            book.levels.cancel(row_id)

    def _books_of(self, kind: MatchKind) -> Sequence[_Book]:
        return (self._liquidations,) if kind is MatchKind.LIQUIDATION else (self._buys, self._sells)

    def _remember(self, match: PaperMatch) -> PaperMatch:
        self._matched[match.kind, match.row_id] = match
        return match


def _kind(row: PaperPosition | PaperOrder) -> MatchKind:
    return MatchKind.LIMIT_FILL if isinstance(row, PaperOrder) else MatchKind.LIQUIDATION


def _limit(order: PaperOrder) -> TriggerOrder:
    """A resting order as its book watches it."""
    limit = known(order.limit_price)
    return TriggerOrder(
        order_id=order.id,
        version=0,
        side=PositionSide.LONG if order.side is OrderSide.BUY else PositionSide.SHORT,
        armed_sequence=order.armed_sequence,
        armed_price=limit,
        stop_price=limit,
    )


def _liquidation(position: PaperPosition) -> TriggerOrder:
    """A position as its book watches it."""
    return TriggerOrder(
        order_id=position.id,
        version=position.version,
        side=position.side,
        armed_sequence=position.armed_sequence,
        armed_price=position.armed_price,
        stop_price=position.liquidation_price,
    )


def _match(kind: MatchKind, crossing: Crossing, tick: Tick) -> PaperMatch:
    return PaperMatch(kind, crossing.order_id, tick.pair_id, tick.sequence, tick.bid, tick.ask, tick.mark)
