"""Opens and closes trades: the request is checked, written with its intent, carried out, and answered."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial

from app.core.broadcast import Broadcast
from app.core.clock import Clock
from app.core.faults import buggify
from app.domain.enums import IntentKind, OrderRole, OrderStatus, OrderType, PositionSide, TradeStatus
from app.domain.errors import CATALOGUE, Conflict, Forbidden, InvalidRequest, MarqetError, NotFound, ProviderError
from app.domain.events import EventType, order_event, trade_event
from app.domain.idempotency import RequestKey
from app.domain.intents import OpenPayload, close_payload
from app.domain.lifecycle import LIVE_ORDER, OPEN_TRADE
from app.domain.money import ZERO
from app.domain.order_rules import check_open, check_times, close_size, side_of
from app.domain.order_terms import ExitTerms, OpenTerms, fingerprint
from app.domain.positions import fee_of, liquidation_price, size_of
from app.domain.prices import Quote
from app.models.market import Pair, VenueAccount
from app.models.trading import Intent, Order, Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.booked_trade import BookedTrade
from app.services.booking_service import settled_topic
from app.services.engine_watch import EngineWatch
from app.services.execution_service import ExecutionService
from app.services.market_view import MarketView
from app.services.trade_closing import ENTRY_NOT_WANTED, cancel_rest
from app.services.trade_rows import close_row, entry_row, exit_row, intent_row, trade_row
from app.services.trading_gate import Opening, opening_refusals, require_sending

# A request sends its own intents; settlement looks after those whose request died.
SEND_GRACE = timedelta(seconds=2)
_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# Reasons of a venue that are refusals of ours too: the request as it stood could not work.
_BAD_REQUEST = frozenset({"INSUFFICIENT_BALANCE", "SLIPPAGE_EXCEEDED", "SIZE_BELOW_MINIMUM", "EXPIRED_REQUEST"})


@dataclass(frozen=True, slots=True)
class Trader:
    """Who is trading: the user, and what the account allows."""

    user_id: int
    may_trade: bool
    is_sandbox: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """An order as it stands after its request, with the trade it is about and the exits that came with it.

    `pnl` is what an order that closes has realised, before fees, in USDC.
    """

    order: Order
    trade: Trade
    exits: Sequence[Order]
    pnl: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What opening would mean: prices in quote units, money in USDC."""

    pair: Pair
    venue: str
    side: PositionSide
    entry_price: Decimal
    size: Decimal
    notional: Decimal
    fee: Decimal
    margin: Decimal
    liquidation_price: Decimal
    free_balance: Decimal
    refusals: Sequence[MarqetError]


class TradingService:
    """Open, preview and close. Every method looks things up with their owner."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        market: MarketView,
        execution: ExecutionService,
        broadcast: Broadcast,
        clock: Clock,
        wait_seconds: float,
        engines: EngineWatch | None = None,
    ) -> None:
        """`engines` is asked before anything is opened, where no order engine runs in this process."""
        self._uow = uow
        self._market = market
        self._execution = execution
        self._broadcast = broadcast
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._engines = engines

    async def open_trade(self, trader: Trader, terms: OpenTerms, key: RequestKey | None) -> Placed:
        """Place an opening order with its exits; returns once the venue settled, or the wait is over.

        Raises the refusal, before anything is written or as the venue gave it; ProviderTimeout is never raised:
        an order whose outcome is unknown is returned as such.
        """
        # Looked for first: a repeated request is told its order, whatever the market has done since.
        async with self._uow() as work:
            order = await asked_before(work, trader.user_id, terms.client_order_id, fingerprint(terms))
        if order is None:
            pair, exits = await self._check(trader, terms)
            order, intent = await self._place(trader, terms, pair, exits, key)
            if intent is not None:
                await buggify("open.committed")
                await self._send_and_wait(order.id, partial(self._execution.start_new, [intent]))
        return await self.placed(trader.user_id, order.id)

    async def close_trade(
        self, trader: Trader, pair_id: int, trade_index: int, fraction: Decimal, key: RequestKey | None
    ) -> Placed:
        """Close a trade, whole or in part; one without any fill has its entry cancelled instead.

        A whole close has the rest of an entry that can still fill cancelled too; neither waits for the other.
        """
        async with self._uow() as work:
            trade = await work.trades.at(trader.user_id, pair_id, trade_index, lock=True)
            if trade is None:
                raise NotFound(code="TRADE_NOT_FOUND", pair_id=pair_id, trade_index=trade_index)
            await require_sending(work, trade)
            if trade.status in (TradeStatus.PENDING, TradeStatus.SUBMITTED):
                order, intent_id = await self.write_cancel(work, trade, "user")
                beside: Sequence[int] = []
            else:
                order, intent_id, beside = await self._write_close(work, trade, fraction)
            if key is not None:
                await work.idempotency.bind(trader.user_id, key, order.id)
        if intent_id is not None:
            await buggify("close.committed")
            await self._send_and_wait(order.id, partial(self._execution.start, [intent_id, *beside]))
        return await self.placed(trader.user_id, order.id)

    async def placed(self, user_id: int, order_id: int) -> Placed:
        """An order as it stands, with its trade and exits."""
        async with self._uow() as work:
            await work.stand_alone()
            found = await work.trades.of_order(user_id, order_id)
            if found is None:
                raise NotFound(order_id=order_id)
            trade, orders = found
            order = next(order for order in orders if order.id == order_id)
            pnl = await work.fills.realised_by(order_id) if order.role is OrderRole.CLOSE else None
        return Placed(order, trade, _exits_among(orders), pnl)

    async def preview(self, trader: Trader, terms: OpenTerms) -> Preview:
        """What opening would mean, and every refusal it would meet, with no effect."""
        pair = await self._market.find(terms.asset, trader.is_sandbox)
        quote = self._market.quote(pair)
        entry = _entry_price(terms, quote)
        refusals: list[MarqetError] = []
        exits: Sequence[ExitTerms] = ()
        try:
            _, exits = await self._check(trader, terms)
        except MarqetError as refusal:
            refusals.append(refusal)
        opening = await self._opening(terms, pair, len(exits))
        async with self._uow() as work:
            account = await work.venue_accounts.of_user(trader.user_id, pair.venue)
            refusals += await opening_refusals(work, trader.user_id, account, opening)
        size = size_of(terms.collateral, max(terms.leverage, 1), entry, pair.size_step)
        fee = fee_of(size, entry, pair.taker_fee_rate)
        balance = await self._market.venue_balance(trader.user_id, pair.venue)
        if balance.free < terms.collateral + fee:
            refusals.append(
                InvalidRequest(code="INSUFFICIENT_BALANCE", free=balance.free, needed=terms.collateral + fee)
            )
        side = side_of(is_long=terms.is_long)
        return Preview(
            pair=pair,
            venue=pair.venue,
            side=side,
            entry_price=entry,
            size=size,
            notional=size * entry,
            fee=fee,
            margin=terms.collateral,
            liquidation_price=liquidation_price(side, size, entry, terms.collateral, pair.maintenance_margin_rate)
            if size
            else ZERO,
            free_balance=balance.free,
            refusals=refusals,
        )

    async def _check(self, trader: Trader, terms: OpenTerms) -> tuple[Pair, list[ExitTerms]]:
        if not trader.may_trade:
            raise Forbidden(code="FEATURE_NOT_ENABLED", feature="trade")
        now = self._clock.now()
        check_times(now, expires_at=terms.expires_at, valid_until=terms.valid_until)
        pair = await self._market.find(terms.asset, trader.is_sandbox)
        if terms.asset_type is not None and terms.asset_type != pair.category.code:
            raise InvalidRequest(
                f"{terms.asset} is {pair.category} ({pair.category.code}), not asset_type {terms.asset_type}.",
                code="CONFLICTING_FIELDS",
                fields=["asset", "asset_type"],
            )
        if self._engines is not None:
            self._engines.require(pair.venue)
        is_resting = terms.order_type is OrderType.LIMIT
        quote = self._market.fresh_quote(pair) if is_resting else self._market.tradable_quote(pair)
        watched = self._market.watched_price(pair, terms, side_of(is_long=terms.is_long), quote)
        exits = check_open(terms, pair, _entry_price(terms, quote), watched)
        return pair, exits

    async def _place(
        self,
        trader: Trader,
        terms: OpenTerms,
        pair: Pair,
        exits: Sequence[ExitTerms],
        key: RequestKey | None,
    ) -> tuple[Order, Intent | None]:
        """Write an order and its intent; no intent where the same request was faster."""
        async with self._uow() as work:
            account = await work.venue_accounts.ensure_locked(trader.user_id, pair.venue)
            earlier = await asked_before(work, trader.user_id, terms.client_order_id, fingerprint(terms))
            if earlier is not None:
                return earlier, None
            order, intent = await self._write_open(work, account, terms, pair, exits)
            if key is not None:
                await work.idempotency.bind(trader.user_id, key, order.id)
        return order, intent

    async def _write_open(
        self, work: UnitOfWork, account: VenueAccount, terms: OpenTerms, pair: Pair, exits: Sequence[ExitTerms]
    ) -> tuple[Order, Intent]:
        trade_index = await work.trades.next_index(account.id, pair.id)
        opening = await self._opening(terms, pair, len(exits))
        for refusal in await opening_refusals(work, account.user_id, account, opening):
            raise refusal
        side = side_of(is_long=terms.is_long)
        entry = terms.price if terms.order_type is OrderType.LIMIT else self._market.quote(pair).tick.mark
        quantity = size_of(terms.collateral, terms.leverage, entry or ZERO, pair.size_step)
        trade = await work.trades.add(trade_row(terms, account, pair, trade_index))
        rows = [exit_row(asked, trade, quantity, OrderStatus.WAITING) for asked in exits]
        order = await work.orders.add_named(entry_row(terms, trade, quantity), rows)
        payload = OpenPayload(
            order_type=order.order_type,
            side=side,
            collateral=terms.collateral,
            leverage=terms.leverage,
            price=terms.price if order.order_type is OrderType.LIMIT else None,
            reference_price=terms.price or entry,
            max_slippage=terms.max_slippage,
        )
        intent = _intent(work, order, trade, IntentKind.OPEN, payload.to_json())
        intent.not_after = terms.valid_until
        await work.intents.add(intent)
        work.emit(*(order_event(EventType.ORDER_CREATED, row) for row in (order, *rows)))
        return order, intent

    async def _opening(self, terms: OpenTerms, pair: Pair, exits: int) -> Opening:
        return Opening(
            pair=pair,
            side=side_of(is_long=terms.is_long),
            leverage=terms.leverage,
            notional=terms.collateral * terms.leverage,
            orders=1 + exits,
            caps=self._market.caps(pair.venue),
            is_netted=await self._market.nets(pair.venue),
        )

    async def _write_close(self, work: UnitOfWork, trade: Trade, fraction: Decimal) -> tuple[Order, int, Sequence[int]]:
        """Write a close: its order, its intent, and the intents that go out beside it."""
        if trade.status is TradeStatus.CLOSING:
            raise Conflict(code="TRADE_CLOSING", trade_id=trade.id)
        if trade.status not in OPEN_TRADE or trade.venue_trade_index is None:
            raise NotFound(
                f"Trade {trade.pair_id}/{trade.trade_index} has ended: it is {trade.status}.",
                code="TRADE_NOT_FOUND",
                trade_id=trade.id,
                status=trade.status,
                closed_at=trade.closed_at,
            )
        pair = self._market.pair(trade.pair_id)
        self._market.tradable_quote(pair)
        size = close_size(trade.size, fraction, pair.size_step)
        order = await work.orders.add(close_row(trade, size))
        work.trades.move_locked(trade, TradeStatus.CLOSING)
        is_whole = size == trade.size
        payload = close_payload(trade.venue_trade_index, trade.side, size, is_whole=is_whole)
        intent = await work.intents.add(_intent(work, order, trade, IntentKind.CLOSE, payload))
        work.emit(order_event(EventType.ORDER_CREATED, order), trade_event(EventType.TRADE_UPDATED, trade, "closing"))
        rest = None
        if is_whole:
            booked = await self._booked(work, trade)
            rest = await cancel_rest(booked, ENTRY_NOT_WANTED, SEND_GRACE)
        return order, intent.id, [] if rest is None else [rest.id]

    async def write_cancel(self, work: UnitOfWork, trade: Trade, reason: str) -> tuple[Order, int | None]:
        """Ask for what an entry has not filled to be cancelled; the intent to send, if one is needed.

        The trade is locked by the caller. An entry that nobody has sent is cancelled at once.
        """
        booked = await self._booked(work, trade)
        entry = booked.entry
        if await work.intents.withdraw_unsent(trade.id, reason, IntentKind.OPEN):
            booked.cancel_entry(entry, reason)
            return entry, None
        intent = await cancel_rest(booked, reason, SEND_GRACE)
        if intent is None:
            raise Conflict(_why_no_cancel(entry.status), order_id=entry.id, status=entry.status)
        return entry, intent.id

    async def _booked(self, work: UnitOfWork, trade: Trade) -> BookedTrade:
        orders = await work.orders.of_trades_locked([trade.id])
        return BookedTrade(work, self._clock.now(), trade, orders[trade.id])

    async def _send_and_wait(self, order_id: int, start: Callable[[], asyncio.Task[None]]) -> None:
        """Start to send intents; wait until the order's is booked, its outcome is unknown, or the wait is over.

        The order stands whatever becomes of the sending, so that its state is the answer.
        """
        booked = asyncio.Event()
        unsubscribe = self._broadcast.subscribe(settled_topic(order_id), lambda _: booked.set())
        told = asyncio.ensure_future(booked.wait())
        try:
            sending = start()
            async with asyncio.timeout(self._wait_seconds):
                await asyncio.wait([sending, told], return_when=asyncio.FIRST_COMPLETED)
                if not sending.done() or sending.exception() is None:
                    await told
        except TimeoutError:
            return
        finally:
            told.cancel()
            unsubscribe()


def _why_no_cancel(status: OrderStatus) -> str:
    """Why an entry's cancel cannot be asked for."""
    if status is OrderStatus.PENDING_CANCEL:
        return "The order is being cancelled already; the venue has not answered yet."
    if status in LIVE_ORDER:
        return f"The order is on its way to the venue ({status}): it fills, or it can be cancelled once it rests there."
    return f"The order has ended: it is {status}, and nothing of it is left to cancel."


def _intent(work: UnitOfWork, order: Order, trade: Trade, kind: IntentKind, payload: Mapping[str, object]) -> Intent:
    return intent_row(order, trade, kind, payload, work.intents.due_in(SEND_GRACE))


def _exits_among(orders: Sequence[Order]) -> Sequence[Order]:
    return [order for order in orders if order.role is OrderRole.EXIT]


async def asked_before(work: UnitOfWork, user_id: int, client_order_id: str | None, asked: str) -> Order | None:
    """The order that the same request (by its fingerprint) made under its client_order_id; raises for another."""
    if client_order_id is None:
        return None
    earlier = await work.orders.by_client_order_id(user_id, client_order_id)
    if earlier is not None and earlier.fingerprint != asked:
        raise Conflict(
            f"client_order_id {client_order_id} is order {earlier.id}, which asked for something else.",
            code="ALREADY_EXISTS",
            order_id=earlier.id,
        )
    return earlier


def refusal_of(order: Order, provider: str) -> MarqetError:
    """The error that a venue's refusal of an order is answered with; its details are the venue's and the order's id.

    The order has ended, so that no answer here invites to repeat the request (503): a reason that passes, such as a
    stale price, is told as `details.reason`. Amounts, which venues tell as text, become numbers.
    """
    reason = order.reason or "VENUE_REFUSED"
    refusal: MarqetError
    if reason in _BAD_REQUEST:
        refusal = InvalidRequest(code=reason)
    elif reason == "MARKET_CLOSED":
        refusal = Conflict(code=reason)
    else:
        why = CATALOGUE[reason].meaning if reason in CATALOGUE else reason
        message = f"The venue refused the order, which has ended: {why}"
        refusal = ProviderError(message, code="TRADE_EXECUTION_FAILED", provider=provider, reason=reason)
    told = {name: Decimal(text) if _AMOUNT.fullmatch(text) else text for name, text in order.refusal_details.items()}
    refusal.details = {**told, **refusal.details, "order_id": order.id}
    return refusal


def _entry_price(terms: OpenTerms, quote: Quote) -> Decimal:
    if terms.order_type is OrderType.LIMIT and terms.price is not None:
        return terms.price
    return quote.tick.quote_for(buys=terms.is_long)
