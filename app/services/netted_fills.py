"""Executions of a position that several trades share: each trade's own part, and its share of the margin."""

from collections.abc import Sequence
from dataclasses import replace

from app.domain.errors import InvalidTransition
from app.domain.events import position_event
from app.domain.lifecycle import OPEN_TRADE
from app.domain.money import ZERO
from app.domain.shares import pro_rata, split_fill
from app.domain.trading import VenueFill
from app.services.booked_trade import BookedTrade


def shares_of(fill: VenueFill, holders: Sequence[BookedTrade]) -> list[tuple[BookedTrade, VenueFill]]:
    """A reduction as each trade's own fill, in the order given; one that takes all of it keeps the fill's id.

    Raises InvalidTransition where the trades have less open than was reduced.
    """
    by_id = {booked.trade.id: booked for booked in holders}
    try:
        shares = split_fill(fill.quantity, fill.fee, fill.pnl, [(b.trade.id, b.trade.size) for b in holders])
    except ValueError as error:
        raise InvalidTransition(f"fill {fill.fill_id}: {error}") from error
    if len(shares) == 1:
        return [(by_id[shares[0].trade_id], fill)]
    return [
        (
            by_id[share.trade_id],
            replace(
                fill,
                fill_id=f"{fill.fill_id}#{share.trade_id}",
                quantity=share.quantity,
                fee=share.fee,
                pnl=share.pnl,
            ),
        )
        for share in shares
    ]


async def share_margin(fill: VenueFill, holders: Sequence[BookedTrade]) -> None:
    """Give each open trade of a netted position its part of the margin, by size, the newest the exact rest.

    A fill that others followed before it was booked tells of a position that is gone: nothing changes.
    """
    held = sorted(
        (b for b in holders if b.trade.status in OPEN_TRADE and b.trade.size > ZERO), key=lambda b: b.trade.id
    )
    sizes = [booked.trade.size for booked in held]
    if len(held) < 1 or sum(sizes, ZERO) != fill.size_left:
        return
    for booked, margin in zip(held, pro_rata(fill.margin_left, sizes), strict=True):
        position = await booked.work.positions.of_trade(booked.trade.id)
        if position is None:
            raise LookupError(f"trade {booked.trade.id} is open without a position")
        if (position.margin, position.liquidation_price) != (margin, fill.liquidation_price):
            position.margin, position.liquidation_price = margin, fill.liquidation_price
            booked.work.emit(position_event(position, "netted"))
