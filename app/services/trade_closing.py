"""How a trade that is being closed comes to its end, also while its entry can still fill."""

from collections.abc import Mapping
from datetime import timedelta

from app.domain.enums import IntentKind, OrderStatus, TradeStatus
from app.domain.events import EventType, order_event
from app.domain.intents import close_payload
from app.domain.money import ZERO
from app.models.trading import Intent, Order, Trade
from app.repositories.unit_of_work import UnitOfWork
from app.services.booked_trade import LIQUIDATED, BookedTrade
from app.services.trade_rows import close_row, intent_row

# Why the engine closes by itself: the entry filled on while its trade was being closed.
REST_OF_ENTRY = "rest_of_entry"
ENTRY_NOT_WANTED = "trade_closing"
ATTEMPTS = 5
RETRY_FIRST = timedelta(milliseconds=200)
RETRY_LONGEST = timedelta(seconds=1)
CANCEL_LONGEST = timedelta(seconds=30)
AT_ONCE = timedelta(0)
_CAN_BE_CANCELLED = (OrderStatus.PENDING, OrderStatus.PARTIALLY_FILLED)


def retry_delay(attempt: int, longest: timedelta = RETRY_LONGEST) -> timedelta:
    """How long a refused effect waits before its next attempt: 0.2 s doubling to `longest`."""
    return min(RETRY_FIRST * (1 << min(attempt, 8)), longest)


async def cancel_rest(booked: BookedTrade, reason: str, delay: timedelta) -> Intent | None:
    """Write the cancel of what an entry has not filled; None where it is being cancelled, is on its way, or is over.

    Settlement sends it after `delay`, unless the caller does before.
    """
    work, entry = booked.work, booked.entry
    sent = await work.intents.live_of_order(entry.id, IntentKind.OPEN)
    if entry.status not in _CAN_BE_CANCELLED or sent is None:
        return None
    return await _cancel(work, booked.trade, entry, sent, reason, delay)


async def cancel_rests(work: UnitOfWork, trades: Mapping[int, Trade]) -> None:
    """Write the cancels of what the entries of trades have not filled whose exits were claimed; settlement sends them.

    The trades, by id, are locked by the caller.
    """
    openings = await work.intents.of_part_filled(list(trades))
    entries = await work.orders.locked([opening.order_id for opening in openings]) if openings else {}
    for opening in openings:
        entry = entries[opening.order_id]
        await _cancel(work, trades[opening.trade_id], entry, opening, ENTRY_NOT_WANTED, AT_ONCE)


async def _cancel(
    work: UnitOfWork, trade: Trade, entry: Order, opening: Intent, reason: str, delay: timedelta
) -> Intent:
    work.orders.move_locked(entry, OrderStatus.PENDING_CANCEL, reason=reason, attempt=entry.attempt + 1)
    work.emit(order_event(EventType.ORDER_UPDATED, entry, "pending_cancel"))
    payload = {"cancels": str(opening.id)}
    return await work.intents.add(intent_row(entry, trade, IntentKind.CANCEL, payload, work.intents.due_in(delay)))


async def emptied(booked: BookedTrade, reason: str) -> None:
    """Nothing of the trade is open any more: it ends, or is closing until its entry can fill no more."""
    trade = booked.trade
    if reason == LIQUIDATED or trade.close_reason is None:
        trade.close_reason = reason
    if not booked.entry_is_live:
        booked.end()
        return
    if trade.status is TradeStatus.OPEN:
        booked.move_trade(TradeStatus.CLOSING, EventType.TRADE_UPDATED, reason)
    await cancel_rest(booked, ENTRY_NOT_WANTED, AT_ONCE)


async def conclude(booked: BookedTrade) -> None:
    """Take the next step of a trade that is closing: end it, ask for its entry's cancel again, or close the rest."""
    trade = booked.trade
    if trade.status is not TradeStatus.CLOSING:
        return
    if trade.size == ZERO:
        if booked.entry_is_live:
            await cancel_rest(booked, ENTRY_NOT_WANTED, retry_delay(booked.entry.attempt, CANCEL_LONGEST))
        else:
            booked.end()
    elif not await booked.work.intents.is_closing(trade.id):
        await _close_rest(booked)


async def try_again(booked: BookedTrade, order: Order) -> None:
    """Write the next attempt of a close that the engine made and the venue refused; the trade stays closing."""
    trade = booked.trade
    quantity = order.filled_quantity + trade.size
    delay = retry_delay(order.attempt)
    booked.move(
        order,
        OrderStatus.PENDING,
        EventType.ORDER_UPDATED,
        "re-armed",
        attempt=order.attempt + 1,
        quantity=quantity,
        unknown_since=None,
    )
    await _write_close(booked, order, delay)


async def _close_rest(booked: BookedTrade) -> None:
    """What filled after the close was sent: by an exit that fired, else by a close of the engine's own."""
    if any(order.latched_sequence is not None and order.status is OrderStatus.PENDING for order in booked.exits()):
        booked.reopen("part_filled")
        return
    order = await booked.work.orders.add(close_row(booked.trade, booked.trade.size))
    booked.orders.append(order)
    booked.work.emit(order_event(EventType.ORDER_CREATED, order, REST_OF_ENTRY))
    await _write_close(booked, order, AT_ONCE)


async def _write_close(booked: BookedTrade, order: Order, delay: timedelta) -> None:
    work, trade = booked.work, booked.trade
    if trade.venue_trade_index is None:
        raise LookupError(f"trade {trade.id} is open without a venue index")
    payload = close_payload(trade.venue_trade_index, trade.side, trade.size, is_whole=True, is_engines=True)
    # The attempt before it must have ended in the database: one closing effect at a time.
    await work.intents.session.flush()
    await work.intents.add(intent_row(order, trade, IntentKind.CLOSE, payload, work.intents.due_in(delay)))
