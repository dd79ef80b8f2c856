"""The order engine's passes: nobody who is slow, locked or broken keeps others from their protection."""

from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest_asyncio
from sqlalchemy import update

from app.domain.enums import OrderStatus, TradeStatus
from app.domain.prices import Quote, Tick
from app.domain.trading import VenueFill
from app.models.trading import Order, Trade
from app.services.lease_keeper import LeaseKeeper, LeaseLost
from app.services.order_engine import OrderEngine
from app.services.providers.base import Match
from tests.desks import Desk
from tests.venues import HandBoard
from tests.waiting import until


class NoMatching:
    """A venue that matches nothing by itself."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_tick(self, tick: Tick) -> Sequence[Match]:
        return ()

    async def book(self, matches: Sequence[Match]) -> list[VenueFill]:
        raise AssertionError("there is nothing to book")

    async def load(self, pair_ids: Sequence[int]) -> Sequence[Match]:
        return ()

    async def catch_up(self) -> None:
        return

    def unload(self) -> None:
        return

    def on_late_match(self, listener: Callable[[Sequence[Match]], None]) -> None:
        self.listener = listener


class EngineBoard:
    """The hand-made ticks of a desk."""

    def __init__(self, board: HandBoard) -> None:
        self._board = board

    def latest(self, pair_id: int) -> Quote | None:
        return self._board.latest(pair_id)

    def kept(self, pair_id: int, after_sequence: int) -> Sequence[Tick]:
        return self._board.kept(pair_id, after_sequence)

    def restart(self) -> None:
        return


def new_engine(desk: Desk, batch: int = 100) -> OrderEngine:
    board, matching = EngineBoard(desk.board), NoMatching(desk.venue.name)
    return OrderEngine(desk.uow, board, matching, desk.claims, desk.execution, batch=batch)


@pytest_asyncio.fixture
async def engine(desk: Desk) -> AsyncIterator[OrderEngine]:
    """An engine that watches the desk's pair, in batches of two."""
    engine = new_engine(desk, batch=2)
    await engine.load([desk.pair.id])
    engine.on_tick(desk.tick("999.5", "1000.5"))
    yield engine
    await end(desk, engine)


async def opened(desk: Desk, engine: OrderEngine, **values: Any) -> tuple[Trade, Order]:
    """A trade with one exit that the engine watches."""
    placed = await desk.open(**values)
    await engine.follow([order.id for order in placed.exits])
    return placed.trade, placed.exits[0]


async def fall(desk: Desk, engine: OrderEngine) -> None:
    """The market falls below every stop of these tests."""
    engine.on_tick(desk.tick("949.5", "950.5"))


async def end(desk: Desk, engine: OrderEngine) -> None:
    """Let everything come to its end."""
    await engine.work_off()
    await until(lambda: desk.execution.is_idle)
    await desk.settle()
    await until(lambda: desk.execution.is_idle)


async def test_a_locked_trade_delays_no_other(desk: Desk, engine: OrderEngine) -> None:
    pairs = [await opened(desk, engine, stop_price=Decimal(960)) for _ in range(3)]
    async with desk.uow() as work:
        await work.trades.locked([pairs[0][0].id])
        await fall(desk, engine)

        assert await engine.work_off() == 2

        assert [(await desk.order(order)).status is OrderStatus.PENDING for _, order in pairs] == [True, False, False]
        assert not engine.is_idle
    assert await engine.work_off() == 1
    assert (await desk.order(pairs[0][1])).trigger_sequence == desk.sequence


async def test_the_nearest_to_its_liquidation_is_claimed_first(desk: Desk, engine: OrderEngine) -> None:
    exits = [(await opened(desk, engine, stop_price=Decimal(992), leverage=x))[1] for x in (2, 50, 5, 20, 10)]
    engine.on_tick(desk.tick("991", "992"))

    assert await engine.work_off() == 5

    intents = {}
    for order in exits:
        (intent,) = [i for i in await desk.intents(await desk.trade_of(order)) if i.order_id == order.id]
        intents[order.id] = intent.id
    by_leverage = [exits[i] for i in (1, 3, 4, 2, 0)]
    # In batches of two: those of one batch are claimed together.
    firsts = [sorted(intents[order.id] for order in batch) for batch in (by_leverage[:2], by_leverage[2:4])]
    assert firsts[0][-1] < firsts[1][0]
    assert firsts[1][-1] < intents[exits[0].id]


async def test_what_can_never_be_claimed_is_for_a_person_and_holds_up_nobody(desk: Desk, engine: OrderEngine) -> None:
    (broken, its_exit), (sound, other) = [await opened(desk, engine, stop_price=Decimal(960)) for _ in range(2)]
    index = broken.venue_trade_index
    async with desk.uow() as work:
        await work.session.execute(update(Trade).where(Trade.id == broken.id).values(venue_trade_index=None))
    await fall(desk, engine)

    assert await engine.work_off() == 2

    put_off = await desk.order(its_exit)
    assert (put_off.needs_review, put_off.latched_sequence) == (True, desk.sequence)
    assert (await desk.trade(sound)).status is not TradeStatus.OPEN
    assert (await desk.order(other)).trigger_sequence == desk.sequence
    async with desk.uow() as work:
        await work.session.execute(update(Trade).where(Trade.id == broken.id).values(venue_trade_index=index))
        await work.session.execute(update(Order).where(Order.id == its_exit.id).values(next_run_at=None))
    # Once it is mended, it is closed without a new crossing.
    await engine.retry_latched()
    assert await engine.work_off() == 1
    assert (await desk.order(its_exit)).trigger_sequence == desk.sequence


async def test_only_the_holder_of_the_lease_writes_checkpoints(desk: Desk, engine: OrderEngine) -> None:
    first, second = (
        LeaseKeeper(desk.uow, f"engine:{desk.venue.name}", name, predecessor_is_dead=name == "second")
        for name in ("first", "second")
    )
    token = await first.take()
    later = await second.take()
    assert later > token

    try:
        await engine.checkpoint(first, token)
    except LeaseLost:
        refused = True
    else:
        refused = False
    async with desk.uow() as work:
        written = await work.engine_state.checkpoints([desk.pair.id])

    assert (refused, written) == (True, {})
    await engine.checkpoint(second, later)
    async with desk.uow() as work:
        assert (await work.engine_state.checkpoints([desk.pair.id]))[desk.pair.id].token == later


async def test_an_engine_that_takes_over_fires_what_the_first_did_not_commit(desk: Desk, engine: OrderEngine) -> None:
    _, order = await opened(desk, engine, stop_price=Decimal(960))
    await fall(desk, engine)
    fell_at = desk.sequence
    # The first dies here, with the crossing in its queue.
    heir = new_engine(desk)
    await heir.load([desk.pair.id])
    for tick in desk.board.kept(desk.pair.id, -1):
        heir.on_tick(tick)

    assert await heir.work_off() == 1

    assert (await desk.order(order)).trigger_sequence == fell_at
    await until(lambda: desk.execution.is_idle)
    assert await engine.work_off() == 1, "the paused one finds it gone"


async def test_an_activation_whose_order_is_locked_holds_up_its_pair_alone(desk: Desk, engine: OrderEngine) -> None:
    lease = LeaseKeeper(desk.uow, f"engine:{desk.venue.name}", "only", predecessor_is_dead=True)
    token = await lease.take()
    placed = await desk.open(trailing_stop_distance=Decimal(20), activation_price=Decimal(1010))
    (order,) = placed.exits
    await engine.follow([order.id])
    engine.on_tick(desk.tick("1014.5", "1015.5"))
    async with desk.uow() as work:
        await work.orders.locked([order.id])

        await engine.checkpoint(lease, token)

        assert (await desk.order(order)).activated_sequence is None
    await engine.checkpoint(lease, token)
    began = await desk.order(order)
    assert (began.activated_sequence, began.armed_price) == (desk.sequence, Decimal(1015))
    assert "order.updated activated" in await desk.events()
    await desk.close(placed.trade)
