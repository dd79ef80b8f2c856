"""The paper venue's matching of one pair: what a tick funds and liquidates, and which orders it fills."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter

from app.domain.enums import OrderSide, PaperOrderStatus, PositionSide
from app.domain.prices import Tick
from app.domain.trigger_book import TriggerBook
from app.domain.triggers import Crossing, TriggerOrder
from app.models.paper import PaperOrder, PaperPosition
from app.services.providers.paper.mapping import known
from app.services.providers.paper.matches import MatchKind, PaperMatch

type Row = PaperPosition | PaperOrder
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far an order has filled: `number` is the next fill's, of `parts`; `last_sequence` the last judged tick's."""

    row_id: int
    number: int
    parts: int
    last_sequence: int
    ticks_to_wait: int = 0
    position_id: int | None = None
    account_id: int | None = None

    @property
    def is_over(self) -> bool:
        return self.number >= self.parts


class _Levels:
    """Levels on one series of prices; a buy limit waits for it to fall, as the stop of a long does.

    An order of several parts waits on after each, from the tick that filled it.
    """

    def __init__(self, kind: MatchKind, price_of: Callable[[Tick], Decimal]) -> None:
        self.kind = kind
        self._price_of = price_of
        self._book = TriggerBook(0)
        self._watched: dict[int, tuple[TriggerOrder, _Progress]] = {}

    def __contains__(self, row_id: int) -> bool:
        return row_id in self._watched

    def version_of(self, row_id: int) -> int:
        """The version that is watched; -1 for none."""
        watched = self._watched.get(row_id)
        return -1 if watched is None else watched[0].version

    def on_tick(self, tick: Tick) -> list[PaperMatch]:
        crossings = self._book.on_price(tick.sequence, self._price_of(tick))
        return [self._crossed(crossing, tick) for crossing in crossings]

    def add(self, order: TriggerOrder, progress: _Progress, kept: Sequence[Tick]) -> list[PaperMatch]:
        known_order, known_progress = self._watched.get(order.order_id, (None, None))
        if known_order is not None and known_progress is not None:
            if (known_order.version, known_progress.number) >= (order.version, progress.number):
                return []
            self.drop(order.order_id)
        matches = []
        prices = [(tick.sequence, self._price_of(tick)) for tick in kept]
        self._watched[order.order_id] = order, progress
        crossing = self._book.add(order, prices)
        while crossing is not None:
            tick = kept[bisect_left(kept, crossing.sequence, key=attrgetter("sequence"))]
            matches.append(self._match(crossing, tick))
            crossing = self._wait_on(crossing, prices)
        return matches

    def drop(self, row_id: int) -> None:
        if self._watched.pop(row_id, None) is not None:
            self._book.cancel(row_id)

    def _crossed(self, crossing: Crossing, tick: Tick) -> PaperMatch:
        match = self._match(crossing, tick)
        self._wait_on(crossing, ())
        return match

    def _match(self, crossing: Crossing, tick: Tick) -> PaperMatch:
        _, progress = self._watched[crossing.order_id]
        return _match(self.kind, tick, progress, version=crossing.version)

    def _wait_on(self, crossing: Crossing, prices: Sequence[tuple[int, Decimal]]) -> Crossing | None:
        order, progress = self._watched.pop(crossing.order_id)
        progress = replace(progress, number=progress.number + 1)
        if progress.is_over:
            return None
        order = replace(order, armed_sequence=crossing.sequence)
        self._watched[order.order_id] = order, progress
        return self._book.add(order, prices)


class _Working:
    """Market orders that fill at coming ticks, whatever their price."""

    kind = MatchKind.WORKING_FILL

    def __init__(self) -> None:
        self._orders: dict[int, _Progress] = {}

    def __contains__(self, row_id: int) -> bool:
        return row_id in self._orders

    def on_tick(self, tick: Tick) -> list[PaperMatch]:
        return [match for row_id in list(self._orders) for match in self._play(row_id, tick)]

    def add(self, progress: _Progress, kept: Iterable[Tick]) -> list[PaperMatch]:
        watched = self._orders.get(progress.row_id)
        if watched is not None and watched.number >= progress.number:
            return []
        self._orders[progress.row_id] = progress
        return [match for tick in kept for match in self._play(progress.row_id, tick)]

    def drop(self, row_id: int) -> None:
        self._orders.pop(row_id, None)

    def _play(self, row_id: int, tick: Tick) -> list[PaperMatch]:
        order = self._orders.get(row_id)
        if order is None or tick.sequence <= order.last_sequence:
            return []
        is_due = order.ticks_to_wait <= 1
        waits, number = max(order.ticks_to_wait - 1, 0), order.number + is_due
        after = replace(order, last_sequence=tick.sequence, ticks_to_wait=waits, number=number)
        if after.is_over:
            del self._orders[row_id]
        else:
            self._orders[row_id] = after
        return [_match(self.kind, tick, order)] if is_due else []


def instant_before(at: datetime, interval: timedelta) -> datetime:
    """The last funding instant that is not after `at`; they are counted from midnight UTC."""
    return at - (at - _EPOCH) % interval


class FundingClock:
    """The instants of feed time at which a pair is funded; `funded_at` is the last one that is booked, if any was."""

    def __init__(self, seconds: int, funded_at: datetime | None) -> None:
        self._interval = timedelta(seconds=seconds)
        self._told = funded_at

    def on_tick(self, tick: Tick) -> PaperMatch | None:
        """The match of the instants up to a tick that nobody was told of; the first ever only begins the count."""
        instant = instant_before(tick.at, self._interval)
        if self._told is not None and instant <= self._told:
            return None
        self._told = instant
        quote = tick.bid, tick.ask, tick.mark
        return PaperMatch(MatchKind.FUNDING, 0, tick.pair_id, tick.sequence, *quote, instant=instant, is_stepwise=True)


class PairBooks:
    """Every open position and live order of one pair, each judged by the ticks after its own armed one.

    Two with the same rows and the same ticks make the same matches, whenever the rows were added: one that is late is
    played the kept ticks first. What is matched has left the books; `matched` tells it until it is forgotten.
    """

    def __init__(self, funding: FundingClock | None = None) -> None:
        self.funding = funding
        self._liquidations = _Levels(MatchKind.LIQUIDATION, attrgetter("mark"))
        self._exits = _Levels(MatchKind.EXIT, attrgetter("mark"))
        self._buys = _Levels(MatchKind.LIMIT_FILL, attrgetter("ask"))
        self._sells = _Levels(MatchKind.LIMIT_FILL, attrgetter("bid"))
        self._working = _Working()
        self._matched: dict[tuple[MatchKind, int], dict[int, PaperMatch]] = {}
        self._late: list[PaperMatch] = []

    def on_tick(self, tick: Tick) -> Sequence[PaperMatch]:
        """Judge a tick: funding, liquidations, exits, then the orders it fills, each by ascending id."""
        funding = self.funding.on_tick(tick) if self.funding is not None else None
        liquidations, exits = self._liquidations.on_tick(tick), self._exits.on_tick(tick)
        buys, sells, working = self._buys.on_tick(tick), self._sells.on_tick(tick), self._working.on_tick(tick)
        if not (funding or liquidations or exits or buys or sells or working):
            return ()
        fills = sorted((*buys, *sells, *working), key=attrgetter("row_id"))
        matches = [*([funding] if funding else ()), *liquidations, *exits, *fills]
        return [self._remember(match) for match in matches]

    def __contains__(self, row: Row) -> bool:
        """Whether a row is watched or matched: an order at all, a position as it is or became since."""
        kind = kind_of(row)
        if isinstance(row, PaperPosition):
            matched = [match.version for match in self.matched(kind, row.id)]
            return max([self._liquidations.version_of(row.id), *matched]) >= row.version
        return (kind, row.id) in self._matched or any(row.id in book for book in self._books_of(kind))

    def add(self, row: Row, kept: Sequence[Tick]) -> list[PaperMatch]:
        """Watch a row; what the ticks after its armed one did to it already."""
        matches = [self._remember(match) for match in self._add(row, kept)]
        self._late += matches
        return matches

    def matched(self, kind: MatchKind, row_id: int) -> list[PaperMatch]:
        """The matches of a row that are not known to be booked, in order."""
        return list(self._matched.get((kind, row_id), {}).values())

    def matched_on(self, position_id: int, account_id: int | None = None) -> list[PaperMatch]:
        """Everything not known to be booked that changes a position: its pair's funding, its end, its orders' fills.

        With an account, whatever of that account is not known to be booked.
        """
        unbooked = (match for matches in self._matched.values() for match in matches.values())
        mine = [
            match
            for match in unbooked
            if match.kind is MatchKind.FUNDING
            or match.position_id == position_id
            or (account_id is not None and match.account_id == account_id)
        ]
        return sorted(mine, key=attrgetter("step"))

    def late(self, before: tuple[int, int, int]) -> list[PaperMatch]:
        """What was found late, is not known to be booked, and happened before a step: to be booked first."""
        self._late = [match for match in self._late if match in self.matched(match.kind, match.row_id)]
        return sorted((match for match in self._late if match.step < before), key=attrgetter("step", "row_id"))

    def booked(self, match: PaperMatch) -> None:
        """Forget a match that is booked."""
        key = match.kind, match.row_id
        matches = self._matched.get(key, {})
        if matches.get(_number(match)) == match:
            del matches[_number(match)]
            if not matches:
                del self._matched[key]

    def forget(self, kind: MatchKind, row_id: int) -> None:
        """Stop watching a row, and remembering its matches."""
        self._matched.pop((kind, row_id), None)
        for book in self._books_of(kind):
            book.drop(row_id)

    def _add(self, row: Row, kept: Sequence[Tick]) -> list[PaperMatch]:
        if isinstance(row, PaperPosition):
            # No price liquidates a long whose liquidation price is 0.
            if not row.liquidation_price:
                return []
            progress = _Progress(row.id, 0, 1, row.armed_sequence, position_id=row.id, account_id=row.account_id)
            return self._liquidations.add(_liquidation(row), progress, kept)
        progress = _progress(row)
        match kind_of(row):
            case MatchKind.WORKING_FILL:
                return self._working.add(progress, kept)
            case MatchKind.EXIT:
                return self._exits.add(_exit(row), progress, kept)
            case _:
                return (self._buys if row.side is OrderSide.BUY else self._sells).add(_limit(row), progress, kept)

    def _books_of(self, kind: MatchKind) -> Sequence[_Levels | _Working]:
        match kind:
            case MatchKind.LIQUIDATION:
                return (self._liquidations,)
            case MatchKind.EXIT:
                return (self._exits,)
            case MatchKind.LIMIT_FILL:
                return (self._buys, self._sells)
            case MatchKind.WORKING_FILL:
                return (self._working,)
            case _:
                return ()

    def _remember(self, match: PaperMatch) -> PaperMatch:
        self._matched.setdefault((match.kind, match.row_id), {})[_number(match)] = match
        return match


def kind_of(row: Row) -> MatchKind:
    """What ticks do to a row."""
    if isinstance(row, PaperPosition):
        return MatchKind.LIQUIDATION
    if row.status is PaperOrderStatus.WORKING:
        return MatchKind.WORKING_FILL
    return MatchKind.LIMIT_FILL if row.limit_price is not None else MatchKind.EXIT


def _number(match: PaperMatch) -> int:
    return match.sequence if match.kind is MatchKind.FUNDING else match.number


def _progress(order: PaperOrder) -> _Progress:
    last = order.armed_sequence if order.fill_sequence is None else order.fill_sequence
    waits = 0 if order.fill_count else order.settle_ticks
    return _Progress(order.id, order.fill_count, order.parts, last, waits, order.position_id, order.account_id)


def _limit(order: PaperOrder) -> TriggerOrder:
    """A resting order as its book watches it."""
    limit = known(order.limit_price)
    return TriggerOrder(
        order_id=order.id,
        version=0,
        side=PositionSide.LONG if order.side is OrderSide.BUY else PositionSide.SHORT,
        armed_sequence=order.armed_sequence if order.fill_sequence is None else order.fill_sequence,
        armed_price=limit,
        stop_price=limit,
    )


def _exit(order: PaperOrder) -> TriggerOrder:
    """A native exit as its book watches it: the side is its position's."""
    return TriggerOrder(
        order_id=order.id,
        version=0,
        side=PositionSide.LONG if order.side is OrderSide.SELL else PositionSide.SHORT,
        armed_sequence=order.armed_sequence,
        armed_price=known(order.reference_price),
        stop_price=order.stop_price,
        take_profit_price=order.take_profit_price,
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


def _match(kind: MatchKind, tick: Tick, progress: _Progress, *, version: int = 0) -> PaperMatch:
    is_stepwise = kind in (MatchKind.EXIT, MatchKind.WORKING_FILL) or progress.parts > 1
    return PaperMatch(
        kind,
        progress.row_id,
        tick.pair_id,
        tick.sequence,
        tick.bid,
        tick.ask,
        tick.mark,
        number=progress.number,
        version=version,
        position_id=progress.position_id,
        account_id=progress.account_id,
        last=tick.last,
        is_stepwise=is_stepwise,
    )
