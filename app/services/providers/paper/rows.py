"""The rows that the paper venue writes for what happened at a price."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from app.domain.enums import OrderSide, OrderType, PaperOrderStatus, PaperPositionStatus, PositionSide
from app.domain.money import ZERO, stored
from app.domain.order_rules import entry_side, exit_side
from app.domain.positions import Closing, average_entry, liquidation_price
from app.domain.trading import CloseParams, ExitParams, TradeParams
from app.models.market import Pair
from app.models.paper import PaperFill, PaperOrder, PaperPosition
from app.services.providers.paper.admission import Opening, Refused
from app.services.providers.paper.mapping import known
from app.services.providers.paper.terms import PaperTerms

type AnyParams = TradeParams | CloseParams | ExitParams


class Seen(Protocol):
    """A tick, or what is left of one."""

    @property
    def sequence(self) -> int:
        """Its number."""
        ...

    @property
    def bid(self) -> Decimal:
        """What a sell got."""
        ...

    @property
    def ask(self) -> Decimal:
        """What a buy paid."""
        ...

    @property
    def mark(self) -> Decimal:
        """The price between them."""
        ...

    @property
    def last(self) -> Decimal | None:
        """The last traded price, where it is told."""
        ...


@dataclass(frozen=True, slots=True)
class Strike:
    """The price at which something was done, and the tick it was done at; `at` by the database's clock."""

    price: Decimal
    tick: Seen
    at: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """One fill of an order: its size, and what it did to money in USDC."""

    size: Decimal
    fee: Decimal
    pnl: Decimal = ZERO


def refused_order(params: AnyParams, account_id: int, sequence: int, refusal: Refused) -> PaperOrder:
    """An order that was not taken; only what is surely sound of it is kept."""
    is_close, order_type = True, OrderType.MARKET
    if isinstance(params, TradeParams):
        is_close, order_type = False, params.order_type
    elif isinstance(params, ExitParams):
        order_type = exit_type(params)
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


def opening_order(
    params: TradeParams, account_id: int, opening: Opening, sequence: int, terms: PaperTerms
) -> PaperOrder:
    """An opening order that has not filled: a limit rests, a market order works; margin and fee are reserved."""
    is_limit = params.order_type is OrderType.LIMIT
    return PaperOrder(
        client_id=params.client_id,
        account_id=account_id,
        pair_id=params.ref.pair_id,
        order_type=params.order_type,
        side=entry_side(params.side),
        reduce_only=False,
        size=opening.size,
        limit_price=params.price if is_limit else None,
        leverage=params.leverage,
        collateral=params.collateral,
        reserved=params.collateral + opening.fee,
        status=PaperOrderStatus.RESTING if is_limit else PaperOrderStatus.WORKING,
        armed_sequence=sequence,
        parts=terms.fill_parts,
        settle_ticks=0 if is_limit else terms.settle_ticks,
        reference_price=params.reference_price,
        max_slippage=params.max_slippage,
        filled=ZERO,
        fill_count=0,
    )


def closing_order(
    client_id: int,
    position: PaperPosition,
    size: Decimal,
    sequence: int,
    params: CloseParams | None = None,
    terms: PaperTerms | None = None,
) -> PaperOrder:
    """A reduce-only market order that works; without terms it fills at once, as a liquidation does."""
    return PaperOrder(
        client_id=client_id,
        account_id=position.account_id,
        pair_id=position.pair_id,
        position_id=position.id,
        order_type=OrderType.MARKET,
        side=exit_side(position.side),
        reduce_only=True,
        reserved=ZERO,
        size=size,
        status=PaperOrderStatus.WORKING,
        armed_sequence=sequence,
        parts=terms.fill_parts if terms else 1,
        settle_ticks=terms.settle_ticks if terms else 0,
        reference_price=params.reference_price if params else None,
        max_slippage=params.max_slippage if params else None,
        filled=ZERO,
        fill_count=0,
    )


def exit_order(params: ExitParams, position: PaperPosition, mark: Decimal, sequence: int) -> PaperOrder:
    """A native exit that rests until the mark reaches one of its levels; `reference_price` is the mark it began at."""
    return PaperOrder(
        client_id=params.client_id,
        account_id=position.account_id,
        pair_id=position.pair_id,
        position_id=position.id,
        order_type=exit_type(params),
        side=exit_side(position.side),
        reduce_only=True,
        reserved=ZERO,
        size=min(params.size, position.size),
        stop_price=params.stop_price,
        take_profit_price=params.take_profit_price,
        reference_price=mark,
        status=PaperOrderStatus.RESTING,
        armed_sequence=sequence,
        filled=ZERO,
        fill_count=0,
        parts=1,
        settle_ticks=0,
    )


def exit_type(params: ExitParams) -> OrderType:
    """What an exit is called by the levels it has."""
    if params.stop_price is None:
        return OrderType.TAKE_PROFIT
    return OrderType.STOP_LOSS if params.take_profit_price is None else OrderType.OCO


def opened_position(order: PaperOrder, pair: Pair, strike: Strike, size: Decimal, margin: Decimal) -> PaperPosition:
    """The position that the first fill of an opening order makes; ticks after the strike's may liquidate it."""
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
        armed_sequence=strike.tick.sequence,
        armed_price=strike.tick.mark,
        status=PaperPositionStatus.OPEN,
        version=0,
    )


def grown(position: PaperPosition, pair: Pair, strike: Strike, size: Decimal, margin: Decimal) -> dict[str, object]:
    """What a position has after a further opening fill; its new liquidation price counts from there on."""
    entry = average_entry(position.side, position.size, position.entry_price, size, strike.price)
    size, margin = position.size + size, position.margin + margin
    return {
        "size": size,
        "margin": margin,
        "entry_price": entry,
        "liquidation_price": liquidation_price(position.side, size, entry, margin, pair.maintenance_margin_rate),
        "armed_sequence": max(position.armed_sequence, strike.tick.sequence),
        "armed_price": strike.tick.mark,
        "version": position.version + 1,
    }


def reduced(closing: Closing, end: PaperPositionStatus, strike: Strike) -> dict[str, object]:
    """What a position has after a closing; its liquidation price stays: size and margin shrink together."""
    left: dict[str, object] = {"size": closing.size_left, "margin": closing.margin_left}
    if closing.size_left:
        return left
    return left | {"status": end, "closed_at": strike.at, "closed_sequence": strike.tick.sequence}


def filled(order: PaperOrder, part: Part, strike: Strike, *, is_last: bool) -> dict[str, object]:
    """What an order has after a fill; after the last its size is what it filled, and nothing is reserved."""
    before = order.filled
    total = before + part.size
    spent = ZERO if order.fill_price is None else order.fill_price * before
    done: dict[str, object] = {
        "filled": total,
        "fill_count": order.fill_count + 1,
        "fill_price": stored((spent + strike.price * part.size) / total),
        "fee": (order.fee or ZERO) + part.fee,
        "pnl": (order.pnl or ZERO) + part.pnl,
        "fill_sequence": strike.tick.sequence,
        "filled_at": strike.at,
    }
    return done | {"status": PaperOrderStatus.FILLED, "size": total, "reserved": ZERO} if is_last else done


def fill_row(number: int, part: Part, strike: Strike, position: PaperPosition) -> PaperFill:
    """The fill of an order, with what its position (as it is now) has left; order and position ids are the caller's."""
    return PaperFill(
        number=number,
        size=part.size,
        price=strike.price,
        fee=part.fee,
        pnl=part.pnl,
        mark_price=strike.tick.mark,
        bid=strike.tick.bid,
        ask=strike.tick.ask,
        last=strike.tick.last,
        sequence=strike.tick.sequence,
        size_left=position.size,
        margin_left=position.margin,
        liquidation_price=position.liquidation_price if position.size else ZERO,
        entry_price=position.entry_price,
        at=strike.at,
    )
