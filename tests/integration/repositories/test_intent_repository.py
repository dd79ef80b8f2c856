"""Intents: each is taken by one sender only, and by the database's clock nothing lapses early."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from app.domain.enums import IntentKind, IntentStatus, OrderRole, OrderStatus, TradeStatus
from app.domain.errors import InvalidTransition
from app.models.market import Pair
from app.models.trading import Intent
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.factories import Person, create_intent, create_order, create_trade

LIFE, CHECK = timedelta(seconds=10), timedelta(seconds=3)
HOUR = timedelta(hours=1)


async def make_intents(uow: UnitOfWorkFactory, user: Person, pair: Pair, count: int, **values: object) -> list[Intent]:
    async with uow() as work:
        made = []
        for _ in range(count):
            trade = await create_trade(work, user.id, pair)
            made.append(await create_intent(work, await create_order(work, trade), trade, **values))
    return made


async def stored_intent(uow: UnitOfWorkFactory, intent_id: int) -> Intent:
    async with uow() as work:
        found = await work.intents.get(intent_id)
    assert found is not None
    return found


async def test_each_intent_is_taken_by_one_sender(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    ids = [intent.id for intent in await make_intents(uow, user, pair, 10)]

    async def take(number: int) -> list[int]:
        async with uow() as work:
            taken = [await work.intents.take_for_sending(intent_id, LIFE, CHECK) for intent_id in ids]
        return [intent.id for intent in taken if intent is not None]

    taken = await asyncio.gather(*(take(number) for number in range(12)))

    assert sorted(intent_id for mine in taken for intent_id in mine) == ids


async def test_what_was_sent_does_not_wait(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    sent, waiting = await make_intents(uow, user, pair, 2)
    async with uow() as work:
        await work.intents.take_for_sending(sent.id, LIFE, CHECK)

    async with uow() as work:
        await work.stand_alone()
        found = await work.intents.waiting([sent.id, waiting.id])

    assert found == {waiting.id: (waiting.id, waiting.trade_id, waiting.venue_account_id)}


async def test_an_effect_whose_trade_or_order_another_holds_is_passed_over(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    (intent,) = await make_intents(uow, user, pair, 1)

    async with uow() as work:
        effect = await work.intents.effect(intent.id, skip=True)
        assert effect is not None
        assert (effect.intent.id, effect.order.id, effect.trade.id) == (intent.id, intent.order_id, intent.trade_id)
        async with uow() as other:
            assert await other.intents.effect(intent.id, skip=True) is None
    for table, row_id in (("trades", intent.trade_id), ("orders", intent.order_id)):
        async with uow() as work, uow() as other:
            assert await getattr(work, table).locked([row_id], skip=True)
            assert await other.intents.effect(intent.id, skip=True) is None


async def test_a_sender_that_rolls_back_leaves_the_intent_to_the_next(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    (intent,) = await make_intents(uow, user, pair, 1)

    with pytest.raises(KeyError):
        async with uow() as work:
            assert await work.intents.take_for_sending(intent.id, LIFE, CHECK)
            raise KeyError
    async with uow() as work:
        assert await work.intents.take_for_sending(intent.id, LIFE, CHECK)


async def test_order_and_trade_go_with_the_intent_or_stay(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair, status=TradeStatus.PENDING)
        intent = await create_intent(work, await create_order(work, trade, role=OrderRole.ENTRY), trade)

    for takes in (True, False):
        async with uow() as work:
            effect = await work.intents.effect(intent.id, skip=False)
            assert effect is not None
            if not takes:
                # As they stood before the first one, which this taker has not seen.
                effect.order.status, effect.trade.status = OrderStatus.PENDING, TradeStatus.PENDING
                await work.session.flush()
            taken = await work.intents.take_for_sending(intent.id, LIFE, CHECK, moves=(effect.order, effect.trade))
            assert (taken is not None) is takes
        async with uow() as work:
            effect = await work.intents.effect(intent.id, skip=False)
        assert effect is not None
        told = (OrderStatus.SUBMITTED, TradeStatus.SUBMITTED) if takes else (OrderStatus.PENDING, TradeStatus.PENDING)
        assert (effect.order.status, effect.trade.status) == told


async def test_an_order_that_has_ended_is_not_on_its_way_again(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        order = await create_order(work, trade, status=OrderStatus.FILLED)
        intent = await create_intent(work, order, trade)

    with pytest.raises(InvalidTransition):
        async with uow() as work:
            await work.intents.take_for_sending(intent.id, LIFE, CHECK, moves=(order,))
    assert (await stored_intent(uow, intent.id)).status is IntentStatus.NEW


async def test_the_deadline_is_set_by_the_databases_clock_at_sending(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    (intent,) = await make_intents(uow, user, pair, 1)
    async with uow() as work:
        before = await work.session.scalar(select(func.clock_timestamp()))
        taken = await work.intents.take_for_sending(intent.id, LIFE, CHECK)
        after = await work.session.scalar(select(func.clock_timestamp()))

    assert before is not None
    assert after is not None
    assert taken is not None
    assert taken.status is IntentStatus.SENT
    for instant, delay in ((taken.sent_at, timedelta(0)), (taken.not_after, LIFE), (taken.next_run_at, CHECK)):
        assert instant is not None
        assert before + delay <= instant <= after + delay


async def test_the_longest_due_intents_come_first(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    now = datetime.now(UTC)
    (second,) = await make_intents(uow, user, pair, 1, next_run_at=now - HOUR)
    (first,) = await make_intents(uow, user, pair, 1, next_run_at=now - 2 * HOUR)
    (later,) = await make_intents(uow, user, pair, 1, next_run_at=now + HOUR)
    (ended,) = await make_intents(uow, user, pair, 1, next_run_at=now - HOUR, status=IntentStatus.DONE)
    (sent,) = await make_intents(uow, user, pair, 1, next_run_at=now - HOUR, status=IntentStatus.SENT)
    mine = {intent.id for intent in (first, second, later, ended, sent)}

    async with uow() as work:
        due = [row.id for row in await work.intents.due([IntentStatus.NEW], 100) if row.id in mine]
        await work.intents.postpone(first.id, HOUR)
        after = [row.id for row in await work.intents.due([IntentStatus.NEW], 100) if row.id in mine]

    assert (due, after) == ([first.id, second.id], [second.id])


async def test_all_of_a_venue_can_be_asked_about_at_once(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    later = datetime.now(UTC) + HOUR
    (sent,) = await make_intents(uow, user, pair, 1, next_run_at=later, status=IntentStatus.SENT)
    (new,) = await make_intents(uow, user, pair, 1, next_run_at=later)
    (other,) = await make_intents(uow, user, pair, 1, next_run_at=later, status=IntentStatus.SENT, provider="other")
    mine = {intent.id for intent in (sent, new, other)}

    async with uow() as work:
        await work.intents.ask_now(pair.venue, IntentStatus.SENT)
        due = [row.id for row in await work.intents.due(list(IntentStatus), 1000) if row.id in mine]

    assert due == [sent.id]


async def test_only_what_nobody_has_sent_can_be_withdrawn(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        entry = await create_order(work, trade, role=OrderRole.ENTRY)
        sent = await create_intent(work, entry, trade, kind=IntentKind.OPEN, status=IntentStatus.SENT)
        close = await create_intent(work, await create_order(work, trade), trade)
    async with uow() as work:
        assert not await work.intents.withdraw_unsent(trade.id, "user", IntentKind.OPEN)
        assert await work.intents.withdraw_unsent(trade.id, "liquidated", IntentKind.CLOSE)

    assert (await stored_intent(uow, sent.id)).status is IntentStatus.SENT
    withdrawn = await stored_intent(uow, close.id)
    assert (withdrawn.status, withdrawn.reason) == (IntentStatus.REJECTED, "liquidated")
    async with uow() as work:
        assert await work.intents.take_for_sending(close.id, LIFE, CHECK) is None


async def test_sending_and_withdrawing_at_once_exclude_each_other(
    uow: UnitOfWorkFactory, user: Person, pair: Pair
) -> None:
    made = await make_intents(uow, user, pair, 20)

    async def send(intent: Intent) -> bool:
        async with uow() as work:
            return bool(await work.intents.take_for_sending(intent.id, LIFE, CHECK))

    async def withdraw(intent: Intent) -> bool:
        async with uow() as work:
            return await work.intents.withdraw_unsent(intent.trade_id, "user", IntentKind.CLOSE)

    outcomes = await asyncio.gather(*(action(intent) for intent in made for action in (send, withdraw)))

    pairs = list(zip(outcomes[::2], outcomes[1::2], strict=True))
    assert all(sent is not withdrawn for sent, withdrawn in pairs)


async def test_the_newest_live_intent_of_an_order(uow: UnitOfWorkFactory, user: Person, pair: Pair) -> None:
    async with uow() as work:
        trade = await create_trade(work, user.id, pair)
        order = await create_order(work, trade)
        await create_intent(work, order, trade, attempt=0, kind=IntentKind.OPEN, status=IntentStatus.RESTING)
        newest = await create_intent(work, order, trade, attempt=1, kind=IntentKind.OPEN, status=IntentStatus.SENT)
        await create_intent(work, order, trade, attempt=2, kind=IntentKind.OPEN, status=IntentStatus.REJECTED)

        assert await work.intents.live_of_order(order.id, IntentKind.OPEN) is newest
        assert await work.intents.live_of_order(order.id, IntentKind.CANCEL) is None
