"""What an exit's price series stood at as of a tick: the price that it is armed with and its levels are judged by."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol

from app.domain.enums import PositionSide, TriggerBy
from app.domain.prices import PROTECT_LIMIT, Tick, believed, series_price
from app.domain.trading import VenueFill
from app.models.market import Pair
from app.models.trading import Order
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.base import QuoteBoard


class Watching(Protocol):
    """How an exit watches the price: terms of exits and their rows satisfy it."""

    @property
    def trigger_by(self) -> TriggerBy:
        """Its series."""
        ...

    @property
    def price_protect(self) -> bool:
        """Whether that is guarded."""
        ...


def watched_price(board: QuoteBoard, watching: Watching, side: PositionSide, tick: Tick, pair: Pair) -> Decimal | None:
    """The price of the series of an exit of a position on `side`, as of a tick; None where it was never told."""
    if not watching.price_protect and (price := tick.price_by(watching.trigger_by, side)) is not None:
        return price
    kept = [one for one in board.kept(tick.pair_id, -1) if one.sequence < tick.sequence]
    limit = pair.price_protect_limit if watching.price_protect else None
    return series_price([*kept, tick], watching.trigger_by, side, limit)


async def prices_at_fill(
    work: UnitOfWork, board: QuoteBoard, exits: Iterable[Order], side: PositionSide, fill: VenueFill, pair_id: int
) -> dict[int, Decimal]:
    """What each exit of a trade is armed with by a fill of its entry, by order id.

    That is the price of its series at the tick of the fill: of the ticks kept here, else as the fill itself tells
    it; its mark where nobody knows.
    """
    prices = {}
    for order in exits:
        price = None
        if order.price_protect or order.trigger_by is not TriggerBy.MARK:
            pair = await work.pairs.get(pair_id)
            tick = next((one for one in board.kept(pair_id, fill.sequence - 1) if one.sequence == fill.sequence), None)
            if tick is not None and pair is not None:
                price = watched_price(board, order, side, tick, pair)
            price = price or _told_by(fill, order.trigger_by, side)
        prices[order.id] = price or fill.mark_price
    return prices


async def watched_by(work: UnitOfWork, board: QuoteBoard, order: Order, ticks: Sequence[Tick]) -> Sequence[Tick]:
    """Those of the last ticks that an exit sees: where it is protected, its guard holds some back."""
    if not (order.price_protect and ticks):
        return ticks
    pair = await work.pairs.get(order.pair_id)
    limit = PROTECT_LIMIT if pair is None else pair.price_protect_limit
    return [one for one in believed(board.kept(order.pair_id, -1), limit) if one.sequence >= ticks[0].sequence]


def _told_by(fill: VenueFill, trigger_by: TriggerBy, side: PositionSide) -> Decimal | None:
    if trigger_by is TriggerBy.LAST:
        return fill.last
    if trigger_by is TriggerBy.EXIT:
        return fill.bid if side is PositionSide.LONG else fill.ask
    return fill.mark_price
