"""The paper venue's rows as the venue interface tells them."""

import hashlib

from app.domain.enums import PaperOrderStatus
from app.domain.money import ZERO
from app.domain.trading import TradeResult, VenueFill, VenueOutcome, VenuePosition
from app.models.paper import PaperOrder, PaperPosition
from app.repositories.paper_repository import Execution

_OUTCOMES = {
    PaperOrderStatus.RESTING: VenueOutcome.RESTING,
    PaperOrderStatus.FILLED: VenueOutcome.FILLED,
    PaperOrderStatus.CANCELLED: VenueOutcome.CANCELLED,
    PaperOrderStatus.REJECTED: VenueOutcome.REJECTED,
}


def transaction_hash(client_id: int) -> str:
    """What stands for a transaction here: 0x and the sha256 of the client id's digits."""
    return "0x" + hashlib.sha256(str(client_id).encode()).hexdigest()


def result_of(execution: Execution, venue_account_id: int) -> TradeResult:
    """The venue's word on an order as it stands."""
    order, position = execution
    is_accepted = order.status is not PaperOrderStatus.REJECTED
    return TradeResult(
        client_id=order.client_id,
        outcome=_OUTCOMES[order.status],
        transaction_hash=transaction_hash(order.client_id) if is_accepted else None,
        venue_trade_index=str(position.id) if position and is_accepted else None,
        reason=order.reason,
        details=order.details,
        fills=(fill_of(order, position, venue_account_id),)
        if position and order.status is PaperOrderStatus.FILLED
        else (),
    )


def fill_of(order: PaperOrder, position: PaperPosition, venue_account_id: int) -> VenueFill:
    """The execution of a filled order; one with a negative client id is a liquidation."""
    is_liquidation = order.client_id < 0
    size_left = known(order.size_left)
    return VenueFill(
        fill_id=f"paper-liq-{position.id}" if is_liquidation else f"paper-{order.id}",
        client_id=None if is_liquidation else order.client_id,
        venue_account_id=venue_account_id,
        venue_trade_index=str(position.id),
        side=order.side,
        quantity=known(order.size),
        price=known(order.fill_price),
        fee=known(order.fee),
        pnl=known(order.pnl),
        is_close=order.reduce_only,
        sequence=known(order.fill_sequence),
        mark_price=known(order.mark_price),
        at=known(order.filled_at),
        size_left=size_left,
        margin_left=known(order.margin_left),
        liquidation_price=position.liquidation_price if size_left else ZERO,
        is_liquidation=is_liquidation,
    )


def position_of(position: PaperPosition, venue_account_id: int) -> VenuePosition:
    """An open position."""
    return VenuePosition(
        venue_account_id=venue_account_id,
        venue_trade_index=str(position.id),
        pair_id=position.pair_id,
        side=position.side,
        size=position.size,
        entry_price=position.entry_price,
        margin=position.margin,
        liquidation_price=position.liquidation_price,
    )


def known[T](value: T | None) -> T:
    """The value of a column that is empty only in other states of its order."""
    if value is None:
        raise ValueError("a paper order lacks what its state requires")
    return value
