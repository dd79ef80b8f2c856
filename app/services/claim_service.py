"""Claims crossed exits: order pending -> triggered, trade open -> closing, intent written, in one transaction."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.core.clock import Clock
from app.domain.enums import IntentKind, OrderStatus, TradeStatus
from app.domain.events import EventType, order_event, trade_event
from app.domain.intents import close_payload
from app.domain.lifecycle import OPEN_TRADE
from app.domain.trading_state import Ruling, Subject
from app.domain.triggers import Crossing
from app.models.trading import Intent, Order, Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.booking_service import hint_exits
from app.services.held_exits import HELD_COLUMNS, held
from app.services.trade_closing import cancel_rests
from app.services.trade_rows import intent_row

SEND_GRACE = timedelta(seconds=2)
AGAIN_AFTER = timedelta(seconds=30)
_WRITTEN = (
    "status",
    "latched_sequence",
    "triggered_leg",
    "trigger_price",
    "trigger_source",
    "trigger_sequence",
    "triggered_at",
    "watermark",
    "stop_price",
)


@dataclass(frozen=True, slots=True)
class Crossed:
    """An exit that a tick fired: the crossing, and when and where its tick came from."""

    crossing: Crossing
    at: datetime
    source: str

    @property
    def by_tick(self) -> tuple[int, int]:
        """Sorts crossings of one pair by tick, and those of one tick by order id."""
        return self.crossing.sequence, self.crossing.order_id


class ClaimOutcome(StrEnum):
    """What became of a claim; BUSY: another transaction holds its rows, ask again; HELD: trading is halted there."""

    WON = "won"
    LATCHED = "latched"
    GONE = "gone"
    BUSY = "busy"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Claim:
    """The outcome of one claim, and the intent to send when it was won."""

    order_id: int
    outcome: ClaimOutcome
    intent_id: int | None = None


class ClaimService:
    """Decides, under the rows' locks, who closes: at most one closing effect is in flight per trade."""

    def __init__(self, uow: UnitOfWorkFactory, clock: Clock) -> None:
        self._uow = uow
        self._clock = clock

    async def claim(self, crossed: Sequence[Crossed]) -> list[Claim]:
        """Claim a batch in the order of ticks: the first exit of a trade wins, a later one is latched on its row.

        Nobody is waited for: one whose trade or order another transaction holds is answered BUSY, whatever comes.
        """
        async with self._uow() as work:
            ids = [item.crossing.order_id for item in crossed]
            locked = await work.orders.locked_with_trades(ids)
            trades = {trade.id: trade for _, trade in locked.values()}
            rulings = await work.trading_states.states_for({_subject(trade) for trade in trades.values()})
            outcomes = await _not_locked(work, set(ids) - locked.keys())
            won: dict[int, Intent] = {}
            for item in sorted(crossed, key=lambda item: item.by_tick):
                order_id = item.crossing.order_id
                if order_id not in locked:
                    continue
                order, trade = locked[order_id]
                outcome = outcomes[order_id] = self._decide(work, order, trade, item, rulings[_subject(trade)])
                if outcome is ClaimOutcome.WON:
                    won[order_id] = self._intent(order, trade)
            orders = {order_id: order for order_id, (order, _) in locked.items()}
            await self._write(work, orders, trades, outcomes, list(won.values()))
        return [
            Claim(order_id, outcome, won[order_id].id if order_id in won else None)
            for order_id, outcome in outcomes.items()
        ]

    async def put_off(self, item: Crossed) -> None:
        """Latch an exit that cannot be claimed: a person has to look at it, and it is claimed again in a while."""
        async with self._uow() as work:
            order = (await work.orders.locked([item.crossing.order_id])).get(item.crossing.order_id)
            if order is None or not _is_current(order, item.crossing):
                return
            for name, value in _facts(item).items():
                setattr(order, name, value)
            order.latched_sequence = item.crossing.sequence
            order.next_run_at = await work.intents.now() + AGAIN_AFTER
            order.needs_review = True
            work.emit(order_event(EventType.ORDER_UPDATED, order, "needs_review"))

    @staticmethod
    async def _write(
        work: UnitOfWork,
        orders: Mapping[int, Order],
        trades: Mapping[int, Trade],
        outcomes: Mapping[int, ClaimOutcome],
        intents: Sequence[Intent],
    ) -> None:
        changed = [orders[i] for i, outcome in outcomes.items() if outcome in (ClaimOutcome.WON, ClaimOutcome.LATCHED)]
        await work.orders.write_together(changed, _WRITTEN)
        halted = [orders[i] for i, outcome in outcomes.items() if outcome is ClaimOutcome.HELD]
        await work.orders.write_together(halted, HELD_COLUMNS)
        hint_exits(work, halted)
        closing = [trades[intent.trade_id] for intent in intents]
        await work.trades.write_together(closing, ["status"])
        if not intents:
            return
        due = await work.intents.now() + SEND_GRACE
        for intent in intents:
            intent.next_run_at = due
        await work.intents.add_all(intents)
        await cancel_rests(work, {trade.id: trade for trade in closing})

    def _decide(self, work: UnitOfWork, order: Order, trade: Trade, item: Crossed, ruling: Ruling) -> ClaimOutcome:
        if not _is_current(order, item.crossing):
            return ClaimOutcome.GONE
        if trade.status in OPEN_TRADE and not ruling.may_send:
            for name, value in held(order, trade.side, item.crossing, self._clock.now()).items():
                setattr(order, name, value)
            work.emit(order_event(EventType.ORDER_UPDATED, order, "held"))
            return ClaimOutcome.HELD
        if trade.status is TradeStatus.OPEN:
            work.orders.move_locked(order, OrderStatus.TRIGGERED, latched_sequence=None, **_facts(item))
            work.trades.move_locked(trade, TradeStatus.CLOSING)
            leg = item.crossing.leg
            work.emit(
                order_event(EventType.ORDER_TRIGGERED, order, leg),
                trade_event(EventType.TRADE_UPDATED, trade, "closing"),
            )
            return ClaimOutcome.WON
        if trade.status is TradeStatus.CLOSING:
            for name, value in _facts(item).items():
                setattr(order, name, value)
            order.latched_sequence = item.crossing.sequence
            return ClaimOutcome.LATCHED
        return ClaimOutcome.GONE

    def _intent(self, order: Order, trade: Trade) -> Intent:
        if trade.venue_trade_index is None:
            raise LookupError(f"trade {trade.id} is open without a venue index")
        payload = close_payload(trade.venue_trade_index, trade.side, trade.size)
        return intent_row(order, trade, IntentKind.CLOSE, payload, self._clock.now() + SEND_GRACE)


def _subject(trade: Trade) -> Subject:
    return Subject(trade.user_id, trade.pair_id, trade.provider)


async def _not_locked(work: UnitOfWork, ids: Set[int]) -> dict[int, ClaimOutcome]:
    """What becomes of orders that could not be locked: others hold those that there are."""
    existing = {order.id for order in await work.orders.rows(list(ids))} if ids else set()
    return {order_id: ClaimOutcome.BUSY if order_id in existing else ClaimOutcome.GONE for order_id in ids}


def _is_current(order: Order, crossing: Crossing) -> bool:
    return order.status is OrderStatus.PENDING and order.version == crossing.version


def _facts(item: Crossed) -> dict[str, object]:
    crossing = item.crossing
    facts: dict[str, object] = {
        "triggered_leg": crossing.leg,
        "trigger_price": crossing.price,
        "trigger_source": item.source,
        "trigger_sequence": crossing.sequence,
        "triggered_at": item.at,
        "watermark": crossing.watermark,
    }
    return facts | ({"stop_price": crossing.stop_price} if crossing.stop_price is not None else {})


def latched_crossing(order: Order) -> Crossed | None:
    """The crossing that an order's row keeps, where it is latched."""
    if (
        order.latched_sequence is None
        or order.trigger_price is None
        or order.triggered_leg is None
        or order.triggered_at is None
    ):
        return None
    crossing = Crossing(
        order_id=order.id,
        version=order.version,
        sequence=order.latched_sequence,
        price=order.trigger_price,
        leg=order.triggered_leg,
        stop_price=order.stop_price,
        watermark=order.watermark,
    )
    return Crossed(crossing, order.triggered_at, order.trigger_source or "")
