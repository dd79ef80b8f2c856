"""Books what venues say: a result or a fill becomes rows and events in one transaction, each at most once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from loguru import logger

from app.core.clock import Clock
from app.core.json import encode
from app.domain.enums import IntentKind, IntentStatus, OrderRole, OrderStatus, PositionSide, TradeStatus
from app.domain.events import EventType, order_event, position_event, trade_event
from app.domain.lifecycle import LIVE_ORDER, OPEN_TRADE
from app.domain.money import ZERO, stored
from app.domain.positions import pnl_of
from app.domain.prices import Tick
from app.domain.trading import TradeResult, VenueFill, VenueOutcome
from app.models.trading import Intent, Order, Position, Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.live_stops import is_trailing
from app.services.providers.base import QuoteBoard

EXITS_TOPIC = "exits.changed"
RETRY_FIRST = timedelta(milliseconds=200)
RETRY_LONGEST = timedelta(seconds=1)
_TRIGGER_FACTS = (
    "triggered_leg",
    "trigger_price",
    "trigger_source",
    "trigger_sequence",
    "triggered_at",
    "watermark",
)
_UNFILLED = frozenset({TradeStatus.PENDING, TradeStatus.SUBMITTED})


def settled_topic(order_id: int) -> str:
    """The topic that says something was booked on an order."""
    return f"order.{order_id}.booked"


def hint_exits(work: UnitOfWork, orders: Iterable[Order]) -> None:
    """Tell order engines, once committed, that exits changed."""
    ids = [order.id for order in orders if order.role is OrderRole.EXIT]
    if ids:
        work.hint(EXITS_TOPIC, encode(ids))


def retry_delay(attempt: int) -> timedelta:
    """How long a refused protective close waits before its next attempt: 0.2 s doubling to 1 s."""
    return min(RETRY_FIRST * (1 << min(attempt, 8)), RETRY_LONGEST)


@dataclass(slots=True)
class _Desk:
    """The locked rows of one trade, and the work they are changed in."""

    work: UnitOfWork
    now: datetime
    trade: Trade
    orders: list[Order]

    def order(self, order_id: int) -> Order:
        return next(order for order in self.orders if order.id == order_id)

    def exits(self) -> list[Order]:
        return [order for order in self.orders if order.role is OrderRole.EXIT]

    def end_exits(self, reason: str, *, but: Order | None = None) -> None:
        """Cancel the exits that have not been sent; those in flight end by their own result."""
        for exit_order in self.exits():
            if exit_order is but or exit_order.status not in (
                OrderStatus.WAITING,
                OrderStatus.PENDING,
                OrderStatus.TRIGGERED,
            ):
                continue
            self.move(exit_order, OrderStatus.CANCELLED, EventType.ORDER_CANCELLED, reason)

    def move(self, order: Order, target: OrderStatus, event: EventType, reason: str | None, **values: object) -> None:
        self.work.orders.move_locked(order, target, reason=reason, **values)
        self.work.emit(order_event(event, order, reason))

    def move_trade(self, target: TradeStatus, event: EventType, reason: str | None, **values: object) -> None:
        self.work.trades.move_locked(self.trade, target, **values)
        self.work.emit(trade_event(event, self.trade, reason))


class BookingService:
    """The one place where venues' words change orders, trades and positions."""

    def __init__(self, uow: UnitOfWorkFactory, board: QuoteBoard, clock: Clock) -> None:
        self._uow = uow
        self._board = board
        self._clock = clock

    async def book(self, intent_id: int, result: TradeResult) -> None:
        """Book a venue's word on an intent; saying it twice changes nothing."""
        async with self._uow() as work:
            intent = await work.intents.get(intent_id)
            if intent is None:
                raise LookupError(f"the venue told of intent {intent_id}, which was never written")
            desk = await self._desk(work, intent.trade_id)
            intent = await work.intents.get_for_update(intent_id) or intent
            if intent.kind is IntentKind.CANCEL:
                entry_intent = await work.intents.get_for_update(result.client_id)
                self._finish(work, intent, IntentStatus.DONE, None)
                intent = entry_intent or intent
            await self._apply(desk, intent, result)
            hint_exits(work, desk.orders)
            work.hint(settled_topic(intent.order_id), b"")

    async def book_fill(self, fill: VenueFill) -> None:
        """Book an execution that was no answer to a call: a resting order's fill, or a liquidation."""
        if fill.client_id is not None:
            outcome = VenueOutcome.FILLED
            await self.book(
                fill.client_id, TradeResult(fill.client_id, outcome, None, fill.venue_trade_index, fills=(fill,))
            )
            return
        async with self._uow() as work:
            found = await work.trades.by_venue_index(fill.venue_account_id, fill.venue_trade_index)
            if found is None:
                # Its entry is not booked yet; settlement books the entry first and then finds this fill again.
                return
            desk = await self._desk(work, found.id)
            if desk.trade.status in OPEN_TRADE and await self._record(desk, fill, None):
                await self._liquidated(desk, fill)
                hint_exits(work, desk.orders)

    async def _desk(self, work: UnitOfWork, trade_id: int) -> _Desk:
        trade = (await work.trades.locked([trade_id]))[trade_id]
        return _Desk(work, self._clock.now(), trade, list(await work.orders.of_trade_locked(trade_id)))

    async def _apply(self, desk: _Desk, intent: Intent, result: TradeResult) -> None:
        order = desk.order(intent.order_id)
        if result.transaction_hash is not None:
            intent.transaction_hash = order.transaction_hash = result.transaction_hash
            if order.role is not OrderRole.EXIT or desk.trade.transaction_hash is None:
                desk.trade.transaction_hash = result.transaction_hash
        for fill in result.fills:
            if await self._record(desk, fill, order):
                is_last = result.outcome is VenueOutcome.FILLED and fill is result.fills[-1]
                await self._filled(desk, order, fill, is_last=is_last)
        match result.outcome:
            case VenueOutcome.FILLED:
                self._finish(desk.work, intent, IntentStatus.DONE, None)
            case VenueOutcome.RESTING if intent.status is IntentStatus.SENT:
                self._rests(desk, intent, order)
            case VenueOutcome.REJECTED if intent.status is not IntentStatus.REJECTED:
                self._finish(desk.work, intent, IntentStatus.REJECTED, result.reason)
                self._refused(desk, order, (result.reason or "VENUE_REFUSED")[:64])
            case VenueOutcome.CANCELLED if intent.status is not IntentStatus.REJECTED:
                self._finish(desk.work, intent, IntentStatus.REJECTED, "CANCELLED")
                self._entry_cancelled(desk, order)
            case _:
                return

    @staticmethod
    def _finish(work: UnitOfWork, intent: Intent, status: IntentStatus, reason: str | None) -> None:
        if intent.status is not status:
            work.intents.move_locked(intent, status, reason=reason, next_run_at=None)

    async def _record(self, desk: _Desk, fill: VenueFill, order: Order | None) -> bool:
        return await desk.work.fills.add_once(
            user_id=desk.trade.user_id,
            venue_account_id=fill.venue_account_id,
            order_id=order.id if order else None,
            trade_id=desk.trade.id,
            venue_fill_id=fill.fill_id,
            side=fill.side,
            quantity=fill.quantity,
            price=fill.price,
            fee=fill.fee,
            pnl=fill.pnl,
            is_close=fill.is_close,
            is_liquidation=fill.is_liquidation,
        )

    def _rests(self, desk: _Desk, intent: Intent, order: Order) -> None:
        desk.work.intents.move_locked(intent, IntentStatus.RESTING, next_run_at=desk.now + timedelta(seconds=30))
        if order.status is OrderStatus.SUBMITTED or order.status is OrderStatus.UNKNOWN:
            desk.move(order, OrderStatus.PENDING, EventType.ORDER_UPDATED, "resting", unknown_since=None)

    async def _filled(self, desk: _Desk, order: Order, fill: VenueFill, *, is_last: bool) -> None:
        before = order.filled_quantity
        order.average_price = _average(order.average_price, before, fill.price, fill.quantity)
        order.filled_quantity = before + fill.quantity
        order.quantity = order.filled_quantity if is_last else max(order.quantity, order.filled_quantity)
        order.fee += fill.fee
        order.unknown_since = None
        desk.trade.fees += fill.fee
        if is_last:
            desk.move(order, OrderStatus.FILLED, EventType.ORDER_FILLED, None)
        else:
            desk.move(order, OrderStatus.PARTIALLY_FILLED, EventType.ORDER_UPDATED, "part_filled")
        if fill.is_close:
            await self._reduced(desk, order, fill)
        else:
            await self._entered(desk, fill)

    async def _entered(self, desk: _Desk, fill: VenueFill) -> None:
        trade = desk.trade
        trade.entry_price = _average(trade.entry_price, trade.size, fill.price, fill.quantity)
        trade.size += fill.quantity
        trade.venue_trade_index = fill.venue_trade_index
        trade.pnl = trade.pnl or ZERO
        is_first = trade.status not in OPEN_TRADE
        if is_first:
            desk.move_trade(TradeStatus.OPEN, EventType.TRADE_EXECUTED, None, opened_at=desk.now)
        else:
            desk.work.emit(trade_event(EventType.TRADE_UPDATED, trade, "part_filled"))
        for exit_order in desk.exits():
            exit_order.quantity = trade.size
            if is_first and exit_order.status in (OrderStatus.WAITING, OrderStatus.CANCELLED):
                desk.move(
                    exit_order,
                    OrderStatus.PENDING,
                    EventType.ORDER_UPDATED,
                    "armed",
                    armed_sequence=fill.sequence,
                    armed_price=fill.mark_price,
                    version=exit_order.version + 1,
                )
        await self._hold(desk, fill, "opened" if is_first else "grown")

    async def _hold(self, desk: _Desk, fill: VenueFill, reason: str) -> None:
        """Bring the position row to what the venue holds after a fill."""
        trade = desk.trade
        position = await desk.work.positions.of_trade(trade.id)
        if position is None:
            position = Position(
                user_id=trade.user_id,
                trade_id=trade.id,
                pair_id=trade.pair_id,
                provider=trade.provider,
                asset=trade.asset,
                side=trade.side,
                leverage=trade.leverage,
            )
        position.size = trade.size
        position.entry_price = trade.entry_price or fill.price
        position.margin = fill.margin_left
        position.liquidation_price = fill.liquidation_price if trade.size else None
        position.current_price = trade.current_price = fill.mark_price
        position.unrealized_pnl = pnl_of(position.side, position.size, position.entry_price, fill.mark_price)
        position.is_open = trade.size > ZERO
        position.closed_at = None if position.is_open else desk.now
        await desk.work.positions.add(position)
        desk.work.emit(position_event(position, reason))

    async def _reduced(self, desk: _Desk, order: Order, fill: VenueFill) -> None:
        trade = desk.trade
        self._take_profit_or_loss(desk, fill)
        if trade.size > ZERO:
            if order.status is OrderStatus.FILLED:
                desk.move_trade(TradeStatus.OPEN, EventType.TRADE_UPDATED, "part_closed")
            for exit_order in desk.exits():
                if exit_order.status in LIVE_ORDER and exit_order is not order:
                    exit_order.quantity = trade.size
            await self._hold(desk, fill, "reduced")
            return
        reason = order.triggered_leg or "user"
        desk.move_trade(TradeStatus.CLOSED, EventType.TRADE_CLOSED, reason, closed_at=desk.now, close_reason=reason)
        desk.end_exits("trade_closed", but=order)
        await self._hold(desk, fill, "closed")

    async def _liquidated(self, desk: _Desk, fill: VenueFill) -> None:
        desk.trade.fees += fill.fee
        self._take_profit_or_loss(desk, fill)
        desk.move_trade(
            TradeStatus.LIQUIDATED,
            EventType.TRADE_LIQUIDATED,
            "liquidated",
            closed_at=desk.now,
            close_reason="liquidated",
        )
        await desk.work.intents.withdraw_unsent(desk.trade.id, "liquidated", IntentKind.CLOSE)
        desk.end_exits("liquidated")
        for order in desk.orders:
            if order.role is OrderRole.CLOSE and order.status is OrderStatus.PENDING:
                desk.move(order, OrderStatus.REJECTED, EventType.ORDER_REJECTED, "liquidated")
        await self._hold(desk, fill, "liquidated")

    @staticmethod
    def _take_profit_or_loss(desk: _Desk, fill: VenueFill) -> None:
        trade = desk.trade
        opened = sum((order.filled_quantity for order in desk.orders if order.role is OrderRole.ENTRY), ZERO)
        trade.exit_price = _average(trade.exit_price, opened - trade.size, fill.price, fill.quantity)
        trade.size -= fill.quantity
        trade.pnl = (trade.pnl or ZERO) + fill.pnl

    def _refused(self, desk: _Desk, order: Order, reason: str) -> None:
        if order.role is OrderRole.ENTRY:
            desk.move(order, OrderStatus.REJECTED, EventType.ORDER_REJECTED, reason)
            if desk.trade.status in _UNFILLED:
                desk.move_trade(TradeStatus.FAILED, EventType.TRADE_FAILED, reason, close_reason=reason[:32])
            desk.end_exits(reason)
            return
        if order.role is OrderRole.CLOSE:
            desk.move(order, OrderStatus.REJECTED, EventType.ORDER_REJECTED, reason)
        elif desk.trade.status in OPEN_TRADE:
            self._rearm(desk, order, reason)
        else:
            desk.move(order, OrderStatus.CANCELLED, EventType.ORDER_CANCELLED, desk.trade.close_reason)
        if desk.trade.status is TradeStatus.CLOSING:
            desk.move_trade(TradeStatus.OPEN, EventType.TRADE_UPDATED, reason)

    def _rearm(self, desk: _Desk, order: Order, reason: str) -> None:
        """A refused protective close is never final while its trade is open.

        Its crossing is kept and claimed again; where the market closed it is let go, and the first tick from now on
        decides.
        """
        if reason == "MARKET_CLOSED":
            seen = self._board.kept(order.pair_id, order.trigger_sequence or 0)
            changes: dict[str, object] = {
                "released_sequence": seen[-1].sequence if seen else order.trigger_sequence,
                "armed_price": _ratcheted(order, desk.trade.side, seen),
                "stop_price": None if is_trailing(order) else order.stop_price,
                "latched_sequence": None,
                "next_run_at": None,
                **dict.fromkeys(_TRIGGER_FACTS),
            }
        else:
            changes = {
                "latched_sequence": order.trigger_sequence,
                "next_run_at": desk.now + retry_delay(order.attempt),
            }
        changes |= {"attempt": order.attempt + 1, "version": order.version + 1}
        desk.move(order, OrderStatus.PENDING, EventType.ORDER_UPDATED, "re-armed", **changes)
        logger.warning("Close of order {order} was refused: {reason}", order=order.id, reason=reason)

    def _entry_cancelled(self, desk: _Desk, order: Order) -> None:
        expired = order.reason == "expires_at"
        target = OrderStatus.EXPIRED if expired else OrderStatus.CANCELLED
        event = EventType.ORDER_EXPIRED if expired else EventType.ORDER_CANCELLED
        desk.move(order, target, event, order.reason)
        if desk.trade.status in _UNFILLED:
            desk.move_trade(TradeStatus.CANCELLED, EventType.TRADE_UPDATED, "entry_cancelled", close_reason="cancelled")
            desk.end_exits("entry_cancelled")


def _average(price: Decimal | None, quantity: Decimal, new_price: Decimal, new_quantity: Decimal) -> Decimal:
    """The average price of two quantities."""
    if price is None or quantity == ZERO:
        return new_price
    return stored((price * quantity + new_price * new_quantity) / (quantity + new_quantity))


def _ratcheted(order: Order, side: PositionSide, seen: Sequence[Tick]) -> Decimal | None:
    """The watermark of a trailing stop that fired and was let go, moved on by the ticks since; else the armed price."""
    if order.watermark is None:
        return order.armed_price
    prices = [price for tick in seen if (price := tick.price_by(order.trigger_by, side)) is not None]
    best = max if side is PositionSide.LONG else min
    return best([order.watermark, *prices])
