"""The paper venue's tables: a change names what it expects, and what a lost database means."""

from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.bootstrap import Container
from app.domain.enums import OrderSide, OrderType, PaperOrderStatus, PaperPositionStatus, PositionSide
from app.domain.errors import InvalidTransition, ProviderTimeout, Unavailable
from app.models.market import Pair
from app.models.paper import PaperOrder, PaperPosition
from app.repositories.outcomes import unknown_when_lost
from tests.factories import create_person
from tests.venues import next_client_id


async def rows(container: Container, pair: Pair) -> tuple[PaperOrder, PaperPosition]:
    """A cancelled order and a closed position."""
    person = await create_person(container)
    order = PaperOrder(
        client_id=next_client_id(),
        pair_id=pair.id,
        order_type=OrderType.LIMIT,
        side=OrderSide.BUY,
        reduce_only=False,
        status=PaperOrderStatus.CANCELLED,
        armed_sequence=1,
    )
    position = PaperPosition(
        pair_id=pair.id,
        opened_by=next_client_id(),
        side=PositionSide.LONG,
        size=Decimal(0),
        entry_price=Decimal(100),
        leverage=1,
        margin=Decimal(0),
        liquidation_price=Decimal(0),
        armed_sequence=1,
        armed_price=Decimal(100),
        status=PaperPositionStatus.CLOSED,
    )
    async with container.uow() as work:
        account, now = await work.paper_accounts.lock(person.id, Decimal(1))
        order.account_id = position.account_id = account.id
        position.closed_at = now
        await work.paper.add_all([order, position])
    return order, position


async def test_what_does_not_rest_or_is_not_open_is_not_changed(container: Container, pair: Pair) -> None:
    order, position = await rows(container, pair)

    with pytest.raises(InvalidTransition):
        async with container.uow() as work:
            await work.paper.change_order(order, status=PaperOrderStatus.FILLED)
    with pytest.raises(InvalidTransition):
        async with container.uow() as work:
            await work.paper.change_position(position, status=PaperPositionStatus.LIQUIDATED)
    with pytest.raises(InvalidTransition):
        async with container.uow() as work:
            await work.paper.end_positions([(position.id, 1)], PaperPositionStatus.LIQUIDATED, position.created_at)

    async with container.uow() as work:
        found = (await work.paper.positions([position.id]))[position.id]
        assert (await work.paper.by_client_ids([order.client_id]))[order.client_id].order.status is order.status
    assert found.status is PaperPositionStatus.CLOSED


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("40P01", Unavailable),
        ("40001", Unavailable),
        ("57P01", ProviderTimeout),
        ("55P03", ProviderTimeout),
        ("23514", DBAPIError),
    ],
)
async def test_what_a_failure_of_the_database_means(
    container: Container, sqlstate: str, expected: type[Exception]
) -> None:
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$")

    with pytest.raises(expected):
        async with unknown_when_lost(7), container.uow() as work:
            await work.session.execute(raising)


async def test_no_database_at_all_leaves_the_outcome_unknown() -> None:
    with pytest.raises(ProviderTimeout) as caught:
        async with unknown_when_lost(7):
            raise ConnectionRefusedError
    assert caught.value.details == {"client_id": 7}
