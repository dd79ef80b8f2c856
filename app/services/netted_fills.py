"""Executions that are not one order's alone: of a position that trades share, or that nobody here asked for."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from app.domain.enums import IntentKind, IntentStatus, OrderRole, OrderStatus
from app.domain.errors import InvalidTransition
from app.domain.events import EventType, position_event, trade_event
from app.domain.lifecycle import OPEN_TRADE
from app.domain.money import ZERO
from app.domain.positions import pnl_of
from app.domain.shares import pro_rata, split_fill
from app.domain.trading import TradeResult, VenueFill, VenueOutcome
from app.models.trading import Intent
from app.services.booked_trade import LIQUIDATED, BookedTrade
from app.services.exit_rearming import rearm
from app.services.providers.base import QuoteBoard
from app.services.trade_closing import emptied

REDUCED_OUTSIDE = "reduced_outside"


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


class PositionLeft(Protocol):
    """A position as its venue told of it: size in base units, margin in USDC."""

    @property
    def size_left(self) -> Decimal:
        """What is open."""
        ...

    @property
    def margin_left(self) -> Decimal:
        """What backs it."""
        ...

    @property
    def liquidation_price(self) -> Decimal:
        """Where it is taken over."""
        ...

    @property
    def entry_price(self) -> Decimal | None:
        """The average price that its PnL counts from, where it is told."""
        ...


async def share_position(left: PositionLeft, holders: Sequence[BookedTrade]) -> None:
    """Give each open trade of a position its part of the margin, by size, the newest the exact rest.

    All have its entry price: the venue counts PnL from the average, whichever trade is closed. Where the sizes are not
    the position's, it is told of as it was before, or will be: nothing changes.
    """
    held = sorted(_open(holders), key=lambda booked: booked.trade.id)
    sizes = [booked.trade.size for booked in held]
    if sum(sizes, ZERO) != left.size_left:
        return
    for booked, margin in zip(held, pro_rata(left.margin_left, sizes), strict=True):
        position = await booked.work.positions.of_trade(booked.trade.id)
        if position is None:
            raise LookupError(f"trade {booked.trade.id} is open without a position")
        was = position.margin, position.liquidation_price, position.entry_price
        now = margin, left.liquidation_price, left.entry_price or position.entry_price
        if was != now:
            position.margin, position.liquidation_price, position.entry_price = now
            mark = position.current_price or position.entry_price
            position.unrealized_pnl = pnl_of(position.side, position.size, position.entry_price, mark)
            booked.work.emit(position_event(position, "shared"))


async def take_outside(
    fill: VenueFill, board: QuoteBoard, holders: Sequence[BookedTrade], *, is_in_order: bool
) -> None:
    """Book a liquidation or a reduction from outside over the trades of its position, the oldest first, once.

    Where their sizes are not what it began with, an earlier execution is not booked yet, and it is left to a later
    time; not so when `is_in_order` says that all before it were booked or tried.
    """
    held = sum((booked.trade.size for booked in _open(holders)), ZERO)
    is_next = held == fill.quantity + fill.size_left or (is_in_order and fill.quantity <= held)
    if not held or not is_next or await holders[0].work.fills.is_booked(fill.venue_account_id, fill.fill_id):
        return
    for booked, share in shares_of(fill, _open(holders)):
        await booked.record(share, None)
        await _take(booked, board, share)


async def own_part(booked: BookedTrade, board: QuoteBoard, fill: VenueFill) -> VenueFill | None:
    """What a close took of its own trade; None where it is booked, or took nothing of it.

    Where an outside reduction left it less than the close was sent for, the rest came from the trade's siblings.
    """
    if not booked.siblings or fill.quantity <= booked.trade.size:
        return fill
    if await booked.work.fills.is_booked(fill.venue_account_id, fill.fill_id):
        return None
    own: VenueFill | None = None
    for holder, share in shares_of(fill, [booked, *_open(booked.siblings)]):
        if holder is booked:
            own = share
        else:
            await holder.record(share, None)
            await _take(holder, board, share)
    if own is None:
        await share_position(fill, booked.siblings)
    return own


async def lacks_fills(booked: BookedTrade, intent: Intent, result: TradeResult) -> bool:
    """Whether the last fill of an order was told, and an earlier one may be unheard of.

    A close is for a known size. What an entry was for is an estimate, but its last fill tells what the position is.
    """
    if result.outcome is not VenueOutcome.FILLED or intent.status is IntentStatus.DONE:
        return False
    order, fills = booked.order(intent.order_id), booked.work.fills
    told = ZERO
    for fill in result.fills:
        if not await fills.is_booked(fill.venue_account_id, fill.fill_id):
            told += fill.quantity
    if intent.kind is IntentKind.CLOSE:
        return await fills.filled_since(order.id, intent.sent_at) + told < Decimal(intent.payload["size"])
    held = sum((each.trade.size for each in (booked, *booked.siblings)), told)
    return bool(result.fills) and result.fills[-1].size_left > held


async def _take(booked: BookedTrade, board: QuoteBoard, fill: VenueFill) -> None:
    """Somebody else closed: the venue liquidated, or the user reduced the position there, past us."""
    reason = LIQUIDATED if fill.is_liquidation else REDUCED_OUTSIDE
    booked.trade.fees += fill.fee
    booked.shrink(fill, None)
    if booked.trade.size > ZERO:
        booked.work.emit(trade_event(EventType.TRADE_UPDATED, booked.trade, reason))
        await booked.hold(fill, "reduced")
        return
    await booked.work.intents.withdraw_unsent(booked.trade.id, reason, IntentKind.CLOSE)
    await emptied(booked, reason)
    for order in booked.orders:
        if order.role is OrderRole.CLOSE and order.status is OrderStatus.PENDING:
            booked.move(order, OrderStatus.REJECTED, EventType.ORDER_REJECTED, reason)
        elif order.status is OrderStatus.TRIGGERED:
            # Its close was withdrawn, and the entry may yet fill: it stays ready for that.
            await rearm(booked, board, order, reason)
    await booked.hold(fill, LIQUIDATED if fill.is_liquidation else "closed")


def _open(holders: Sequence[BookedTrade]) -> list[BookedTrade]:
    return [booked for booked in holders if booked.trade.status in OPEN_TRADE and booked.trade.size > ZERO]
