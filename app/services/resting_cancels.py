"""Cancels many orders for one reason, each in its own transaction, so that it may stop anywhere and be run again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from loguru import logger

from app.core.database import DatabaseError, is_locked
from app.domain.enums import OrderRole, OrderStatus
from app.domain.errors import Conflict
from app.domain.trading_state import Subject
from app.models.trading import Order, Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.execution_service import ExecutionService
from app.services.exit_order_service import ExitOrderService
from app.services.trading_service import TradingService

BATCH = 100

# The next orders with an id above the one given, ascending; none when it is over.
type Pages = Callable[[UnitOfWork, int], Awaitable[Sequence[Order]]]


@dataclass(frozen=True, slots=True)
class Cancelling:
    """What came of a pass: how many orders were cancelled or are about to be, and what is being sent for it."""

    count: int
    sends: Sequence[asyncio.Task[None]]

    async def sent(self) -> None:
        """Return once every venue has answered, or could not be reached; whoever is cancelled here stops no send."""
        if self.sends:
            await asyncio.wait(self.sends)


class RestingCancels:
    """Cancels what rests; an order that is past cancelling, or of a halted market, is left as it is."""

    def __init__(
        self, uow: UnitOfWorkFactory, trading: TradingService, exits: ExitOrderService, execution: ExecutionService
    ) -> None:
        self._uow = uow
        self._trading = trading
        self._exits = exits
        self._execution = execution

    async def cancel(self, pages: Pages, reason: str) -> Cancelling:
        """Cancel every order of the pages, here or by asking the venue, and wait for no venue.

        What the venue says of a cancel is booked as always; settlement sends those that a crash left unsent. An order
        that another transaction holds for too long is left to the next pass.
        """
        last = count = 0
        sends: list[asyncio.Task[None]] = []
        while True:
            async with self._uow() as work:
                orders = await pages(work, last)
            if not orders:
                return Cancelling(count, sends)
            last = orders[-1].id
            intent_ids: list[int] = []
            for order in orders:
                is_cancelled, intent_id = await self._cancel_unless_locked(order, reason)
                count += is_cancelled
                if intent_id is not None:
                    intent_ids.append(intent_id)
            if intent_ids:
                sends.append(self._execution.start(intent_ids))

    async def _cancel_unless_locked(self, order: Order, reason: str) -> tuple[bool, int | None]:
        try:
            return await self._cancel_one(order, reason)
        except DatabaseError as error:
            if not is_locked(error):
                raise
            logger.warning("Order {order} is held by another; its cancel waits for the next pass", order=order.id)
            return False, None

    async def _cancel_one(self, seen: Order, reason: str) -> tuple[bool, int | None]:
        """Whether an order was cancelled, or is to be by the intent given."""
        async with self._uow() as work:
            trade = (await work.trades.locked([seen.trade_id or 0])).get(seen.trade_id or 0)
            if trade is None or not await _may_send(work, trade):
                return False, None
            if seen.role is OrderRole.ENTRY:
                return await self._cancel_entry(work, trade, reason)
            order = (await work.orders.locked([seen.id]))[seen.id]
            if order.status not in (OrderStatus.PENDING, OrderStatus.WAITING):
                return False, None
            await self._exits.write_cancel(work, order, reason)
        return True, None

    async def _cancel_entry(self, work: UnitOfWork, trade: Trade, reason: str) -> tuple[bool, int | None]:
        try:
            _, intent_id = await self._trading.write_cancel(work, trade, reason)
        except Conflict:
            # It is on its way, being cancelled, or over; where it comes to rest after all, a later pass finds it.
            return False, None
        return True, intent_id


async def _may_send(work: UnitOfWork, trade: Trade) -> bool:
    ruling = await work.trading_states.ruling(Subject(trade.user_id, trade.pair_id, trade.provider))
    return ruling.may_send
