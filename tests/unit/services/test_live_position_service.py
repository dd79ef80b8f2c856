"""Live values of positions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.bootstrap import Container
from app.domain.channels import Channel
from app.domain.prices import Market, Quote, Tick
from app.repositories.unit_of_work import UnitOfWork
from app.services.live_position_service import LivePositionService
from app.services.websocket.frames import FrameFactory, LoggedEvent
from tests.factories import create_person
from tests.integration.websocket.market import Desk

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
POSITION_UPDATED = LoggedEvent(1, 1, "position.updated", "{}", NOW)


class Board:
    """Marks that a test sets."""

    def __init__(self) -> None:
        self.marks: dict[int, Decimal] = {}

    def latest(self, pair_id: int) -> Quote | None:
        mark = self.marks.get(pair_id)
        return Quote(Tick(pair_id, 1, mark, mark, NOW, "paper"), NOW, Market(is_open=True)) if mark else None

    def kept(self, pair_id: int, after_sequence: int) -> Sequence[Tick]:
        return ()


class Stage:
    """A service with its audience, and what it sent."""

    def __init__(self, container: Container) -> None:
        self.board = Board()
        self.watching: list[int] = []
        self.reads = 0
        self.sent: list[tuple[int, str, Mapping[str, object]]] = []
        self._uow = container.uow
        self.desk = Desk(container.uow, container.directory)
        frames = FrameFactory(self.board, container.clock)
        self.service = LivePositionService(
            self._counted, self.board, frames, container.clock, watchers=lambda: self.watching, send=self._keep
        )

    def _counted(self) -> UnitOfWork:
        self.reads += 1
        return self._uow()

    def _keep(self, user_id: int, channel: Channel, data: Mapping[str, object], *, key: str) -> None:
        assert channel is Channel.POSITIONS
        self.sent.append((user_id, key, data))

    async def told(self) -> list[tuple[int, object, object]]:
        self.sent.clear()
        await self.service.tell()
        return [(user_id, data["current_price"], data["unrealized_pnl"]) for user_id, _, data in self.sent]


@pytest.fixture
async def stage(container: Container) -> Stage:
    return Stage(container)


async def test_watched_positions_are_told_when_their_mark_moves(container: Container, stage: Stage) -> None:
    person, other = await create_person(container), await create_person(container)
    trade = await stage.desk.open_trade(person.id)
    await stage.desk.open_trade(other.id)
    assert await stage.told() == []
    stage.watching = [person.id]
    assert await stage.told() == []
    stage.board.marks[trade.pair_id] = Decimal(51000)
    assert await stage.told() == [(person.id, 51000, 100)]
    assert stage.sent[0][2]["trade_id"] == trade.id
    assert await stage.told() == []
    stage.board.marks[trade.pair_id] = Decimal(49000)
    assert await stage.told() == [(person.id, 49000, -100)]
    stage.watching = []
    stage.board.marks[trade.pair_id] = Decimal(48000)
    assert await stage.told() == []


async def test_positions_are_read_once_and_again_when_they_changed(container: Container, stage: Stage) -> None:
    person = await create_person(container)
    stage.watching = [person.id]
    await stage.told()
    trade = await stage.desk.open_trade(person.id)
    stage.board.marks[trade.pair_id] = Decimal(51000)
    assert await stage.told() == []
    assert stage.reads == 1

    stage.service.on_event(person.id, POSITION_UPDATED)
    assert await stage.told() == [(person.id, 51000, 100)]
    stage.service.on_event(person.id, LoggedEvent(2, 2, "order.created", "{}", NOW))
    stage.service.on_event(person.id + 1, POSITION_UPDATED)
    assert await stage.told() == []
    assert stage.reads == 2

    await stage.desk.open_trade(person.id)
    stage.service.on_event(person.id, None)
    assert len(await stage.told()) == 1
    assert stage.reads == 3
