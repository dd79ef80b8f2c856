"""What open positions are worth now, to those who watch: at most once a second, never in the log."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from app.core.clock import Clock
from app.core.json import rfc3339
from app.domain.channels import Channel
from app.domain.events import EventType
from app.models.trading import Position
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.providers.base import QuoteBoard
from app.services.websocket.frames import FrameFactory, Logged

PERIOD_SECONDS = 1.0


class SendUpdate(Protocol):
    """Shows a user something, in place of an unsent frame of the same key."""

    def __call__(self, user_id: int, channel: Channel, data: Mapping[str, object], *, key: str) -> None:
        """Never waits."""
        ...


class LivePositionService:
    """Values the open positions of users who watch them, and tells those whose mark has moved.

    A user's positions are read once, and again after an event that changed one of them.
    """

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        board: QuoteBoard,
        frames: FrameFactory,
        clock: Clock,
        *,
        watchers: Callable[[], Sequence[int]],
        send: SendUpdate,
    ) -> None:
        self._uow = uow
        self._board = board
        self._frames = frames
        self._clock = clock
        self._watchers = watchers
        self._send = send
        self._positions: dict[int, Sequence[Position]] = {}
        self._changed: set[int] = set()
        self._told: dict[int, Decimal] = {}

    def on_event(self, user_id: int, event: Logged | None) -> None:
        """Read a user's positions again where they changed, or where what happened before is not known."""
        if event is None or event.type == EventType.POSITION_UPDATED:
            self._changed.add(user_id)

    async def run(self) -> None:
        """Tell once a second until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            await self.tell()

    async def tell(self) -> None:
        """Send the value of each watched position whose mark has moved since it was last told."""
        watching = self._watchers()
        await self._read(watching)
        told: dict[int, Decimal] = {}
        for user_id in watching:
            for position in self._positions[user_id]:
                quote = self._board.latest(position.pair_id)
                if quote is None:
                    continue
                told[position.id] = quote.tick.mark
                if self._told.get(position.id) != quote.tick.mark:
                    self._send(user_id, Channel.POSITIONS, self._data_of(position), key=str(position.id))
        self._told = told

    async def _read(self, watching: Sequence[int]) -> None:
        """Have the positions of exactly those who watch; a change during the read is read next time."""
        kept = {user_id: self._positions[user_id] for user_id in watching if user_id in self._positions}
        wanted = [user_id for user_id in watching if user_id not in kept or user_id in self._changed]
        self._changed.clear()
        if wanted:
            async with self._uow() as work:
                for user_id in wanted:
                    kept[user_id] = await work.positions.open_for(user_id)
        self._positions = kept

    def _data_of(self, position: Position) -> Mapping[str, object]:
        live = self._frames.live_values(position)
        now = rfc3339(self._clock.now())
        return {"position_id": position.id, "trade_id": position.trade_id, **live, "updated_at": now}
