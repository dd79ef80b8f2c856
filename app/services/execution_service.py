"""Carries intents to venues: new -> sent by one taker, sent once, and the venue's word booked."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from loguru import logger

from app.core.clock import Clock
from app.core.database import DatabaseError, is_locked
from app.core.fair_slots import FairSlots
from app.core.faults import buggify
from app.core.gathering import raise_first
from app.domain.enums import IntentKind, OrderStatus, TradeStatus
from app.domain.errors import ProviderError, ProviderTimeout, Unavailable
from app.domain.events import EventType, order_event
from app.domain.intents import close_params, open_params
from app.domain.lifecycle import LIVE_ORDER
from app.domain.trading import TradeResult, VenueOutcome, VenueRef
from app.domain.trading_state import HALTED_CODE, Subject
from app.models.market import Pair
from app.models.trading import Intent, Order, Trade
from app.repositories.intent_repository import Effect, Waiting
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.booking_service import BookingService, settled_topic
from app.services.providers.base import BaseTradingProvider

NOT_AFTER = timedelta(seconds=10)
CHECK_AFTER = timedelta(seconds=3)
# Calls of venues at a time, and how many of them may be one account's.
AT_ONCE = 8
AT_ONCE_EACH = 4
# How often an intent whose rows are held for a moment is passed over before they are waited for.
LOOKS = 3
LOOK_AGAIN_SECONDS = 0.02
_SENDABLE = (OrderStatus.PENDING, OrderStatus.TRIGGERED)


@dataclass(frozen=True, slots=True)
class Taking:
    """What came of taking an intent: ours to send for a user, forbidden by trading states, or held by others."""

    intent: Intent | None = None
    user_id: int = 0
    is_halted: bool = False
    is_held: bool = False


class Venues(Protocol):
    """Finds the adapter of a venue."""

    async def get_provider(self, provider_name: str) -> BaseTradingProvider:
        """The venue's adapter."""
        ...


class Pairs(Protocol):
    """Finds a pair that is known by its id."""

    def by_id(self, pair_id: int) -> Pair:
        """The pair; NotFound for an unknown id."""
        ...


class ExecutionService:
    """Sends intents, a bounded number at a time, accounts in turn; whoever wins new -> sent sends, nobody again."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        venues: Venues,
        pairs: Pairs,
        booking: BookingService,
        clock: Clock,
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        self._uow = uow
        self._venues = venues
        self._pairs = pairs
        self._booking = booking
        self._clock = clock
        self._slots = FairSlots(at_once, AT_ONCE_EACH)
        self._sending: set[asyncio.Task[None]] = set()
        self._waiting: set[int] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was started is still being sent."""
        return not self._sending

    def start(self, intent_ids: Sequence[int]) -> asyncio.Task[None]:
        """Send in a task of its own, which goes on when its caller no longer waits; settlement is behind it."""
        return self._start(self.send(intent_ids))

    def start_new(self, intents: Sequence[Intent]) -> asyncio.Task[None]:
        """Like `start`, of intents that the caller has just written: nobody is asked whether they wait."""
        new = [Waiting(intent.id, intent.trade_id, intent.venue_account_id) for intent in intents]
        return self._start(self._send_all(new))

    async def send(self, intent_ids: Sequence[int]) -> None:
        """Send those of the intents that nobody has taken yet, nor waits for here, and book what their venues say.

        Each is sent whatever becomes of the others; the first error is raised when all are done.
        """
        ids = [intent_id for intent_id in intent_ids if intent_id not in self._waiting]
        if not ids:
            return
        async with self._uow() as work:
            await work.stand_alone()
            found = await work.intents.waiting(ids)
            # Withdrawn, or sent by others, before anybody here could hear of it.
            gone = [intent_id for intent_id in ids if intent_id not in found]
            for order_id in await work.intents.settled_among(gone) if gone else ():
                work.hint(settled_topic(order_id), b"")
        await self._send_all([found[i] for i in ids if i in found])

    async def _send_all(self, found: Sequence[Waiting]) -> None:
        is_one_trade = len({intent.trade_id for intent in found}) == 1
        self._waiting |= {intent.id for intent in found}
        turns = [self._send_in_turn(intent, skip=not is_one_trade) for intent in found]
        try:
            outcomes = await asyncio.gather(*turns, return_exceptions=True)
        finally:
            # Also of those that were cancelled before they began.
            self._waiting -= {intent.id for intent in found}
        raise_first(outcomes)

    def _start(self, sending: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(sending)
        self._sending.add(task)
        task.add_done_callback(self._sent)
        return task

    async def ask(self, intent: Intent) -> TradeResult | None:
        """What the venue knows of an intent; for a cancel, of the order it is about."""
        provider = await self._venues.get_provider(intent.provider)
        async with self._uow() as work:
            account = await work.venue_accounts.get(intent.venue_account_id)
        if account is None:
            raise LookupError(f"intent {intent.id} names venue account {intent.venue_account_id}, which is not there")
        return await provider.query(self._ref(intent, account.user_id), _subject(intent))

    def _ref(self, intent: Intent, user_id: int) -> VenueRef:
        """Where an intent of a user goes, in the venue's terms."""
        pair = self._pairs.by_id(intent.pair_id)
        return VenueRef(user_id, intent.venue_account_id, pair.id, pair.venue_pair_id)

    async def _take(self, work: UnitOfWork, intent_id: int, *, skip: bool = False) -> Taking:
        """Take an intent, unless its order ended or trading states forbid it.

        `skip` passes over one whose rows another transaction holds, instead of waiting for it.
        """
        effect = await work.intents.effect(intent_id, skip=skip)
        if effect is None:
            return Taking(is_held=skip)
        _tell_ended(work, effect)
        if not _is_sendable(effect):
            return Taking()
        if not await _may_be_sent(work, effect):
            return Taking(is_halted=True)
        moves = _beginning(effect)
        taken = await work.intents.take_for_sending(intent_id, NOT_AFTER, CHECK_AFTER, moves=moves)
        if taken is None:
            return Taking()
        if moves:
            work.emit(order_event(EventType.ORDER_UPDATED, effect.order, "submitted"))
        return Taking(taken, effect.trade.user_id)

    async def _take_in_turn(self, intent_id: int, *, skip: bool) -> Taking:
        """Take one intent; one of several whose rows are held is looked at again before its rows are waited for.

        What is held longer than a lock may be waited for is left to settlement, so that the others are not held up.
        """
        for _ in range(LOOKS if skip else 0):
            async with self._uow() as work:
                taking = await self._take(work, intent_id, skip=True)
            if not taking.is_held:
                return taking
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        try:
            async with self._uow() as work:
                return await self._take(work, intent_id)
        except DatabaseError as error:
            if not (skip and is_locked(error)):
                raise
            logger.info("Left to settlement, its rows are held: intent {intent}", intent=intent_id)
            return Taking()

    async def _send_in_turn(self, intent: Waiting, *, skip: bool) -> None:
        """Take an intent once it is its turn: its time to land begins when it is sent, not while it waits here."""
        async with self._slots.slot(intent.venue_account_id):
            taking = await self._take_in_turn(intent.id, skip=skip)
            await buggify("intent.taken")
            if taking.is_halted:
                await self._booking.refuse_unsent(intent.id, HALTED_CODE)
            if taking.intent is not None:
                await self._deliver(taking.intent, taking.user_id)

    async def _deliver(self, intent: Intent, user_id: int) -> None:
        try:
            result = await self._call_venue(intent, self._ref(intent, user_id))
        except (ProviderTimeout, ProviderError) as error:
            logger.warning("Outcome of intent {intent} is unknown: {error}", intent=intent.id, error=error.message)
            await self._mark_unknown(intent)
            return
        except Unavailable as error:
            # The adapter says that nothing was sent.
            result = TradeResult(_subject(intent), VenueOutcome.REJECTED, reason=error.code)
        if await buggify("intent.answered"):
            await self._booking.book(intent.id, result)
        await self._booking.book(intent.id, result)
        await buggify("intent.booked")

    async def _call_venue(self, intent: Intent, ref: VenueRef) -> TradeResult:
        provider = await self._venues.get_provider(intent.provider)
        not_after = intent.not_after
        if not_after is None:
            raise LookupError(f"intent {intent.id} was taken without a deadline")
        if intent.kind is IntentKind.OPEN:
            return await provider.open_trade(open_params(intent.payload, intent.id, ref, not_after))
        if intent.kind is IntentKind.CLOSE:
            params = close_params(intent.payload, intent.id, ref, not_after)
            return await provider.close_trade(ref.pair_id, params.venue_trade_index, params)
        return await provider.cancel_order(ref, _subject(intent))

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.opt(exception=task.exception()).error("Sending failed; settlement takes the intents up")

    async def _mark_unknown(self, intent: Intent) -> None:
        async with self._uow() as work:
            order = (await work.orders.locked([intent.order_id]))[intent.order_id]
            if intent.kind is not IntentKind.CANCEL and order.status is OrderStatus.SUBMITTED:
                now = self._clock.now()
                work.orders.move_locked(order, OrderStatus.UNKNOWN, unknown_since=now, reason="PROVIDER_TIMEOUT")
                work.emit(order_event(EventType.ORDER_UPDATED, order, "unknown"))
                work.hint(settled_topic(order.id), b"")


def _is_sendable(effect: Effect) -> bool:
    """Whether an intent's order waits for it."""
    return effect.intent.kind is IntentKind.CANCEL or effect.order.status in _SENDABLE


def _tell_ended(work: UnitOfWork, effect: Effect) -> None:
    """Wake whoever waits for an order that ended before it was sent; there is nothing else to wait for."""
    if effect.order.status not in LIVE_ORDER:
        work.hint(settled_topic(effect.order.id), b"")


async def _may_be_sent(work: UnitOfWork, effect: Effect) -> bool:
    """Whether trading states let an intent be sent now: none of a halted market, no opening of a reducing one."""
    intent = effect.intent
    ruling = await work.trading_states.ruling(Subject(effect.trade.user_id, intent.pair_id, intent.provider))
    return ruling.may_open if intent.kind is IntentKind.OPEN else ruling.may_send


def _beginning(effect: Effect) -> list[Order | Trade]:
    """What is on its way with an intent: its order, and the trade that it opens; nothing with a cancel."""
    if effect.intent.kind is IntentKind.CANCEL:
        return []
    return [effect.order, effect.trade] if effect.trade.status is TradeStatus.PENDING else [effect.order]


def _subject(intent: Intent) -> int:
    """The client id an intent is about: its own, or that of the entry it cancels."""
    return int(intent.payload["cancels"]) if intent.kind is IntentKind.CANCEL else intent.id
