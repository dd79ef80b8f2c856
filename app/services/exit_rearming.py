"""Exits whose close was refused, or left something open: never final while their trade is open."""

from loguru import logger

from app.domain.enums import OrderRole, OrderStatus
from app.domain.events import EventType
from app.domain.lifecycle import OPEN_TRADE
from app.domain.money import ZERO
from app.domain.trading_state import HALTED_CODE
from app.models.trading import Order
from app.services.booked_trade import BookedTrade
from app.services.held_exits import LET_GO, let_go
from app.services.providers.base import QuoteBoard
from app.services.trade_closing import retry_delay
from app.services.watched_prices import watched_by


def has_rest(booked: BookedTrade, order: Order) -> bool:
    """Whether an exit that did all it was asked has more to close, now or when the entry fills on."""
    is_exit = order.role is OrderRole.EXIT and booked.trade.status in OPEN_TRADE
    return is_exit and (booked.trade.size > ZERO or booked.entry_is_live)


async def rearm(booked: BookedTrade, board: QuoteBoard, order: Order, reason: str) -> None:
    """Let an exit close what is open, or what still fills, in its next attempt.

    Its crossing is kept and claimed again; where the market closed or trading is halted it is let go, and the first
    tick from now on decides.
    """
    changes: dict[str, object]
    if reason in LET_GO:
        crossed_at = order.trigger_sequence or 0
        seen = board.kept(order.pair_id, crossed_at)
        last = seen[-1].sequence if seen else crossed_at
        its_own = await watched_by(booked.work, board, order, seen)
        changes = let_go(order, booked.trade.side, last, order.watermark, its_own)
        if reason == HALTED_CODE:
            changes["held_since"] = booked.now
    else:
        changes = {
            "latched_sequence": order.trigger_sequence,
            "next_run_at": booked.work.intents.due_in(retry_delay(order.attempt)),
        }
    changes |= {
        "attempt": order.attempt + 1,
        "version": order.version + 1,
        "quantity": order.filled_quantity + booked.trade.size or order.quantity,
        "unknown_since": None,
    }
    booked.move(order, OrderStatus.PENDING, EventType.ORDER_UPDATED, "re-armed", **changes)
    logger.warning("Exit {order} has to close again: {reason}", order=order.id, reason=reason)
