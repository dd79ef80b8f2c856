"""The rows that a request writes before anything is sent: trade, entry, exits, close, intent."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from app.domain.enums import IntentKind, IntentStatus, OrderRole, OrderStatus, OrderType, TradeStatus
from app.domain.money import ZERO
from app.domain.order_rules import entry_side, exit_side, side_of
from app.domain.order_terms import ExitTerms, OpenTerms, fingerprint
from app.models.market import Pair, VenueAccount
from app.models.trading import Intent, Order, Trade


def trade_row(terms: OpenTerms, account: VenueAccount, pair: Pair, trade_index: int) -> Trade:
    """A trade that has been asked for."""
    return Trade(
        user_id=account.user_id,
        venue_account_id=account.id,
        provider=pair.venue,
        asset=pair.base,
        asset_type=pair.category.code,
        pair_id=pair.id,
        trade_index=trade_index,
        direction=terms.is_long,
        collateral=terms.collateral,
        leverage=terms.leverage,
        size=ZERO,
        fees=ZERO,
        status=TradeStatus.PENDING,
    )


def entry_row(terms: OpenTerms, trade: Trade, quantity: Decimal) -> Order:
    """The order that opens a trade; `quantity` is what it is expected to buy."""
    return Order(
        user_id=trade.user_id,
        trade_id=trade.id,
        pair_id=trade.pair_id,
        client_order_id=terms.client_order_id,
        fingerprint=fingerprint(terms),
        provider=trade.provider,
        asset=trade.asset,
        role=OrderRole.ENTRY,
        order_type=OrderType.LIMIT if terms.order_type is OrderType.LIMIT else OrderType.MARKET,
        side=entry_side(side_of(is_long=terms.is_long)),
        quantity=quantity,
        price=terms.price,
        max_slippage=terms.max_slippage,
        status=OrderStatus.PENDING,
        expires_at=terms.expires_at,
        valid_until=terms.valid_until,
    )


def exit_row(exit_terms: ExitTerms, trade: Trade, quantity: Decimal, status: OrderStatus) -> Order:
    """An exit of a trade."""
    return Order(
        user_id=trade.user_id,
        trade_id=trade.id,
        pair_id=trade.pair_id,
        provider=trade.provider,
        asset=trade.asset,
        role=OrderRole.EXIT,
        order_type=exit_terms.order_type,
        side=exit_side(trade.side),
        reduce_only=True,
        quantity=quantity,
        stop_price=exit_terms.stop_price,
        take_profit_price=exit_terms.take_profit_price,
        trailing_stop_distance=exit_terms.trailing_stop_distance,
        trailing_stop_percentage=exit_terms.trailing_stop_percentage,
        activation_price=exit_terms.activation_price,
        oco_stop_price=exit_terms.oco_stop_price,
        oco_take_profit_price=exit_terms.oco_take_profit_price,
        trigger_by=exit_terms.trigger_by,
        price_protect=exit_terms.price_protect,
        status=status,
    )


def close_row(trade: Trade, quantity: Decimal) -> Order:
    """A close by hand."""
    return Order(
        user_id=trade.user_id,
        trade_id=trade.id,
        pair_id=trade.pair_id,
        provider=trade.provider,
        asset=trade.asset,
        role=OrderRole.CLOSE,
        order_type=OrderType.MARKET,
        side=exit_side(trade.side),
        reduce_only=True,
        quantity=quantity,
        status=OrderStatus.PENDING,
    )


def intent_row(
    order: Order, trade: Trade, kind: IntentKind, payload: Mapping[str, object], next_run_at: datetime
) -> Intent:
    """An effect of an order's present attempt, not yet sent; settlement takes it up at `next_run_at`."""
    return Intent(
        order_id=order.id,
        trade_id=trade.id,
        attempt=order.attempt,
        kind=kind,
        provider=trade.provider,
        venue_account_id=trade.venue_account_id,
        pair_id=trade.pair_id,
        payload=dict(payload),
        status=IntentStatus.NEW,
        next_run_at=next_run_at,
    )
