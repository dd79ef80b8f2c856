"""Where trailing stops stand now, to those who watch their trades: at most once a second, never in the log."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from app.core.clock import Clock
from app.core.json import rfc3339
from app.domain.channels import Channel
from app.models.trading import Order
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.live_stops import LiveStop, live_stops

PERIOD_SECONDS = 1.0
STOP_MOVED = "order.stop_moved"


class SendStop(Protocol):
    """Shows a user's subscribers of a trade something, in place of an unsent frame of the same key."""

    def __call__(
        self, user_id: int, channel: Channel, data: Mapping[str, object], *, key: str, trade_id: int | None
    ) -> None:
        """Never waits."""
        ...


class LiveStopService:
    """Tells users who watch their trades where each trailing stop stands, once it has begun and when it moved.

    Only what is durable is told: everything is read from the rows that a restart would go on from.
    """

    def __init__(
        self, uow: UnitOfWorkFactory, clock: Clock, *, watchers: Callable[[], Sequence[int]], send: SendStop
    ) -> None:
        self._uow = uow
        self._clock = clock
        self._watchers = watchers
        self._send = send
        self._told: dict[int, LiveStop] = {}

    async def run(self) -> None:
        """Tell once a second until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            await self.tell()

    async def tell(self) -> None:
        """Send each watched stop that has begun or moved since it was last told."""
        watching = self._watchers()
        told: dict[int, LiveStop] = {}
        if watching:
            async with self._uow() as work:
                orders = await work.orders.trailing_of(watching)
                stops = await live_stops(work, orders)
            for order in orders:
                stop = stops.get(order.id)
                if stop is None:
                    continue
                told[order.id] = stop
                if self._told.get(order.id) != stop:
                    data = self._data_of(order, stop)
                    self._send(order.user_id, Channel.TRADES, data, key=str(order.id), trade_id=order.trade_id)
        self._told = told

    def _data_of(self, order: Order, stop: LiveStop) -> Mapping[str, object]:
        return {
            "event": STOP_MOVED,
            "status": STOP_MOVED.partition(".")[2],
            "order_id": order.id,
            "trade_id": order.trade_id,
            "stop_price": stop.stop_price,
            "watermark": stop.watermark,
            "updated_at": rfc3339(self._clock.now()),
        }
