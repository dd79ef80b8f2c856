"""Books what venues say: a result or a fill becomes rows and events in one transaction, each at most once."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import timedelta

from app.core.clock import Clock
from app.core.json import encode
from app.domain.enums import IntentKind, IntentStatus, OrderRole, OrderStatus, TradeStatus
from app.domain.events import EventType, order_event
from app.domain.intents import is_engines, is_whole
from app.domain.lifecycle import LIVE_ORDER, OPEN_TRADE, UNFILLED_TRADE
from app.domain.money import ZERO
from app.domain.trading import TradeResult, VenueFill, VenueOutcome, VenuePosition
from app.models.trading import Intent, Order
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.booked_trade import BookedTrade, average
from app.services.exit_rearming import has_rest, rearm
from app.services.held_exits import LET_GO
from app.services.netted_fills import lacks_fills, own_part, share_position, take_outside
from app.services.providers.base import QuoteBoard
from app.services.trade_closing import AT_ONCE, ATTEMPTS, REST_OF_ENTRY, conclude, emptied, try_again
from app.services.watched_prices import prices_at_fill

EXITS_TOPIC = "exits.changed"
LOOK_AT_RESTING = timedelta(seconds=30)
# Words after which more is to come: nobody who waits for the outcome is told of them.
_UNSETTLED = frozenset({VenueOutcome.ACCEPTED, VenueOutcome.PARTIALLY_FILLED})
_ENDED = frozenset({IntentStatus.DONE, IntentStatus.REJECTED})
# An order keeps these when a part of it fills: PENDING_CANCEL lasts until the venue's answer is known.
_MAY_FILL_ON = frozenset({OrderStatus.PARTIALLY_FILLED, OrderStatus.PENDING_CANCEL, OrderStatus.PENDING_REPLACE})


def settled_topic(order_id: int) -> str:
    """The topic that says something was booked on an order."""
    return f"order.{order_id}.booked"


def hint_exits(work: UnitOfWork, orders: Iterable[Order]) -> None:
    """Tell order engines, once committed, that exits changed."""
    ids = [order.id for order in orders if order.role is OrderRole.EXIT]
    if ids:
        work.hint(EXITS_TOPIC, encode(ids))


class BookingService:
    """The one place where venues' words change orders, trades and positions."""

    def __init__(self, uow: UnitOfWorkFactory, board: QuoteBoard, clock: Clock, netting: Collection[str] = ()) -> None:
        """Take the names of the venues that net: there, the trades of a pair share one position."""
        self._uow = uow
        self._board = board
        self._clock = clock
        self._netting = netting

    async def book(self, intent_id: int, result: TradeResult, *, tells_all: bool = True) -> None:
        """Book a venue's word on an intent; saying it twice changes nothing.

        `tells_all`: it lists every fill so far. Where it does not, an order that lacks some is asked about at once.
        """
        async with self._uow() as work:
            booked, intent = await self._lock_with_siblings(work, intent_id)
            if intent.kind is IntentKind.CANCEL:
                await self._book_cancel(booked, intent, result)
            else:
                if not tells_all and await lacks_fills(booked, intent, result):
                    result = replace(result, outcome=VenueOutcome.PARTIALLY_FILLED)
                    await work.intents.postpone(intent_id, AT_ONCE)
                await self._apply(booked, intent, result)
            for each in (booked, *booked.siblings):
                hint_exits(work, each.orders)
            if result.outcome not in _UNSETTLED:
                work.hint(settled_topic(intent.order_id), b"")

    async def refuse_unsent(self, intent_id: int, reason: str) -> bool:
        """End an intent that nobody has sent as if its venue had refused it; False where somebody has."""
        async with self._uow() as work:
            booked, intent = await self._lock(work, intent_id)
            if intent.status is not IntentStatus.NEW:
                return False
            result = TradeResult(intent.id, VenueOutcome.REJECTED, reason=reason)
            if intent.kind is IntentKind.CANCEL:
                await self._book_cancel(booked, intent, result)
            else:
                await self._apply(booked, intent, result)
            hint_exits(work, booked.orders)
            work.hint(settled_topic(intent.order_id), b"")
        return True

    async def book_fill(self, fill: VenueFill, *, is_in_order: bool = False) -> None:
        """Book an execution that was no answer to a call: a resting order's fill, a liquidation, a cut from outside.

        `is_in_order`: every execution before it has been booked, or tried to be. What nobody here asked for is taken
        from the trades of its position, the oldest first.
        """
        if fill.client_id is not None:
            outcome = VenueOutcome.FILLED if fill.is_last else VenueOutcome.PARTIALLY_FILLED
            result = TradeResult(fill.client_id, outcome, None, fill.venue_trade_index, fills=(fill,))
            await self.book(fill.client_id, result, tells_all=False)
            return
        async with self._uow() as work:
            found = await work.trades.all_by_venue_index(fill.venue_account_id, fill.venue_trade_index)
            # Where there is none, its entry is not booked yet; settlement books that first and finds this fill again.
            holders = await self._lock_all(work, [trade.id for trade in found])
            await take_outside(fill, self._board, holders, is_in_order=is_in_order)
            if holders and holders[0].trade.provider in self._netting:
                await share_position(fill, holders)
            for booked in holders:
                hint_exits(work, booked.orders)

    async def book_margin(self, position: VenuePosition) -> None:
        """Bring what trades show of the margin of their position to what the venue says; sizes are not touched."""
        async with self._uow() as work:
            found = await work.trades.all_by_venue_index(position.venue_account_id, position.venue_trade_index)
            await share_position(position, await self._lock_all(work, [trade.id for trade in found]))

    async def _lock(self, work: UnitOfWork, intent_id: int) -> tuple[BookedTrade, Intent]:
        """An intent, and the trade that it is about."""
        trade = await work.trades.locked_of(intent_id)
        if trade is None:
            raise LookupError(f"intent {intent_id} was never written")
        intent, orders = await work.intents.with_orders(intent_id)
        return BookedTrade(work, self._clock.now(), trade, orders), intent

    async def _lock_all(self, work: UnitOfWork, trade_ids: Collection[int]) -> list[BookedTrade]:
        now = self._clock.now()
        trades = await work.trades.locked(sorted(trade_ids))
        orders = await work.orders.of_trades_locked(list(trades))
        return [BookedTrade(work, now, trade, orders[trade_id]) for trade_id, trade in trades.items()]

    async def _lock_with_siblings(self, work: UnitOfWork, intent_id: int) -> tuple[BookedTrade, Intent]:
        """An intent with its trade, and on a venue that nets the others of its position, which it changes too."""
        found = await work.intents.get(intent_id) if self._netting else None
        if found is None or found.provider not in self._netting:
            return await self._lock(work, intent_id)
        return await self._lock_netted(work, found)

    async def _lock_netted(self, work: UnitOfWork, intent: Intent) -> tuple[BookedTrade, Intent]:
        await work.trades.lock_pair(intent.venue_account_id, intent.pair_id)
        shared = await work.trades.open_on_pair(intent.venue_account_id, intent.pair_id)
        locked = await self._lock_all(work, {intent.trade_id, *shared})
        booked = next(each for each in locked if each.trade.id == intent.trade_id)
        booked.siblings = [each for each in locked if each is not booked]
        return booked, await work.intents.get_for_update(intent.id) or intent

    async def _book_cancel(self, booked: BookedTrade, cancel: Intent, result: TradeResult) -> None:
        """A cancel ends by what became of its order; one that is refused, or was lost, leaves it as it is."""
        order = booked.order(cancel.order_id)
        if result.outcome is VenueOutcome.REJECTED:
            booked.finish(cancel, IntentStatus.REJECTED, _reason(result))
            if order.status is OrderStatus.PENDING_CANCEL:
                booked.move(order, _before_cancel(order), EventType.ORDER_UPDATED, "cancel_failed")
            await conclude(booked)
            return
        if result.outcome in (VenueOutcome.CANCELLED, VenueOutcome.FILLED):
            booked.finish(cancel, IntentStatus.DONE, None)
        intent = await booked.work.intents.get_for_update(result.client_id)
        if intent is not None:
            await self._apply(booked, intent, result)

    async def _apply(self, booked: BookedTrade, intent: Intent, result: TradeResult) -> None:
        order = booked.order(intent.order_id)
        booked.name_transaction(intent, order, result.transaction_hash)
        leaves_rest = not is_whole(intent.payload)
        was_done = intent.status is IntentStatus.DONE
        if result.outcome is VenueOutcome.FILLED:
            # Before its fills, so that all that they change is written together.
            booked.finish(intent, IntentStatus.DONE, None)
        is_news = await self._take_fills(booked, order, result, leaves_rest=leaves_rest)
        match result.outcome:
            case VenueOutcome.FILLED if is_news or not was_done:
                await self._complete(booked, order, leaves_rest=leaves_rest)
            case VenueOutcome.RESTING if intent.status is IntentStatus.SENT:
                self._rests(booked, intent, order)
            case VenueOutcome.PARTIALLY_FILLED if _goes_on(intent, is_news=is_news):
                look_at = booked.work.intents.due_in(LOOK_AT_RESTING)
                booked.work.intents.move_locked(intent, IntentStatus.RESTING, next_run_at=look_at)
            case VenueOutcome.REJECTED | VenueOutcome.CANCELLED if _ends(intent, order, is_news=is_news):
                booked.finish(intent, IntentStatus.REJECTED, _reason(result))
                order.refusal_details = result.details
                await self._ended(booked, order, intent, result)
        await conclude(booked)

    async def _take_fills(self, booked: BookedTrade, order: Order, result: TradeResult, *, leaves_rest: bool) -> bool:
        """Book those of a result's fills that are not booked yet; whether there was one."""
        is_news = False
        for fill in result.fills:
            own = await own_part(booked, self._board, fill) if fill.is_close else fill
            if own is not None and await booked.record(own, order):
                is_news = True
                is_last = result.outcome is VenueOutcome.FILLED and fill is result.fills[-1]
                await self._filled(booked, order, own, is_last=is_last, leaves_rest=leaves_rest)
                if booked.trade.provider in self._netting:
                    await share_position(fill, [booked, *booked.siblings])
        return is_news

    @staticmethod
    def _rests(booked: BookedTrade, intent: Intent, order: Order) -> None:
        look_at = booked.work.intents.due_in(LOOK_AT_RESTING)
        booked.work.intents.move_locked(intent, IntentStatus.RESTING, next_run_at=look_at)
        if order.status is OrderStatus.SUBMITTED or order.status is OrderStatus.UNKNOWN:
            booked.move(order, OrderStatus.PENDING, EventType.ORDER_UPDATED, "resting", unknown_since=None)

    async def _filled(
        self, booked: BookedTrade, order: Order, fill: VenueFill, *, is_last: bool, leaves_rest: bool
    ) -> None:
        """Book an execution; `leaves_rest`: what is open after its order's last one stays open."""
        is_exit = order.role is OrderRole.EXIT
        is_over = is_last and not (is_exit and (fill.quantity < booked.trade.size or booked.entry_is_live))
        before = order.filled_quantity
        order.average_price = average(order.average_price, before, fill.price, fill.quantity)
        order.filled_quantity = before + fill.quantity
        order.quantity = order.filled_quantity if is_last else max(order.quantity, order.filled_quantity)
        order.fee += fill.fee
        order.unknown_since = None
        booked.trade.fees += fill.fee
        if is_over:
            booked.move(order, OrderStatus.FILLED, EventType.ORDER_FILLED, None)
        elif order.status in _MAY_FILL_ON or order.status is OrderStatus.FILLED:
            booked.work.emit(order_event(EventType.ORDER_UPDATED, order, "part_filled"))
        else:
            booked.move(order, OrderStatus.PARTIALLY_FILLED, EventType.ORDER_UPDATED, "part_filled")
        if fill.is_close:
            await self._reduced(booked, order, fill, leaves_rest=leaves_rest)
        else:
            trade = booked.trade
            await booked.grow(
                fill,
                await prices_at_fill(booked.work, self._board, booked.exits(), trade.side, fill, trade.pair_id),
            )

    async def _complete(self, booked: BookedTrade, order: Order, *, leaves_rest: bool) -> None:
        """The order is done; its last fill may have been told before. An exit goes on while there is a rest."""
        if has_rest(booked, order):
            if order.status is not OrderStatus.PENDING:
                await rearm(booked, self._board, order, REST_OF_ENTRY)
            booked.reopen("part_closed")
        elif not order.filled_quantity:
            # Its trade was closed past it before it executed: all that it took came from the trade's siblings.
            if order.status in LIVE_ORDER:
                reason = booked.trade.close_reason
                booked.move(order, OrderStatus.CANCELLED, EventType.ORDER_CANCELLED, reason, unknown_since=None)
        elif order.status is not OrderStatus.FILLED:
            values: dict[str, object] = {"quantity": order.filled_quantity, "unknown_since": None}
            booked.move(order, OrderStatus.FILLED, EventType.ORDER_FILLED, None, **values)
            if order.role is OrderRole.CLOSE and leaves_rest:
                booked.reopen("part_closed")

    @staticmethod
    async def _reduced(booked: BookedTrade, order: Order, fill: VenueFill, *, leaves_rest: bool) -> None:
        booked.shrink(fill, order)
        if booked.trade.size > ZERO:
            if order.status is OrderStatus.FILLED and leaves_rest:
                booked.reopen("part_closed")
            await booked.hold(fill, "reduced")
            return
        await emptied(booked, order.triggered_leg or "user")
        await booked.hold(fill, "closed")

    async def _ended(self, booked: BookedTrade, order: Order, intent: Intent, result: TradeResult) -> None:
        """The venue refused an order, or gave up the rest of it."""
        outcome, reason = result.outcome, _reason(result)
        order.unknown_since = None
        is_refused = (
            outcome is VenueOutcome.REJECTED
            and not order.filled_quantity
            and order.status is not OrderStatus.PENDING_CANCEL
        )
        if order.role is OrderRole.ENTRY:
            _entry_ended(booked, order, reason, is_refused=is_refused)
            return
        if order.role is OrderRole.EXIT and booked.trade.status in OPEN_TRADE:
            await rearm(booked, self._board, order, reason)
        elif is_engines(intent.payload) and _is_worth_another(booked, order, reason):
            await try_again(booked, order)
            return
        elif order.role is OrderRole.CLOSE and is_refused:
            booked.move(order, OrderStatus.REJECTED, EventType.ORDER_REJECTED, reason)
        else:
            why = reason if order.role is OrderRole.CLOSE else booked.trade.close_reason
            booked.move(order, OrderStatus.CANCELLED, EventType.ORDER_CANCELLED, why)
        booked.reopen(reason)


def _entry_ended(booked: BookedTrade, order: Order, reason: str, *, is_refused: bool) -> None:
    if not is_refused:
        booked.cancel_entry(order, order.reason if order.status is OrderStatus.PENDING_CANCEL else reason)
        return
    booked.move(order, OrderStatus.REJECTED, EventType.ORDER_REJECTED, reason)
    if booked.trade.status in UNFILLED_TRADE:
        booked.move_trade(TradeStatus.FAILED, EventType.TRADE_FAILED, reason, close_reason=reason[:32])
    booked.end_exits(reason)


def _goes_on(intent: Intent, *, is_news: bool) -> bool:
    """Whether an entry that filled in part is now known to go on: it was sent, or had been given up."""
    is_given_up = intent.status is IntentStatus.REJECTED and is_news
    return intent.kind is IntentKind.OPEN and (intent.status is IntentStatus.SENT or is_given_up)


def _ends(intent: Intent, order: Order, *, is_news: bool) -> bool:
    """Whether the end of an intent is to be booked: it is not yet, or its order filled in part after it was."""
    goes_on = order.status is OrderStatus.PARTIALLY_FILLED and (is_news or order.role is not OrderRole.EXIT)
    return intent.status not in _ENDED or goes_on


def _is_worth_another(booked: BookedTrade, order: Order, reason: str) -> bool:
    is_closing = booked.trade.status is TradeStatus.CLOSING and booked.trade.size > ZERO
    return is_closing and reason not in LET_GO and order.attempt + 1 < ATTEMPTS


def _before_cancel(order: Order) -> OrderStatus:
    return OrderStatus.PARTIALLY_FILLED if order.filled_quantity else OrderStatus.PENDING


def _reason(result: TradeResult) -> str:
    return (result.reason or f"venue_{result.outcome}")[:64]
