"""Attaches, amends and cancels orders on trades that exist."""

from dataclasses import dataclass, replace
from decimal import Decimal

from app.core.faults import buggify
from app.domain.enums import OrderRole, OrderStatus, OrderType, PositionSide
from app.domain.errors import Conflict, NotFound
from app.domain.events import EventType, order_event, position_event
from app.domain.idempotency import RequestKey
from app.domain.lifecycle import OPEN_TRADE, UNFILLED_TRADE
from app.domain.order_rules import check_exit
from app.domain.order_terms import ExitChanges, ExitRequest, ExitTerms, amended, fingerprint
from app.domain.positions import liquidation_price
from app.domain.prices import Quote
from app.domain.triggers import as_long
from app.models.market import Pair
from app.models.trading import Order, Position, Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.booking_service import hint_exits
from app.services.execution_service import ExecutionService
from app.services.live_stops import awaits_activation
from app.services.market_view import MarketView
from app.services.trade_rows import exit_row
from app.services.trading_gate import require_exit_room, require_sending
from app.services.trading_service import TradingService, asked_before


class ExitOrderService:
    """Exits on existing trades; every one is armed at the tick its request saw."""

    def __init__(
        self, uow: UnitOfWorkFactory, market: MarketView, trading: TradingService, execution: ExecutionService
    ) -> None:
        self._uow = uow
        self._market = market
        self._trading = trading
        self._execution = execution

    async def attach(
        self,
        user_id: int,
        pair_id: int,
        trade_index: int,
        exit_terms: ExitTerms,
        client_order_id: str | None,
        key: RequestKey | None = None,
    ) -> Order:
        """Attach an exit to a trade; it waits when the entry has not filled yet."""
        async with self._uow() as work:
            found = await work.trades.at(user_id, pair_id, trade_index)
            if found is None:
                raise NotFound(code="TRADE_NOT_FOUND", pair_id=pair_id, trade_index=trade_index)
            # Orders are counted under the account's lock, which comes before the trade's.
            await work.venue_accounts.get_for_update(found.venue_account_id)
            trade = await work.trades.at(user_id, pair_id, trade_index, lock=True) or found
            asked = fingerprint(exit_terms, trade.id)
            earlier = await asked_before(work, user_id, client_order_id, asked)
            if earlier is not None:
                return earlier
            if trade.status not in OPEN_TRADE | UNFILLED_TRADE:
                raise NotFound(
                    f"Trade {pair_id}/{trade_index} has ended: it is {trade.status}.",
                    code="TRADE_NOT_FOUND",
                    trade_id=trade.id,
                    status=trade.status,
                    closed_at=trade.closed_at,
                )
            pair = self._market.pair(pair_id)
            await require_exit_room(work, trade, self._market.caps(pair.venue))
            quote = self._market.fresh_quote(pair)
            position = await work.positions.of_trade(trade.id)
            price = self._market.watched_price(pair, exit_terms, trade.side, quote)
            bounds = await _bounds(work, trade, position, pair, price)
            check_exit(exit_terms, trade.side, pair, bounds.reference, bounds.liquidation)
            is_filled = trade.status in OPEN_TRADE
            order = exit_row(exit_terms, trade, bounds.size, OrderStatus.PENDING if is_filled else OrderStatus.WAITING)
            order.client_order_id, order.fingerprint = client_order_id, asked
            if is_filled:
                _arm(order, quote, price)
            await work.orders.add_named(order)
            if key is not None:
                await work.idempotency.bind(user_id, key, order.id)
            work.emit(order_event(EventType.ORDER_CREATED, order, "attached"))
            self._tell(work, order, position)
        return order

    async def amend(self, user_id: int, order_id: int, changes: ExitChanges) -> Order:
        """Change the terms of an exit that has not fired; it is armed anew at this moment's tick.

        A trailing stop that has begun goes on without waiting, unless its activation is changed.
        """
        async with self._uow() as work:
            order, trade = await self._locked(work, user_id, order_id)
            if order.role is not OrderRole.EXIT:
                raise Conflict("Only exits can be amended; cancel the entry and place another.", order_id=order.id)
            if order.latched_sequence is not None:
                raise Conflict(
                    "The exit has fired and its close is being tried: it cannot be amended.", order_id=order.id
                )
            if order.status not in (OrderStatus.PENDING, OrderStatus.WAITING):
                raise Conflict(f"The order is {order.status} and can no longer be amended.", order_id=order.id)
            pair = self._market.pair(order.pair_id)
            quote = self._market.fresh_quote(pair)
            exit_terms = amended(terms_of(order), changes)
            position = await work.positions.of_trade(trade.id)
            price = self._market.watched_price(pair, exit_terms, trade.side, quote)
            bounds = await _bounds(work, trade, position, pair, price)
            has_begun = not changes.names_activation and _has_begun(order, trade.side, price)
            judged = replace(exit_terms, activation_price=None) if has_begun else exit_terms
            check_exit(judged, trade.side, pair, bounds.reference, bounds.liquidation)
            for name in ExitRequest.__dataclass_fields__:
                setattr(order, name, getattr(exit_terms, name))
            order.version += 1
            if order.status is OrderStatus.PENDING:
                _arm(order, quote, price)
                order.activated_sequence = quote.tick.sequence if has_begun else None
            work.emit(order_event(EventType.ORDER_UPDATED, order, "amended"))
            self._tell(work, order, position)
        return order

    async def cancel(self, user_id: int, order_id: int) -> Order:
        """Cancel an exit that has not fired, or what an entry has not filled."""
        intent_id: int | None = None
        async with self._uow() as work:
            order, trade = await self._locked(work, user_id, order_id)
            await require_sending(work, trade)
            if order.role is OrderRole.ENTRY:
                order, intent_id = await self._trading.write_cancel(work, trade, "user")
            elif order.role is OrderRole.EXIT and order.status in (OrderStatus.PENDING, OrderStatus.WAITING):
                await self.write_cancel(work, order, "user")
            else:
                raise Conflict(f"The order is {order.status} and can no longer be cancelled.", order_id=order.id)
        if intent_id is None:
            return order
        await buggify("cancel.committed")
        await self._execution.send([intent_id])
        return (await self._trading.placed(user_id, order_id)).order

    async def write_cancel(self, work: UnitOfWork, order: Order, reason: str) -> None:
        """Cancel an exit that is pending or waiting; the caller has locked its trade and it."""
        work.orders.move_locked(order, OrderStatus.CANCELLED, reason=reason, version=order.version + 1)
        work.emit(order_event(EventType.ORDER_CANCELLED, order, reason))
        self._tell(work, order, await work.positions.of_trade(order.trade_id or 0))

    @staticmethod
    async def _locked(work: UnitOfWork, user_id: int, order_id: int) -> tuple[Order, Trade]:
        found = await work.orders.owned(user_id, order_id)
        if found is None or found.trade_id is None:
            raise NotFound(order_id=order_id)
        trade = (await work.trades.locked([found.trade_id]))[found.trade_id]
        order = (await work.orders.locked([order_id]))[order_id]
        return order, trade

    @staticmethod
    def _tell(work: UnitOfWork, order: Order, position: Position | None) -> None:
        if position is not None and position.is_open:
            work.emit(position_event(position, "exits"))
        hint_exits(work, [order])


def terms_of(order: Order) -> ExitTerms:
    """The terms an exit's row holds."""
    terms = {name: getattr(order, name) for name in ExitRequest.__dataclass_fields__}
    return ExitTerms(order_type=order.order_type, **terms)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What levels are judged by: the price now, or at the entry of a trade that is not filled; and what is for sale."""

    reference: Decimal
    liquidation: Decimal | None
    size: Decimal


async def _bounds(work: UnitOfWork, trade: Trade, position: Position | None, pair: Pair, price: Decimal) -> _Bounds:
    if position is not None:
        return _Bounds(price, position.liquidation_price, trade.size)
    entry = await work.orders.entry_of(trade.id)
    if entry is None:
        raise LookupError(f"trade {trade.id} has no entry")
    reference = price
    if entry.order_type is OrderType.LIMIT and entry.price is not None:
        reference = entry.price
    liquidation = liquidation_price(
        trade.side, entry.quantity, reference, trade.collateral, pair.maintenance_margin_rate
    )
    return _Bounds(reference, liquidation, entry.quantity)


def _has_begun(order: Order, side: PositionSide, price: Decimal) -> bool:
    """Whether an activation need not be waited for any more: the stop trails, or the price has just reached it."""
    activation = order.activation_price
    if activation is None or order.status is OrderStatus.WAITING:
        return False
    return not awaits_activation(order) or as_long(side, price) >= as_long(side, activation)


def _arm(order: Order, quote: Quote, price: Decimal) -> None:
    """Watch from this tick on: its price on the watched series starts the watermark and cannot fire."""
    order.armed_sequence = quote.tick.sequence
    order.armed_price = price
    order.released_sequence = None
    order.held_since = None
