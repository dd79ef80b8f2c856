"""Looks after effects whose request is gone: sends what was never sent, asks about what was, reconciles."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from loguru import logger

from app.core.clock import Clock
from app.core.database import is_locked, is_refused
from app.core.faults import buggify
from app.core.gathering import raise_first
from app.core.metrics import INTENTS_UNKNOWN, SETTLEMENT_PROBLEMS
from app.domain.enums import IntentKind, IntentStatus
from app.domain.errors import Conflict, InvalidTransition, ProviderError, ProviderTimeout, Unavailable
from app.domain.money import ZERO
from app.domain.trading import TradeResult, VenueFill, VenueOutcome, VenuePosition, VenueRef
from app.domain.trading_state import Subject
from app.models.trading import Intent, Order, Trade
from app.repositories.position_repository import Held
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.booking_service import LOOK_AT_RESTING, BookingService
from app.services.execution_service import ExecutionService, Pairs, Venues
from app.services.providers.base import BaseTradingProvider
from app.services.trading_service import TradingService

BATCH = 100
AT_ONCE = 8
ASK_AGAIN = timedelta(seconds=1)
ANSWER_WITHIN_SECONDS = 10.0
UNKNOWN_AFTER = timedelta(seconds=60)
REVIEW_AFTER = timedelta(minutes=15)
_CANCEL_IS_OVER = (VenueOutcome.CANCELLED, VenueOutcome.FILLED)
_SILENT = (ProviderTimeout, ProviderError, Unavailable, TimeoutError)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One thing that a pass does: to which orders, and by which intent, if any."""

    kind: str
    act: Callable[[], Awaitable[None]]
    order_ids: tuple[int, ...]
    intent_id: int | None = None


class SettlementService:
    """Each method is one pass, safe to run twice and by several processes.

    Everything has its turn whatever became of the others: what cannot be booked is flagged for a person, what another
    transaction holds is left to the next pass, and a venue that is slow to answer holds up nobody else.
    """

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        execution: ExecutionService,
        booking: BookingService,
        trading: TradingService,
        venues: Venues,
        pairs: Pairs,
        clock: Clock,
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        self._uow = uow
        self._execution = execution
        self._booking = booking
        self._trading = trading
        self._venues = venues
        self._pairs = pairs
        self._clock = clock
        self._at_once = at_once
        self._told_unknown: set[int] = set()

    async def run(self, venue: str, *, reconciles: bool) -> None:
        """Settle, expire and, where asked, reconcile, whatever the others met; raises the first error in the end."""
        passes: list[Callable[[], Awaitable[int]]] = [self.settle, self.expire]
        if reconciles:
            passes.append(partial(self.reconcile, venue))
        errors = [outcome for each in passes for outcome in await asyncio.gather(each(), return_exceptions=True)]
        raise_first(errors)

    async def settle(self) -> int:
        """Send due new intents and ask about due sent and resting ones; how many were looked at.

        What is unknown comes before what rests. The first error that is nobody's in particular is raised when all
        have had their turn.
        """
        async with self._uow() as work:
            new = await work.intents.due([IntentStatus.NEW], BATCH)
            unknown = await work.intents.due([IntentStatus.SENT], BATCH)
            resting = await work.intents.due([IntentStatus.RESTING], BATCH)
            # Read before any venue is asked: not to be found is proof only if nothing could arrive any more by then.
            as_of = await work.intents.now()
            overdue = await work.intents.unknown_for(UNKNOWN_AFTER)
        self._tell_unknown(overdue)
        await self._take_turns(
            [
                *(_of_intent("send", partial(self._execution.send, [intent.id]), intent) for intent in new),
                *(_of_intent("ask", partial(self._look_after, i, as_of), i) for i in (*unknown, *resting)),
            ]
        )
        return len(new) + len(unknown) + len(resting)

    async def expire(self) -> int:
        """Ask for the cancel of what entries have not filled by their expires_at; of how many."""
        async with self._uow() as work:
            expired = await work.orders.expired_entries(await work.intents.now(), BATCH)
        sent: list[int] = []
        await self._take_turns(
            [_Turn("expire", partial(self._expire, entry, sent), (entry.id,)) for entry in expired],
        )
        return len(sent)

    async def reconcile(self, venue: str) -> int:
        """Compare our open trades with the venue's positions; book what we have not heard of. How many differed.

        Trades that the venue nets share a position: their sizes are added up.
        """
        provider = await self._venues.get_provider(venue)
        async with self._uow() as work:
            trades = await work.trades.open_at_venue(venue)
        shared = _by_position(trades)
        held = await self._held(provider, trades)
        if held is None:
            return 0
        differing = [each for key, each in shared.items() if not _agree(each, held.get(key))]
        async with self._uow() as work:
            entries = await work.orders.entries_of([trade.id for each in differing for trade in each])
            shown = await work.positions.held([trade.id for trade in trades])
        catching_up = [
            _Turn("reconcile", partial(self._catch_up, provider, each), tuple(entries[trade.id] for trade in each))
            for each in differing
        ]
        late = [position for key, position in held.items() if not _tells(shared.get(key, []), position, shown)]
        await self._take_turns([*catching_up, *map(self._correction, late)])
        return sum(len(each) for each in differing)

    async def _take_turns(self, turns: Sequence[_Turn]) -> None:
        slots = asyncio.Semaphore(self._at_once)

        async def in_turn(turn: _Turn) -> None:
            async with slots:
                await self._guarded(turn)

        raise_first(await asyncio.gather(*(in_turn(turn) for turn in turns), return_exceptions=True))

    async def _guarded(self, turn: _Turn) -> None:
        """Take a turn. What contradicts itself is for a person; what is held by another is left to the next pass."""
        try:
            await turn.act()
        except Exception as error:
            if is_locked(error):
                _leave(turn)
            elif isinstance(error, InvalidTransition | LookupError) or is_refused(error):
                logger.opt(exception=error).error(
                    "Cannot {kind}: orders {orders}, intent {intent}",
                    kind=turn.kind,
                    orders=turn.order_ids,
                    intent=turn.intent_id,
                )
                SETTLEMENT_PROBLEMS.labels(turn.kind).inc()
                await self._flag(turn)
            else:
                raise

    async def _flag(self, turn: _Turn) -> None:
        try:
            async with self._uow() as work:
                for order_id in turn.order_ids:
                    await work.orders.flag_for_review(order_id)
                if turn.intent_id is not None:
                    await work.intents.postpone(turn.intent_id, REVIEW_AFTER)
        except Exception as error:
            if not is_locked(error):
                raise
            _leave(turn)

    def _tell_unknown(self, overdue: Sequence[int]) -> None:
        INTENTS_UNKNOWN.set(len(overdue))
        for intent_id in overdue:
            if intent_id not in self._told_unknown:
                logger.error("Outcome of intent {intent} is unknown for over a minute", intent=intent_id)
        self._told_unknown = set(overdue)

    async def _look_after(self, intent: Intent, as_of: datetime) -> None:
        """Ask about an intent; it is put off first, so that one which cannot be booked holds up no other."""
        await self._postpone(intent, LOOK_AT_RESTING if intent.status is IntentStatus.RESTING else ASK_AGAIN)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                result = await self._execution.ask(intent)
                await buggify("settlement.asked")
        except _SILENT as error:
            logger.warning("Venue does not tell of intent {intent}: {why}", intent=intent.id, why=error)
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

    async def _expire(self, entry: Order, sent: list[int]) -> None:
        async with self._uow() as work:
            trade = (await work.trades.locked([entry.trade_id or 0])).get(entry.trade_id or 0)
            if trade is None:
                raise LookupError(f"order {entry.id} opens no trade")
            ruling = await work.trading_states.ruling(Subject(trade.user_id, trade.pair_id, trade.provider))
            if not ruling.may_send:
                # Its cancel would be refused unsent; a pass after the halt asks for it.
                return
            try:
                _, intent_id = await self._trading.write_cancel(work, trade, "expires_at")
            except Conflict:
                # It is being filled or cancelled at this moment; that ends it too.
                return
        if intent_id is not None:
            sent.append(intent_id)
            await self._execution.send([intent_id])

    def _correction(self, position: VenuePosition) -> _Turn:
        return _Turn("margin", partial(self._booking.book_margin, position), ())

    async def _held(
        self, provider: BaseTradingProvider, trades: Sequence[Trade]
    ) -> dict[tuple[int, str], VenuePosition] | None:
        """The venue's positions of our trades, by account and its own index; None where it does not tell."""
        refs = list(dict.fromkeys(self._ref(trade) for trade in trades))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                positions = await provider.open_positions(refs) if refs else []
        except _SILENT as error:
            logger.warning("Venue {venue} does not tell its positions: {why}", venue=provider.name, why=error)
            return None
        return {(position.venue_account_id, position.venue_trade_index): position for position in positions}

    async def _catch_up(self, provider: BaseTradingProvider, trades: Sequence[Trade]) -> None:
        """Book every execution of a position again; those that are booked already change nothing."""
        first = trades[0]
        since = min(trade.created_at for trade in trades)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                fills = await provider.fills_since(self._ref(first), since)
        except _SILENT as error:
            logger.warning("Venue does not tell the fills of trade {trade}: {why}", trade=first.id, why=error)
            return
        await self._book_each(fill for fill in fills if fill.venue_trade_index == first.venue_trade_index)

    async def _book_each(self, fills: Iterable[VenueFill]) -> None:
        errors: list[BaseException | None] = []
        for fill in fills:
            errors += await asyncio.gather(self._booking.book_fill(fill, is_in_order=True), return_exceptions=True)
        raise_first(errors)

    def _ref(self, trade: Trade) -> VenueRef:
        pair = self._pairs.by_id(trade.pair_id)
        return VenueRef(trade.user_id, trade.venue_account_id, pair.id, pair.venue_pair_id)


def _of_intent(kind: str, act: Callable[[], Awaitable[None]], intent: Intent) -> _Turn:
    return _Turn(kind, act, (intent.order_id,), intent.id)


def _leave(turn: _Turn) -> None:
    SETTLEMENT_PROBLEMS.labels("locked").inc()
    logger.info("Left to the next pass, its rows are held: {kind} {orders}", kind=turn.kind, orders=turn.order_ids)


def _by_position(trades: Iterable[Trade]) -> dict[tuple[int, str], list[Trade]]:
    """The trades of each position of a venue: (venue account, the venue's index)."""
    shared: dict[tuple[int, str], list[Trade]] = defaultdict(list)
    for trade in trades:
        shared[trade.venue_account_id, trade.venue_trade_index or ""].append(trade)
    return shared


def _agree(trades: Iterable[Trade], position: VenuePosition | None) -> bool:
    """Whether trades hold together what their venue holds."""
    return _sum(trade.size for trade in trades) == (position.size if position else ZERO)


def _tells(trades: Iterable[Trade], position: VenuePosition, shown: Mapping[int, Held]) -> bool:
    """Whether what trades show of their position's margin and entry price is what they are."""
    mine = [shown[trade.id] for trade in trades if trade.id in shown]
    is_priced = all(held.entry_price == position.entry_price for held in mine)
    return is_priced and _sum(held.margin for held in mine) == position.margin


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)
