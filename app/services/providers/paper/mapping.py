"""The paper venue's rows as the venue interface tells them."""

import hashlib

from app.domain.enums import PaperOrderStatus
from app.domain.trading import TradeResult, VenueFill, VenueFunding, VenueOutcome, VenuePosition
from app.models.paper import PaperFill, PaperFunding, PaperOrder, PaperPosition
from app.repositories.paper_repository import LIVE, Execution

_OUTCOMES = {
    PaperOrderStatus.WORKING: VenueOutcome.ACCEPTED,
    PaperOrderStatus.RESTING: VenueOutcome.RESTING,
    PaperOrderStatus.FILLED: VenueOutcome.FILLED,
    PaperOrderStatus.CANCELLED: VenueOutcome.CANCELLED,
    PaperOrderStatus.REJECTED: VenueOutcome.REJECTED,
}


def transaction_hash(client_id: int) -> str:
    """What stands for a transaction here: 0x and the sha256 of the client id's digits."""
    return "0x" + hashlib.sha256(str(client_id).encode()).hexdigest()


def result_of(execution: Execution, venue_account_id: int) -> TradeResult:
    """The venue's word on an order as it stands, with every fill so far."""
    order, position, _ = execution
    is_accepted = order.status is not PaperOrderStatus.REJECTED
    is_part_filled = order.status in LIVE and order.fill_count
    return TradeResult(
        client_id=order.client_id,
        outcome=VenueOutcome.PARTIALLY_FILLED if is_part_filled else _OUTCOMES[order.status],
        transaction_hash=transaction_hash(order.client_id) if is_accepted else None,
        venue_trade_index=str(position.id) if position and is_accepted else None,
        reason=order.reason,
        details=order.details,
        fills=tuple(fills_of(execution, venue_account_id)),
    )


def fills_of(execution: Execution, venue_account_id: int) -> list[VenueFill]:
    """The fills of an execution, in order."""
    return [_fill(execution.order, fill, venue_account_id) for fill in execution.fills]


def _fill(order: PaperOrder, fill: PaperFill, venue_account_id: int) -> VenueFill:
    """One fill of an order; an order with a negative client id is a liquidation."""
    is_liquidation = order.client_id < 0
    name = f"liq-{fill.position_id}" if is_liquidation else f"{order.id}"
    return VenueFill(
        fill_id=f"paper-{name}-{fill.number}" if fill.number else f"paper-{name}",
        client_id=None if is_liquidation else order.client_id,
        venue_account_id=venue_account_id,
        venue_trade_index=str(fill.position_id),
        side=order.side,
        quantity=fill.size,
        price=fill.price,
        fee=fill.fee,
        pnl=fill.pnl,
        is_close=order.reduce_only,
        sequence=fill.sequence,
        mark_price=fill.mark_price,
        at=fill.at,
        size_left=fill.size_left,
        margin_left=fill.margin_left,
        liquidation_price=fill.liquidation_price,
        is_liquidation=is_liquidation,
        bid=fill.bid,
        ask=fill.ask,
        last=fill.last,
        is_last=order.status is PaperOrderStatus.FILLED and fill.number == order.fill_count - 1,
        entry_price=fill.entry_price,
    )


def funding_of(funding: PaperFunding, venue_account_id: int) -> VenueFunding:
    """One funding of a position."""
    return VenueFunding(
        venue_account_id=venue_account_id,
        venue_trade_index=str(funding.position_id),
        instant=funding.instant,
        amount=funding.amount,
        rate=funding.rate,
        size=funding.size,
        mark_price=funding.mark_price,
        sequence=funding.sequence,
        margin_left=funding.margin_left,
        liquidation_price=funding.liquidation_price,
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
