"""The locked rows of one trade, and the ways in which a booking changes them, each told by its event."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from app.domain.enums import IntentStatus, OrderRole, OrderStatus, TradeStatus
from app.domain.events import EventType, order_event, position_event, trade_event
from app.domain.lifecycle import LIVE_ORDER, OPEN_TRADE, UNFILLED_TRADE
from app.domain.money import ZERO, credit_usdc, stored
from app.domain.positions import pnl_of
from app.domain.trading import VenueFill
from app.models.trading import Intent, Order, Position, Trade
from app.repositories.unit_of_work import UnitOfWork

# The reason of exits that were cancelled with their entry: they alone come back when it fills after all.
ENTRY_CANCELLED = "entry_cancelled"
LIQUIDATED = "liquidated"
_UNSENT = (OrderStatus.WAITING, OrderStatus.PENDING, OrderStatus.TRIGGERED)


@dataclass(slots=True)
class BookedTrade:
    """A trade and its orders, locked, and the work they are changed in."""

    work: UnitOfWork
    now: datetime
    trade: Trade
    orders: list[Order]
    # The other open trades of the same position, where the venue nets; locked too.
    siblings: list["BookedTrade"] = field(default_factory=list)

    def order(self, order_id: int) -> Order:
        """The order of an id."""
        return next(order for order in self.orders if order.id == order_id)

    @property
    def entry(self) -> Order:
        """The order that opens the trade."""
        return next(order for order in self.orders if order.role is OrderRole.ENTRY)

    @property
    def entry_is_live(self) -> bool:
        """Whether the entry can still fill."""
        return self.entry.status in LIVE_ORDER

    def exits(self) -> list[Order]:
        """The exits, whatever their state."""
        return [order for order in self.orders if order.role is OrderRole.EXIT]

    def end_exits(self, reason: str) -> None:
        """End the exits that have not been sent; those in flight end by their own result."""
        for exit_order in self.exits():
            if exit_order.status not in _UNSENT:
                continue
            if exit_order.latched_sequence is not None and exit_order.filled_quantity == exit_order.quantity:
                # It closed all there was, and waited for what the entry might still fill.
                self.move(exit_order, OrderStatus.FILLED, EventType.ORDER_FILLED, None, latched_sequence=None)
            else:
                self.move(exit_order, OrderStatus.CANCELLED, EventType.ORDER_CANCELLED, reason)

    def move(self, order: Order, target: OrderStatus, event: EventType, reason: str | None, **values: object) -> None:
        """Move an order and tell of it."""
        self.work.orders.move_locked(order, target, reason=reason, **values)
        self.work.emit(order_event(event, order, reason))

    def move_trade(self, target: TradeStatus, event: EventType, reason: str | None, **values: object) -> None:
        """Move the trade and tell of it."""
        self.work.trades.move_locked(self.trade, target, **values)
        self.work.emit(trade_event(event, self.trade, reason))

    def reopen(self, reason: str) -> None:
        """A closing effect ended and left something open; one that has nothing open waits for its entry's end."""
        if self.trade.status is TradeStatus.CLOSING and self.trade.size > ZERO:
            self.move_trade(TradeStatus.OPEN, EventType.TRADE_UPDATED, reason, close_reason=None)

    def end(self) -> None:
        """Nothing is open and the entry can fill no more: the trade is over, for the reason that it shows."""
        reason = self.trade.close_reason or "user"
        if reason == LIQUIDATED:
            status, event, told = TradeStatus.LIQUIDATED, EventType.TRADE_LIQUIDATED, LIQUIDATED
        else:
            status, event, told = TradeStatus.CLOSED, EventType.TRADE_CLOSED, "trade_closed"
        self.move_trade(status, event, reason, closed_at=self.now, close_reason=reason)
        self.end_exits(told)

    def finish(self, intent: Intent, status: IntentStatus, reason: str | None) -> None:
        """End an intent; saying it twice changes nothing."""
        if intent.status is not status:
            self.work.intents.move_locked(intent, status, reason=reason, next_run_at=None)

    def name_transaction(self, intent: Intent, order: Order, transaction_hash: str | None) -> None:
        """Note the transaction that an effect became, where the venue tells one."""
        if transaction_hash is not None:
            intent.transaction_hash = order.transaction_hash = transaction_hash
            if order.role is not OrderRole.EXIT or self.trade.transaction_hash is None:
                self.trade.transaction_hash = transaction_hash

    def cancel_entry(self, entry: Order, reason: str | None) -> None:
        """The entry can fill no more; a trade without a fill and its exits end with it."""
        is_expired = reason == "expires_at"
        target = OrderStatus.EXPIRED if is_expired else OrderStatus.CANCELLED
        self.move(entry, target, EventType.ORDER_EXPIRED if is_expired else EventType.ORDER_CANCELLED, reason)
        if self.trade.status in UNFILLED_TRADE:
            self.move_trade(TradeStatus.CANCELLED, EventType.TRADE_UPDATED, ENTRY_CANCELLED, close_reason="cancelled")
            self.end_exits(ENTRY_CANCELLED)

    async def record(self, fill: VenueFill, order: Order | None) -> bool:
        """Write a fill down; whether it was new."""
        return await self.work.fills.add_once(
            user_id=self.trade.user_id,
            venue_account_id=fill.venue_account_id,
            order_id=order.id if order else None,
            trade_id=self.trade.id,
            venue_fill_id=fill.fill_id,
            side=fill.side,
            quantity=fill.quantity,
            price=fill.price,
            fee=fill.fee,
            pnl=fill.pnl,
            is_close=fill.is_close,
            is_liquidation=fill.is_liquidation,
        )

    async def grow(self, fill: VenueFill, starts: Mapping[int, Decimal]) -> None:
        """An entry filled: the first fill opens the trade and arms its exits, each further one grows both.

        `starts` is the price of each exit's series at the tick of the fill, by order id.
        """
        trade = self.trade
        trade.entry_price = average(trade.entry_price, trade.size, fill.price, fill.quantity)
        trade.size += fill.quantity
        trade.venue_trade_index = fill.venue_trade_index
        trade.pnl = trade.pnl or ZERO
        is_first = trade.status not in OPEN_TRADE
        if is_first:
            self.move_trade(
                TradeStatus.OPEN, EventType.TRADE_EXECUTED, None, opened_at=self.now, closed_at=None, close_reason=None
            )
        else:
            self.work.emit(trade_event(EventType.TRADE_UPDATED, trade, "part_filled"))
        for exit_order in self.exits():
            if is_first and _comes_with_the_entry(exit_order):
                self._arm(exit_order, fill.sequence, starts[exit_order.id])
        self._scale_exits()
        await self.hold(fill, "opened" if is_first else "grown", is_first=is_first)

    def shrink(self, fill: VenueFill, but: Order | None) -> None:
        """A close filled: the result is realised, and the other exits are scaled to what is left."""
        trade = self.trade
        opened = sum((order.filled_quantity for order in self.orders if order.role is OrderRole.ENTRY), ZERO)
        trade.exit_price = average(trade.exit_price, opened - trade.size, fill.price, fill.quantity)
        trade.size -= fill.quantity
        trade.pnl = (trade.pnl or ZERO) + fill.pnl
        if trade.size > ZERO:
            self._scale_exits(but)

    async def hold(self, fill: VenueFill, reason: str, *, is_first: bool = False) -> None:
        """Bring the position row to what the venue holds after a fill; the first of a trade makes it."""
        trade = self.trade
        position = None if is_first else await self.work.positions.of_trade(trade.id)
        # What is told late describes a position that has changed since; a new one has its share of what is told.
        is_latest = position is None or fill.size_left == trade.size
        is_shared = fill.size_left > trade.size
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
        position.entry_price = _entry_price(trade, fill)
        if is_latest:
            margin = credit_usdc(fill.margin_left * trade.size / fill.size_left) if is_shared else fill.margin_left
            position.margin, position.liquidation_price = margin, fill.liquidation_price
        if not trade.size:
            position.margin, position.liquidation_price = ZERO, None
        position.current_price = trade.current_price = fill.mark_price
        position.unrealized_pnl = pnl_of(position.side, position.size, position.entry_price, fill.mark_price)
        position.is_open = trade.size > ZERO
        position.closed_at = None if position.is_open else self.now
        if position.id is None:
            await self.work.positions.add(position)
        self.work.emit(position_event(position, reason))

    def _arm(self, exit_order: Order, sequence: int, price: Decimal) -> None:
        self.move(
            exit_order,
            OrderStatus.PENDING,
            EventType.ORDER_UPDATED,
            "armed",
            quantity=self.trade.size,
            armed_sequence=sequence,
            armed_price=price,
            activated_sequence=None,
            version=exit_order.version + 1,
        )

    def _scale_exits(self, but: Order | None = None) -> None:
        """An exit is for all that is open, beside what it has closed itself."""
        for exit_order in self.exits():
            if exit_order is not but and exit_order.status in LIVE_ORDER:
                exit_order.quantity = exit_order.filled_quantity + self.trade.size


def _entry_price(trade: Trade, fill: VenueFill) -> Decimal:
    """What PnL counts from: the position's average where the fill tells of it as it is now, else the trade's own."""
    told = fill.entry_price if fill.size_left >= trade.size else None
    return told or trade.entry_price or fill.price


def _comes_with_the_entry(exit_order: Order) -> bool:
    is_back = exit_order.status is OrderStatus.CANCELLED and exit_order.reason == ENTRY_CANCELLED
    return is_back or exit_order.status is OrderStatus.WAITING


def average(price: Decimal | None, quantity: Decimal, new_price: Decimal, new_quantity: Decimal) -> Decimal:
    """The average price of two quantities."""
    if price is None or quantity == ZERO:
        return new_price
    return stored((price * quantity + new_price * new_quantity) / (quantity + new_quantity))
