"""Sets trading states, knows them in memory, and sees to it that what rests or was held follows them."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial

from loguru import logger

from app.core.broadcast import Broadcast
from app.domain.enums import OrderStatus, StateScope, TradingState
from app.domain.errors import InvalidRequest, NotFound
from app.domain.events import EventType, order_event
from app.domain.trading_state import EVERYTHING, Ruling, StateKey, Subject, effective
from app.models.control import TradingStateRow
from app.models.trading import Order
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.booking_service import hint_exits
from app.services.providers.base import QuoteBoard
from app.services.resting_cancels import BATCH, RestingCancels

STATES_TOPIC = "trading_states.changed"
REFRESH_SECONDS = 1.0
REDUCING_REASON = "reducing"


class TradingStateService:
    """The states of users, pairs, venues and the whole. Requests and claims read the database, not this memory."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        cancels: RestingCancels,
        board: QuoteBoard,
        broadcast: Broadcast,
        venues: Collection[str],
    ) -> None:
        self._uow = uow
        self._cancels = cancels
        self._board = board
        self._venues = venues
        self._rows: dict[StateKey, TradingStateRow] = {}
        # Exits that were reached and are held, as of the last refresh.
        self.held_exits = 0
        self._changed = asyncio.Event()
        broadcast.subscribe(STATES_TOPIC, lambda _: self._tell_change())

    @property
    def next_change(self) -> asyncio.Event:
        """Set once somebody tells of a change from now on."""
        return self._changed

    @property
    def restricted(self) -> Sequence[TradingStateRow]:
        """The states that are not active, as of the last refresh, the widest scope first."""
        widest_first = list(StateScope)
        return sorted(self._rows.values(), key=lambda row: (widest_first.index(row.scope), row.key))

    def ruling(self, subject: Subject) -> Ruling:
        """The state that counts for a subject as of the last refresh: a second ago at most while `release` runs."""
        return effective(self._rows[key] for key in subject.keys if key in self._rows)

    async def set_state(
        self, scope: StateScope, key: str, state: TradingState, reason: str, changed_by: str
    ) -> TradingStateRow:
        """Set a state; who, when, from what and why stays in the audit.

        The key is "all" for the whole, else a venue's name, a pair's or a user's id; NotFound for what is not there.
        """
        async with self._uow() as work:
            row = await change_state(work, self._venues, scope, key, state, reason, changed_by)
        logger.warning(
            "Trading of {scope} {key} is {state} by {who}: {reason}",
            scope=scope,
            key=key,
            state=state,
            who=changed_by,
            reason=reason,
        )
        await self.refresh()
        return row

    async def refresh(self) -> None:
        """Read every state that is not active, and how many exits are held."""
        async with self._uow() as work:
            rows = await work.trading_states.restricted()
            self.held_exits = await work.exposure.count_held()
        self._rows = {(row.scope, row.key): row for row in rows}

    async def follow(self) -> None:
        """Refresh forever, where nobody here enforces or releases."""
        while True:
            change = self.next_change
            await self.refresh()
            await _wait_for(change)

    async def release(self) -> None:
        """Refresh, and release what was held, forever: each second, and at once where somebody tells of a change.

        In a loop of its own: exits do not wait for what is to be cancelled.
        """
        while True:
            change = self.next_change
            await self.refresh()
            await self.release_held()
            await _wait_for(change)

    async def guard(self) -> None:
        """Enforce, forever: each second, and at once where somebody tells of a change."""
        while True:
            change = self.next_change
            await self.enforce()
            await _wait_for(change)

    async def enforce(self) -> int:
        """Ask for the cancel of every entry that rests where trading is reducing; how many. Waits for no venue.

        An entry that is on its way to its venue is found by a later pass, once it rests.
        """
        await self.refresh()
        count = 0
        for row in self._rows.values():
            if row.state is TradingState.REDUCING:
                count += (await self._cancels.cancel(partial(_entries_under, row), REDUCING_REASON)).count
        return count

    async def release_held(self) -> int:
        """Let exits fire again that were held while trading was halted and is not any more; how many.

        The first tick that comes after decides; the watermark of a trailing stop has gone on meanwhile. An exit whose
        row another transaction holds is left to the next pass.
        """
        last = count = 0
        while True:
            async with self._uow() as work:
                page = await work.exposure.held_exits(last, BATCH)
                count += await self._release(work, page)
            if not page:
                return count
            last = page[-1].id

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _release(self, work: UnitOfWork, page: Sequence[Order]) -> int:
        subjects = {order.id: Subject(order.user_id, order.pair_id, order.provider) for order in page}
        rulings = await work.trading_states.states_for(set(subjects.values()))
        free = [order.id for order in page if rulings[subjects[order.id]].may_send]
        rows = [
            order
            for order in (await work.orders.locked(free, skip=True)).values()
            if order.held_since is not None and order.status is OrderStatus.PENDING
        ]
        for order in rows:
            latest = self._board.latest(order.pair_id)
            seen = order.released_sequence or 0
            # The version stays: what the order engine keeps of it is not to begin anew.
            order.released_sequence = seen if latest is None else max(seen, latest.tick.sequence)
            order.held_since = None
            work.emit(order_event(EventType.ORDER_UPDATED, order, "released"))
        hint_exits(work, rows)
        return len(rows)


async def change_state(
    work: UnitOfWork,
    venues: Collection[str],
    scope: StateScope,
    key: str,
    state: TradingState,
    reason: str,
    changed_by: str,
) -> TradingStateRow:
    """Set a state with its audit, and tell every process of it; NotFound for a key of nothing."""
    is_known = False
    wanted = "Its key is its id."
    match scope:
        case StateScope.GLOBAL:
            is_known, wanted = key == EVERYTHING, f"The one key of {scope} is {EVERYTHING}."
        case StateScope.VENUE:
            is_known, wanted = key in venues, f"There is {', '.join(sorted(venues))}."
        case StateScope.PAIR:
            is_known = await work.pairs.get(_id(scope, key)) is not None
        case StateScope.USER:
            is_known = await work.users.get(_id(scope, key)) is not None
    if not is_known:
        raise NotFound(f"There is no {scope} {key}. {wanted}", scope=scope, key=key)
    work.hint(STATES_TOPIC, b"")
    return await work.trading_states.set_state(scope, key, state, reason, changed_by)


async def _wait_for(change: asyncio.Event) -> None:
    """Wait for a change, a second at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(REFRESH_SECONDS):
            await change.wait()


async def _entries_under(row: TradingStateRow, work: UnitOfWork, after: int) -> Sequence[Order]:
    return await work.exposure.entries_under(row, after, BATCH)


def _id(scope: StateScope, key: str) -> int:
    """A key as an id; its one spelling, so that no two keys mean the same."""
    if not (key.isascii() and key.isdigit() and len(key) <= 18 and not key.startswith("0")):
        raise InvalidRequest(f"The key of a {scope} is its id, such as 12; {key} is none.", scope=scope, key=key)
    return int(key)
