"""Live stops: what is durable, once when it has begun and then when it moved, to those who watch."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.bootstrap import Container
from app.domain.channels import Channel
from app.domain.enums import OrderRole, OrderSide, OrderStatus, OrderType, PositionSide, TriggerBy
from app.domain.prices import Tick
from app.domain.triggers import Activated
from app.models.trading import Order, Trade
from app.repositories.engine_state_repository import EngineState, WatermarkKey
from app.services.live_stop_service import LiveStopService
from tests.factories import create_person
from tests.integration.websocket.market import Desk

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PAIR_SEQUENCE = 1_000_000


class Stage:
    """A service with its audience, and what it sent."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.watching: list[int] = []
        self.sent: list[tuple[int, str, int | None, Mapping[str, object]]] = []
        self.desk = Desk(container.uow, container.directory)
        self.sequence = PAIR_SEQUENCE
        self.service = LiveStopService(container.uow, container.clock, watchers=lambda: self.watching, send=self._keep)

    def _keep(
        self, user_id: int, channel: Channel, data: Mapping[str, object], *, key: str, trade_id: int | None
    ) -> None:
        assert channel is Channel.TRADES
        self.sent.append((user_id, key, trade_id, data))

    async def told(self) -> list[tuple[int, object, object]]:
        self.sent.clear()
        await self.service.tell()
        return [(user_id, data["stop_price"], data["watermark"]) for user_id, _, _, data in self.sent]

    async def trailing(self, trade: Trade, **values: Any) -> Order:
        """A trailing stop of 100 that was armed now at 50000."""
        self.sequence += 1
        base: dict[str, Any] = {
            "user_id": trade.user_id,
            "trade_id": trade.id,
            "pair_id": trade.pair_id,
            "provider": trade.provider,
            "asset": trade.asset,
            "role": OrderRole.EXIT,
            "order_type": OrderType.TRAILING_STOP,
            "side": OrderSide.SELL,
            "reduce_only": True,
            "quantity": trade.size,
            "trailing_stop_distance": Decimal(100),
            "status": OrderStatus.PENDING,
            "armed_sequence": self.sequence,
            "armed_price": Decimal(50000),
        }
        async with self.container.uow() as work:
            return await work.orders.add(Order(**(base | values)))

    async def save(self, order: Order, extreme: int, *activated: Activated) -> None:
        """The engine makes a watermark durable, and what began."""
        self.sequence += 1
        start = activated[0].sequence if activated else order.armed_sequence or 0
        key = WatermarkKey(TriggerBy.MARK, False, PositionSide.LONG, start)
        tick = Tick(order.pair_id, self.sequence, Decimal(1), Decimal(1), NOW + timedelta(seconds=1), "test")
        async with self.container.uow() as work:
            await work.engine_state.save([EngineState(tick, {key: Decimal(extreme)}, [], activated)], 1)


@pytest.fixture
async def stage(container: Container) -> Stage:
    return Stage(container)


async def test_a_stop_is_told_when_it_has_begun_and_when_it_moved(container: Container, stage: Stage) -> None:
    person, other = await create_person(container), await create_person(container)
    trade = await stage.desk.open_trade(person.id)
    order = await stage.trailing(trade)
    await stage.trailing(await stage.desk.open_trade(other.id, "ETHUSDT"))
    assert await stage.told() == []

    stage.watching = [person.id]
    assert await stage.told() == [(person.id, 49900, 50000)]
    assert stage.sent[0][1:3] == (str(order.id), trade.id)
    data = stage.sent[0][3]
    assert (data["event"], data["status"], data["order_id"], data["trade_id"]) == (
        "order.stop_moved",
        "stop_moved",
        order.id,
        trade.id,
    )
    assert await stage.told() == []
    await stage.save(order, 50500)
    assert await stage.told() == [(person.id, 50400, 50500)]
    assert await stage.told() == []
    stage.watching = []
    await stage.save(order, 50600)
    assert await stage.told() == []


async def test_before_its_activation_is_durable_there_is_no_stop(container: Container, stage: Stage) -> None:
    person = await create_person(container)
    stage.watching = [person.id]
    order = await stage.trailing(await stage.desk.open_trade(person.id), activation_price=Decimal(51000), version=2)
    assert await stage.told() == []
    await stage.save(order, 50900)
    assert await stage.told() == []

    await stage.save(order, 51200, Activated(order.id, 2, stage.sequence, Decimal(51000)))
    assert await stage.told() == [(person.id, 51100, 51200)]


async def test_a_stop_that_no_longer_waits_is_not_told(container: Container, stage: Stage) -> None:
    person = await create_person(container)
    stage.watching = [person.id]
    trade = await stage.desk.open_trade(person.id)
    for values in ({"status": OrderStatus.WAITING, "armed_price": None}, {"status": OrderStatus.TRIGGERED}):
        await stage.trailing(trade, **values)

    assert await stage.told() == []
