"""What a channel shows at subscription: its state as of one sequence, or the events since one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.clock import Clock
from app.core.json import rfc3339
from app.domain.channels import Channel
from app.domain.enums import TradeStatus
from app.domain.errors import NotFound
from app.domain.events import EventType, deposit_event, order_event, position_event, trade_event
from app.domain.lifecycle import LIVE_ORDER, OPEN_TRADE
from app.models.deposit import Deposit, TokenSwap
from app.models.event import Event
from app.models.trading import Order, Position, Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.live_stops import LiveStop, live_stops
from app.services.websocket.frames import FrameFactory, Members, as_snapshot

RESUME_LIMIT = 1000
RESUME_AGE = timedelta(hours=24)
PAGE = 500
_UNFINISHED_TRADE = [TradeStatus.PENDING, TradeStatus.SUBMITTED, *OPEN_TRADE]

# None: every trade.
type TradeFilter = frozenset[int] | None
# A deposit stands with its latest swap.
type Shown = Trade | Order | Position | tuple[Deposit, TokenSwap | None]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Frames that bring a client to `sequence`; `recovered` says whether they are the events it asked for."""

    sequence: int
    frames: Sequence[str]
    recovered: bool | None = None

    def facts(self, trade_ids: TradeFilter) -> dict[str, object]:
        """What the answer to a subscription tells of it."""
        facts: dict[str, object] = {"sequence": self.sequence}
        if self.recovered is not None:
            facts["recovered"] = self.recovered
        if trade_ids is not None:
            facts["trade_ids"] = sorted(trade_ids)
        return facts


class ChannelSnapshots:
    """Reads what private channels show, each time in one transaction that sees one state of the database."""

    def __init__(self, uow: UnitOfWorkFactory, frames: FrameFactory, clock: Clock) -> None:
        self._uow = uow
        self._frames = frames
        self._clock = clock

    async def check_owner(self, user_id: int, trade_ids: frozenset[int]) -> None:
        """Raise NotFound UNKNOWN_ID naming every id that is not a trade of the user."""
        async with self._uow() as work:
            known = {trade.id for trade in await work.trades.among(user_id, trade_ids)}
        if unknown := sorted(trade_ids - known):
            raise NotFound("No such trade", code="UNKNOWN_ID", trade_ids=unknown)

    async def read(self, user_id: int, channel: Channel, trade_ids: TradeFilter, since: int | None) -> Snapshot:
        """Every event of a channel after `since`; where none is given, or that cannot be told whole, the open rows."""
        if since is None:
            return await self._rows(user_id, channel, trade_ids)
        types = [kind.value for kind in EventType if kind.channel == channel]
        async with self._uow() as work:
            last = await work.events.freeze(user_id)
            events = await work.events.after(user_id, since, limit=RESUME_LIMIT + 1, types=types)
        if since > last or len(events) > RESUME_LIMIT or _are_old(events, self._clock.now()):
            now = await self._rows(user_id, channel, trade_ids)
            return Snapshot(now.sequence, now.frames, recovered=False)
        frames = [frame for event in events if (frame := self._frames.of_event(event)) is not None]
        wanted = [frame.text for frame in frames if trade_ids is None or frame.trade_id in trade_ids]
        return Snapshot(last, wanted, recovered=True)

    async def _rows(self, user_id: int, channel: Channel, trade_ids: TradeFilter) -> Snapshot:
        async with self._uow() as work:
            sequence = await work.events.freeze(user_id)
            rows = await _READERS[channel](work, user_id, trade_ids)
            stops = await live_stops(work, [row for row in rows if isinstance(row, Order)])
        shown = [self._frames.of_now(channel.update_type, channel, self._data_of(row, stops)) for row in rows]
        return Snapshot(sequence, [as_snapshot(frame) for frame in shown])

    def _data_of(self, row: Shown, stops: Mapping[int, LiveStop]) -> Members:
        if isinstance(row, tuple):
            return {**deposit_event(EventType.DEPOSIT_PROCESSING, *row).data, "event": None}
        if isinstance(row, Trade):
            return {**trade_event(EventType.TRADE_UPDATED, row).data, "trade_status": row.status, "event": None}
        if isinstance(row, Order):
            stop = stops.get(row.id)
            live = {"stop_price": stop.stop_price, "watermark": stop.watermark} if stop else {}
            return {**order_event(EventType.ORDER_UPDATED, row).data, **live, "order_status": row.status, "event": None}
        facts = position_event(row, "snapshot").data
        return {**facts, **self._frames.live_values(row), "updated_at": rfc3339(row.updated_at), "event": None}


def _are_old(events: Sequence[Event], now: datetime) -> bool:
    """Whether a client was away for so long that its state is better read anew."""
    return bool(events) and now - events[0].created_at > RESUME_AGE


async def _trades(work: UnitOfWork, user_id: int, trade_ids: TradeFilter) -> Sequence[Trade | Order]:
    async def trades(before: int | None) -> Sequence[Trade]:
        return await work.trades.of_user(user_id, statuses=_UNFINISHED_TRADE, before=before, limit=PAGE)

    async def orders(before: int | None) -> Sequence[Order]:
        statuses = sorted(LIVE_ORDER)
        return await work.orders.of_user(user_id, statuses=statuses, trade_id=None, before=before, limit=PAGE)

    live = await _oldest_first(orders)
    if trade_ids is None:
        return [*await _oldest_first(trades), *live]
    named = await work.trades.among(user_id, trade_ids)
    return [*named, *(order for order in live if order.trade_id in trade_ids)]


async def _positions(work: UnitOfWork, user_id: int, _: TradeFilter) -> Sequence[Position]:
    return await work.positions.open_for(user_id)


async def _deposits(work: UnitOfWork, user_id: int, _: TradeFilter) -> Sequence[tuple[Deposit, TokenSwap | None]]:
    return await work.deposits.live_of(user_id)


_READERS: dict[Channel, Callable[[UnitOfWork, int, TradeFilter], Awaitable[Sequence[Shown]]]] = {
    Channel.TRADES: _trades,
    Channel.POSITIONS: _positions,
    Channel.DEPOSITS: _deposits,
}


async def _oldest_first[M: Trade | Order](fetch: Callable[[int | None], Awaitable[Sequence[M]]]) -> list[M]:
    """Every row of a keyset list, page after page."""
    rows: list[M] = []
    page = await fetch(None)
    while page:
        rows += page
        page = await fetch(page[-1].id) if len(page) == PAGE else []
    return rows[::-1]
