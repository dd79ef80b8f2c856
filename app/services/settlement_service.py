"""Looks after effects whose request is gone: sends what was never sent, asks about what was, reconciles."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from loguru import logger

from app.core.clock import Clock
from app.domain.enums import IntentKind, IntentStatus
from app.domain.errors import Conflict, InvalidTransition, ProviderError, ProviderTimeout, Unavailable
from app.domain.lifecycle import UNFILLED_TRADE
from app.domain.trading import TradeResult, VenueOutcome, VenueRef
from app.models.trading import Intent, Trade
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.booking_service import LOOK_AT_RESTING, BookingService
from app.services.execution_service import ExecutionService, Pairs, Venues
from app.services.trading_service import TradingService

BATCH = 100
ASK_AGAIN = timedelta(seconds=1)
REVIEW_AFTER = timedelta(minutes=15)
_CANCEL_IS_OVER = (VenueOutcome.CANCELLED, VenueOutcome.FILLED)


class SettlementService:
    """Each method is one pass, safe to run twice and by several processes."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        execution: ExecutionService,
        booking: BookingService,
        trading: TradingService,
        venues: Venues,
        pairs: Pairs,
        clock: Clock,
    ) -> None:
        self._uow = uow
        self._execution = execution
        self._booking = booking
        self._trading = trading
        self._venues = venues
        self._pairs = pairs
        self._clock = clock

    async def settle(self) -> int:
        """Send due new intents and ask about due sent and resting ones; how many were looked at.

        What is unknown comes before what rests. The first error is raised when all have had their turn.
        """
        async with self._uow() as work:
            new = await work.intents.due([IntentStatus.NEW], BATCH)
            unknown = await work.intents.due([IntentStatus.SENT], BATCH)
            resting = await work.intents.due([IntentStatus.RESTING], BATCH)
            # Read before any venue is asked: not to be found is proof only if nothing could arrive any more by then.
            as_of = await work.intents.now()
        turns: list[Callable[[], Awaitable[None]]] = [
            partial(self._execution.send, [intent.id for intent in new]),
            *(partial(self._look_after, intent, as_of) for intent in (*unknown, *resting)),
        ]
        errors: list[BaseException] = []
        for turn in turns:
            (outcome,) = await asyncio.gather(turn(), return_exceptions=True)
            if outcome is not None:
                errors.append(outcome)
        if errors:
            raise errors[0]
        return len(new) + len(unknown) + len(resting)

    async def expire(self) -> int:
        """Ask for the cancel of resting entries whose expires_at has passed; how many."""
        now = self._clock.now()
        async with self._uow() as work:
            expired = await work.orders.expired_entries(now, BATCH)
        sent = 0
        for entry in expired:
            async with self._uow() as work:
                trade = (await work.trades.locked([entry.trade_id or 0])).get(entry.trade_id or 0)
                if trade is None or trade.status not in UNFILLED_TRADE:
                    continue
                try:
                    _, intent_id = await self._trading.write_cancel(work, trade, "expires_at")
                except Conflict:
                    # It is being filled or cancelled at this moment; that ends it too.
                    continue
            if intent_id is not None:
                await self._execution.send([intent_id])
                sent += 1
        return sent

    async def reconcile(self, venue: str) -> int:
        """Compare our open trades with the venue's positions; book what we have not heard of. How many differed."""
        provider = await self._venues.get_provider(venue)
        async with self._uow() as work:
            trades = await work.trades.open_at_venue(venue)
        if not trades:
            return 0
        refs = [self._ref(trade) for trade in trades]
        held = {
            (position.venue_account_id, position.venue_trade_index): position.size
            for position in await provider.open_positions(refs)
        }
        differing = [
            trade for trade in trades if held.get((trade.venue_account_id, trade.venue_trade_index or "")) != trade.size
        ]
        for trade in differing:
            for fill in await provider.fills_since(self._ref(trade), trade.created_at):
                if fill.venue_trade_index == trade.venue_trade_index:
                    await self._booking.book_fill(fill)
        return len(differing)

    async def _look_after(self, intent: Intent, as_of: datetime) -> None:
        """Ask about an intent; it is put off first, so that one which cannot be booked holds up no other.

        One whose venue contradicts itself is for a person.
        """
        await self._postpone(intent, LOOK_AT_RESTING if intent.status is IntentStatus.RESTING else ASK_AGAIN)
        try:
            await self._ask(intent, as_of)
        except (InvalidTransition, LookupError) as error:
            logger.opt(exception=error).error("Intent {intent} cannot be booked", intent=intent.id)
            async with self._uow() as work:
                await work.orders.flag_for_review(intent.order_id)
                await work.intents.postpone(intent.id, REVIEW_AFTER)

    async def _ask(self, intent: Intent, as_of: datetime) -> None:
        try:
            result = await self._execution.ask(intent)
        except (ProviderTimeout, ProviderError, Unavailable) as error:
            logger.warning("Venue does not tell of intent {intent}: {why}", intent=intent.id, why=error.message)
            return
        # A cancel is asked about by its order, which says something only once it has ended.
        is_told = result is not None and (intent.kind is not IntentKind.CANCEL or result.outcome in _CANCEL_IS_OVER)
        if result is not None and is_told:
            if result.outcome is not VenueOutcome.ACCEPTED:
                await self._booking.book(intent.id, result)
        elif intent.not_after is not None and intent.not_after < as_of:
            await self._booking.book(intent.id, TradeResult(intent.id, VenueOutcome.REJECTED, reason="NOT_RECEIVED"))

    async def _postpone(self, intent: Intent, delay: timedelta) -> None:
        async with self._uow() as work:
            if intent.status is IntentStatus.SENT and self._is_overdue(intent):
                await work.orders.flag_for_review(intent.order_id)
            await work.intents.postpone(intent.id, delay)

    def _is_overdue(self, intent: Intent) -> bool:
        return intent.sent_at is not None and self._clock.now() - intent.sent_at > REVIEW_AFTER

    def _ref(self, trade: Trade) -> VenueRef:
        pair = self._pairs.by_id(trade.pair_id)
        return VenueRef(trade.user_id, trade.venue_account_id, pair.id, pair.venue_pair_id)
