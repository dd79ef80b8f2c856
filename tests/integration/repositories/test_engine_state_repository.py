"""What the order engine keeps: leases with growing tokens, and checkpoints that a stale token cannot write."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from app.bootstrap import Container
from app.domain.enums import OrderRole, OrderSide, OrderStatus, OrderType, PositionSide, TriggerBy
from app.domain.prices import Tick
from app.domain.triggers import Activated
from app.models.market import Pair
from app.models.trading import Order
from app.repositories.engine_state_repository import EngineState, WatermarkKey
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.factories import create_person

LIFE, RUN_OUT = timedelta(seconds=30), timedelta(seconds=-1)
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def key(from_sequence: int, side: PositionSide = PositionSide.LONG) -> WatermarkKey:
    return WatermarkKey(TriggerBy.MARK, False, side, from_sequence)


def state(
    pair_id: int, sequence: int, upserts: Mapping[WatermarkKey, str] | None = None, *deletes: WatermarkKey
) -> EngineState:
    tick = Tick(pair_id, sequence, Decimal(100), Decimal(102), NOW + timedelta(seconds=sequence), "test")
    return EngineState(tick, {k: Decimal(text) for k, text in (upserts or {}).items()}, list(deletes))


async def take(
    uow: UnitOfWorkFactory,
    name: str,
    life: timedelta = LIFE,
    *,
    predecessor_is_dead: bool = False,
    holder: str | None = None,
) -> int | None:
    """Take a lease as somebody new, but where a holder is given."""
    holder = holder or uuid4().hex
    async with uow() as work:
        return await work.engine_state.take_lease(name, holder, life, predecessor_is_dead=predecessor_is_dead)


async def save(uow: UnitOfWorkFactory, token: int, *states: EngineState) -> int:
    async with uow() as work:
        return (await work.engine_state.save(states, token)).refused


async def kept(uow: UnitOfWorkFactory, pair_id: int) -> tuple[int, dict[int, Decimal]]:
    """The sequence of a pair's checkpoint, and its watermarks by from_sequence."""
    async with uow() as work:
        checkpoint = (await work.engine_state.checkpoints([pair_id]))[pair_id]
        rows = await work.engine_state.watermarks([pair_id])
    return checkpoint.sequence, {row.from_sequence: row.extreme for row in rows}


async def test_of_many_takers_one_gets_the_lease(uow: UnitOfWorkFactory) -> None:
    tokens = await asyncio.gather(*(take(uow, "raced") for _ in range(12)))

    assert [token for token in tokens if token is not None] == [1]


async def test_a_lease_is_taken_when_it_ran_out_was_let_go_or_its_holder_is_dead(uow: UnitOfWorkFactory) -> None:
    assert await take(uow, "lease", RUN_OUT) == 1
    assert await take(uow, "lease") == 2
    assert await take(uow, "lease") is None
    assert await take(uow, "lease", predecessor_is_dead=True) == 3
    async with uow() as work:
        await work.engine_state.release_lease("lease", 2)
    assert await take(uow, "lease") is None
    async with uow() as work:
        await work.engine_state.release_lease("lease", 3)
    assert await take(uow, "lease") == 4


async def test_a_holder_that_lost_its_place_takes_its_own_lease_again_at_once(uow: UnitOfWorkFactory) -> None:
    assert await take(uow, "own", holder="me") == 1
    assert await take(uow, "own", holder="me") == 2
    assert await take(uow, "own", holder="another") is None


async def test_only_the_newest_token_renews(uow: UnitOfWorkFactory) -> None:
    old = await take(uow, "renewed", RUN_OUT)
    new = await take(uow, "renewed", RUN_OUT)
    assert old is not None
    assert new is not None
    async with uow() as work:
        assert not await work.engine_state.renew_lease("renewed", old, LIFE)
        assert await work.engine_state.renew_lease("renewed", new, LIFE)

    assert await take(uow, "renewed") is None


@pytest.fixture
def pair_ids(container: Container, pair: Pair) -> tuple[int, int]:
    return pair.id, container.directory.resolve_pair("ETHUSDT", "paper").id


async def test_a_stale_token_writes_neither_checkpoint_nor_watermarks(
    uow: UnitOfWorkFactory, pair_ids: tuple[int, int]
) -> None:
    pair_id, other_id = pair_ids
    assert await save(uow, 5, state(pair_id, 100, {key(90): "101"})) == 0

    refused = await save(uow, 4, state(other_id, 7, {key(1): "50"}), state(pair_id, 200, {key(95): "99"}, key(90)))

    assert refused == 1
    assert await kept(uow, pair_id) == (100, {90: Decimal(101)})
    assert await kept(uow, other_id) == (7, {1: Decimal(50)})


async def test_a_checkpoint_and_its_watermarks_move_together(uow: UnitOfWorkFactory, pair: Pair) -> None:
    await save(uow, 6, state(pair.id, 300, {key(210): "101", key(250): "100", key(210, PositionSide.SHORT): "1"}))
    await save(uow, 6, state(pair.id, 310, {key(250): "105"}, key(210)))

    async with uow() as work:
        checkpoint = (await work.engine_state.checkpoints([pair.id]))[pair.id]
        rows = {(row.side, row.from_sequence): row.extreme for row in await work.engine_state.watermarks([pair.id])}
    assert (checkpoint.sequence, checkpoint.token, checkpoint.tick_at) == (310, 6, NOW + timedelta(seconds=310))
    assert (checkpoint.bid, checkpoint.ask) == (Decimal(100), Decimal(102))
    assert rows.get((PositionSide.LONG, 210)) is None
    assert rows[PositionSide.LONG, 250] == Decimal(105)
    assert rows[PositionSide.SHORT, 210] == Decimal(1)


async def test_what_is_saved_and_rolled_back_is_not_there(uow: UnitOfWorkFactory, pair: Pair) -> None:
    await save(uow, 7, state(pair.id, 400))
    with pytest.raises(KeyError):
        async with uow() as work:
            await work.engine_state.save([state(pair.id, 500, {key(450): "120"})], 7)
            raise KeyError

    sequence, rows = await kept(uow, pair.id)
    assert sequence == 400
    assert 450 not in rows


async def trailing_stop(uow: UnitOfWorkFactory, container: Container, status: OrderStatus) -> Order:
    """A trailing stop that waits for its activation, or has fired since."""
    person = await create_person(container)
    pair = container.directory.resolve_pair("BTCUSDT", "paper")
    async with uow() as work:
        return await work.orders.add(
            Order(
                user_id=person.id,
                pair_id=pair.id,
                provider=pair.venue,
                asset=pair.base,
                role=OrderRole.EXIT,
                order_type=OrderType.TRAILING_STOP,
                side=OrderSide.SELL,
                quantity=Decimal(1),
                trailing_stop_distance=Decimal(5),
                activation_price=Decimal(110),
                status=status,
                version=4,
                armed_sequence=690,
                armed_price=Decimal(100),
            )
        )


async def began(uow: UnitOfWorkFactory, order: Order) -> tuple[int | None, int | None, Decimal | None]:
    async with uow() as work:
        (row,) = await work.orders.rows([order.id])
    return row.activated_sequence, row.armed_sequence, row.armed_price


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.TRIGGERED])
async def test_where_a_trailing_stop_began_is_saved_with_its_checkpoint(
    uow: UnitOfWorkFactory, container: Container, pair: Pair, status: OrderStatus
) -> None:
    order = await trailing_stop(uow, container, status)
    begun = state(pair.id, 700, {key(695): "112"})

    assert await save(uow, 9, replace(begun, activated=[Activated(order.id, 4, 695, Decimal(111))])) == 0

    assert await began(uow, order) == (695, 695, Decimal(111))
    again = replace(state(pair.id, 701), activated=[Activated(order.id, 4, 700, Decimal(115))])
    await save(uow, 9, again)
    assert await began(uow, order) == (695, 695, Decimal(111))


@pytest.mark.parametrize(("token", "version"), [(9, 5), (8, 4)], ids=["another version", "a stale token"])
async def test_terms_that_changed_since_and_a_stale_token_save_no_activation(
    uow: UnitOfWorkFactory, container: Container, pair: Pair, token: int, version: int
) -> None:
    await save(uow, 9, state(pair.id, 702))
    order = await trailing_stop(uow, container, OrderStatus.PENDING)

    begun = replace(state(pair.id, 703), activated=[Activated(order.id, version, 695, Decimal(111))])
    assert await save(uow, token, begun) == (token == 8)

    assert await began(uow, order) == (None, 690, Decimal(100))


async def test_two_engines_saving_the_same_pairs_do_not_deadlock(
    uow: UnitOfWorkFactory, pair_ids: tuple[int, int]
) -> None:
    one, other = pair_ids
    states = [state(one, 600, {key(550): "101"}), state(other, 600, {key(550): "101"})]

    refused = await asyncio.gather(*(save(uow, 10, *(states if number % 2 else states[::-1])) for number in range(12)))

    assert refused == [0] * 12
