"""The rows that the paper venue writes for what happened at a price."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.domain.enums import OrderSide, OrderType, PaperOrderStatus, PaperPositionStatus, PositionSide
from app.domain.money import ZERO
from app.domain.order_rules import entry_side, exit_side
from app.domain.positions import Closing, liquidation_price
from app.domain.trading import CloseParams, TradeParams
from app.models.market import Pair
from app.models.paper import PaperOrder, PaperPosition
from app.services.providers.paper.admission import Opening, Refused
from app.services.providers.paper.mapping import known


@dataclass(frozen=True, slots=True)
class Strike:
    """The price at which something was done, and the tick it was done at; `at` by the database's clock."""

    price: Decimal
    mark: Decimal
    sequence: int
    at: datetime


def refused_order(params: TradeParams | CloseParams, account_id: int, sequence: int, refusal: Refused) -> PaperOrder:
    """An order that was not taken; only what is surely sound of it is kept."""
    is_close, order_type = True, OrderType.MARKET
    if isinstance(params, TradeParams):
        is_close, order_type = False, params.order_type
    return PaperOrder(
        client_id=params.client_id,
        account_id=account_id,
        pair_id=params.ref.pair_id,
        order_type=order_type,
        side=exit_side(params.side) if is_close else entry_side(params.side),
        reduce_only=is_close,
        reserved=ZERO,
        status=PaperOrderStatus.REJECTED,
        reason=refusal.reason,
        details=refusal.details,
        armed_sequence=sequence,
    )


def resting_order(params: TradeParams, account_id: int, opening: Opening, sequence: int) -> PaperOrder:
    """A limit order that waits for its price, its margin and fee reserved."""
    waiting = {"status": PaperOrderStatus.RESTING, "reserved": params.collateral + opening.fee}
    return _opening_order(params, account_id, opening, sequence, waiting)


def filled_order(params: TradeParams, account_id: int, opening: Opening, strike: Strike) -> PaperOrder:
    """An order that fills as it arrives; it has no position yet."""
    fill = filled(strike, opening.fee, ZERO, opening.size, params.collateral)
    return _opening_order(params, account_id, opening, strike.sequence, fill)


def closing_order(client_id: int, position: PaperPosition, closing: Closing, strike: Strike) -> PaperOrder:
    """A filled order that reduced a position, by wish or by liquidation."""
    return PaperOrder(
        client_id=client_id,
        account_id=position.account_id,
        pair_id=position.pair_id,
        position_id=position.id,
        order_type=OrderType.MARKET,
        side=exit_side(position.side),
        reduce_only=True,
        size=closing.size,
        armed_sequence=strike.sequence,
        **filled(strike, closing.fee, closing.pnl, closing.size_left, closing.margin_left),
    )


def opened_position(order: PaperOrder, pair: Pair, strike: Strike) -> PaperPosition:
    """The position that an opening order becomes; ticks after the strike's may liquidate it."""
    size, margin = known(order.size), known(order.collateral)
    side = PositionSide.LONG if order.side is OrderSide.BUY else PositionSide.SHORT
    return PaperPosition(
        account_id=order.account_id,
        pair_id=order.pair_id,
        opened_by=order.client_id,
        side=side,
        size=size,
        entry_price=strike.price,
        leverage=known(order.leverage),
        margin=margin,
        liquidation_price=liquidation_price(side, size, strike.price, margin, pair.maintenance_margin_rate),
        armed_sequence=strike.sequence,
        armed_price=strike.mark,
        status=PaperPositionStatus.OPEN,
        version=0,
    )


def filled(strike: Strike, fee: Decimal, pnl: Decimal, size_left: Decimal, margin_left: Decimal) -> dict[str, object]:
    """What an order has once it is filled."""
    return {
        "status": PaperOrderStatus.FILLED,
        "reserved": ZERO,
        "fill_price": strike.price,
        "fee": fee,
        "pnl": pnl,
        "mark_price": strike.mark,
        "size_left": size_left,
        "margin_left": margin_left,
        "fill_sequence": strike.sequence,
        "filled_at": strike.at,
    }


def reduced(closing: Closing, end: PaperPositionStatus, at: datetime) -> dict[str, object]:
    """What a position has after a closing; its liquidation price stays: size and margin shrink together."""
    left: dict[str, object] = {"size": closing.size_left, "margin": closing.margin_left}
    return left if closing.size_left else left | {"status": end, "closed_at": at}


def _opening_order(
    params: TradeParams, account_id: int, opening: Opening, sequence: int, state: dict[str, object]
) -> PaperOrder:
    return PaperOrder(
        client_id=params.client_id,
        account_id=account_id,
        pair_id=params.ref.pair_id,
        order_type=params.order_type,
        side=entry_side(params.side),
        reduce_only=False,
        size=opening.size,
        limit_price=params.price if params.order_type is OrderType.LIMIT else None,
        leverage=params.leverage,
        collateral=params.collateral,
        armed_sequence=sequence,
        **state,
    )
