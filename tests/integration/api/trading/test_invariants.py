"""The invariants of the books: a sound history breaks none, and each hand that is laid on a row breaks its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta

import pytest
import pytest_asyncio
from loguru import logger
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from app.bootstrap import Container
from app.core import metrics
from app.domain.invariants import InvariantKind, Violation
from app.models.paper import PaperAccount
from app.repositories.invariant_repository import INVARIANTS
from app.repositories.unit_of_work import UnitOfWork
from app.services.invariant_service import InvariantService
from tests.factories import Person
from tests.integration.api.trading.market import HandMarket, Trader
from tests.waiting import until


@dataclass(frozen=True)
class History:
    """The ids of a user, and of a trade that is open, one that its stop closed, and one whose entry rests."""

    user: int
    open: int
    closed: int
    resting: int


@pytest_asyncio.fixture
async def history(trader: Trader, market: HandMarket) -> History:
    """What `trader` did: everything is told, and nothing is under way."""
    closed = await trader.open(order_type="STOP_LOSS", stop_price=49_000)
    opened = await trader.open(direction=False, order_type="OCO", oco_stop_price=54_000, oco_take_profit_price=46_000)
    part = await trader.close(opened, "?fraction=0.5")
    assert part.status_code == 200
    resting = await trader.open(order_type="LIMIT", price=30_000)
    await market.at(48_900)
    await trader.until_trade(closed, "closed")
    await market.at(50_000)
    return History(trader.person.id, opened["trade_id"], closed["trade_id"], resting["trade_id"])


@asynccontextmanager
async def rolled_back(container: Container) -> AsyncIterator[UnitOfWork]:
    """A unit of work that leaves no trace."""
    async with container.uow() as work:
        yield work
        await work.session.rollback()


async def broken_by(container: Container, history: History, *statements: str) -> list[Violation]:
    """What a full check finds after the statements."""
    async with rolled_back(container) as work:
        for statement in statements:
            used = {name: value for name, value in asdict(history).items() if f":{name}" in statement}
            await work.session.execute(text(statement), used)
        return await work.invariants.violations(list(InvariantKind), latest=None, grace=timedelta(0))


LATER = "clock_timestamp() - interval '1 hour'"
EXIT = "UPDATE orders SET {} WHERE trade_id = :open AND role = 'exit'"
ENTRY = "UPDATE orders SET {} WHERE trade_id = :resting AND role = 'entry'"
EFFECT = "UPDATE intents SET {} WHERE trade_id = :resting"
OPEN = "UPDATE trades SET {} WHERE id = :open"
CLOSED = "UPDATE trades SET {} WHERE id = :closed"
EVENTS = "UPDATE events SET {} WHERE user_id = :user"
SECOND_CLOSE = """
    INSERT INTO intents (order_id, trade_id, attempt, kind, provider, venue_account_id, pair_id, payload, status)
    SELECT order_id, trade_id, {}, 'close', provider, venue_account_id, pair_id, payload, '{}'
    FROM intents WHERE trade_id = :open AND kind = 'open'
"""
FIRED = "triggered_leg = 'stop', trigger_price = 1, trigger_sequence = 5, triggered_at = clock_timestamp()"

BREAKS: dict[str, tuple[str, ...]] = {
    "ledger_is_zero": (
        """UPDATE paper_ledger SET amount = amount + 1
            WHERE id = (SELECT max(id) FROM paper_ledger WHERE account_id IS NULL)""",
    ),
    "paper_accounts_agree": ("UPDATE paper_accounts SET balance = balance + 0.000001 WHERE user_id = :user",),
    "paper_executed_once": (
        """UPDATE paper_orders SET client_id = client_id + 1000000
            WHERE client_id = (SELECT max(id) FROM intents WHERE trade_id = :closed)""",
    ),
    "paper_fills_are_booked": (
        """UPDATE paper_orders SET status = 'filled'
            WHERE client_id = (SELECT id FROM intents WHERE trade_id = :resting)""",
    ),
    "paper_positions_agree": (
        """UPDATE paper_positions SET size = size * 2
            WHERE id = (SELECT venue_trade_index::bigint FROM trades WHERE id = :open)""",
    ),
    "paper_positions_exist": (OPEN.format("venue_trade_index = '999999999'"),),
    "trade_size": (OPEN.format("size = size * 2"),),
    "not_overclosed": ("UPDATE fills SET quantity = quantity * 3 WHERE trade_id = :closed AND is_close",),
    "trade_money": (CLOSED.format("fees = fees + 1"),),
    "open_means_size": (CLOSED.format("status = 'open'"),),
    "entry_and_trade": ("UPDATE trades SET status = 'failed' WHERE id = :resting",),
    "closing_has_effect": (OPEN.format("status = 'closing'"),),
    "open_has_no_close": (SECOND_CLOSE.format(8, "sent"),),
    "one_closing_effect": (
        OPEN.format("status = 'closing'"),
        SECOND_CLOSE.format(8, "sent"),
        SECOND_CLOSE.format(9, "resting"),
    ),
    "position_agrees": ("UPDATE positions SET is_open = true WHERE trade_id = :closed",),
    "order_fills": ("UPDATE orders SET fee = fee + 1 WHERE trade_id = :closed AND role = 'entry'",),
    "filled_means_filled": ("UPDATE orders SET quantity = quantity * 2 WHERE trade_id = :closed AND role = 'entry'",),
    "done_means_filled": (EFFECT.format("status = 'done'"), ENTRY.format("status = 'partially_filled'")),
    "sent_has_effect": (EFFECT.format("status = 'rejected'"),),
    "cancel_has_effect": (ENTRY.format("status = 'pending_cancel'"),),
    "exit_outlives_trade": ("UPDATE orders SET status = 'waiting' WHERE trade_id = :closed AND role = 'exit'",),
    "exit_is_armed": (EXIT.format("armed_sequence = NULL"),),
    "exit_covers_trade": (EXIT.format("quantity = quantity * 2"),),
    "exit_facts": (EXIT.format("latched_sequence = 5"),),
    "event_sequences": ("UPDATE event_counters SET sequence = sequence + 5 WHERE user_id = :user",),
    "event_counters": ("DELETE FROM events WHERE user_id = :user",),
    "effects_are_looked_after": (EFFECT.format(f"next_run_at = {LATER}"),),
    "parts_are_looked_after": (
        ENTRY.format(f"status = 'partially_filled', updated_at = {LATER}"),
        EFFECT.format("status = 'rejected'"),
    ),
    "unknown_is_reviewed": (ENTRY.format(f"status = 'unknown', unknown_since = {LATER}"),),
    "latched_is_claimed": (
        EXIT.format(f"latched_sequence = 5, next_run_at = {LATER}, {FIRED}"),
        OPEN.format(f"updated_at = {LATER}"),
    ),
    "events_are_sent": (EVENTS.format(f"fanned_out_at = NULL, created_at = {LATER}"),),
    "keys_are_free": (
        """INSERT INTO idempotency_records (user_id, key, fingerprint, locked_until)
            VALUES (:user, 'k', 'f', clock_timestamp() + interval '1 hour')""",
    ),
}
# What comes with a break since the same row breaks it too.
ALSO = {
    "paper_executed_once": {"paper_fills_are_booked"},
    "trade_size": {"position_agrees", "paper_positions_agree", "exit_covers_trade"},
    "paper_positions_exist": {"paper_positions_agree"},
    "not_overclosed": {"trade_size", "order_fills"},
    "done_means_filled": {"paper_executed_once"},
    "event_sequences": {"event_counters"},
}


async def test_a_sound_history_breaks_nothing(container: Container, history: History) -> None:
    service = InvariantService(container.uow)

    async def is_sound() -> bool:
        return not await service.check(is_full=True, is_at_rest=True)

    await until(is_sound)
    assert await service.check() == []


@pytest.mark.parametrize("name", [invariant.name for invariant in INVARIANTS])
async def test_a_hand_on_a_row_breaks_what_it_should(name: str, container: Container, history: History) -> None:
    found = await broken_by(container, history, *BREAKS[name])

    assert {violation.name for violation in found} == {name} | ALSO.get(name, set())
    assert all(0 < len(violation.ids) <= min(violation.count, 5) for violation in found)


async def test_only_the_newest_rows_are_looked_at_unless_a_check_is_full(
    container: Container, history: History
) -> None:
    always = [InvariantKind.ALWAYS]
    async with rolled_back(container) as work:
        for trade_id in (history.open, history.resting):
            await work.session.execute(text("UPDATE trades SET fees = 77 WHERE id = :id"), {"id": trade_id})
        (newest,) = await work.invariants.violations(always, latest=1)
        (everything,) = await work.invariants.violations(always, latest=None)

    assert (newest.name, newest.ids) == ("trade_money", (history.resting,))
    assert {history.open, history.resting} <= set(everything.ids)


async def test_a_check_cannot_write(container: Container, user: Person) -> None:
    with pytest.raises(DBAPIError, match="read-only transaction"):
        async with container.uow() as work:
            await work.invariants.freeze()
            await work.session.execute(text("UPDATE users SET is_active = false"))


async def test_a_check_in_the_background_counts_and_logs_what_does_not_hold(
    container: Container, history: History
) -> None:
    async def add(amount: int) -> None:
        account = update(PaperAccount).where(PaperAccount.user_id == history.user)
        async with container.uow() as work:
            await work.session.execute(account.values(balance=PaperAccount.balance + amount))

    def counted(number: str) -> bool:
        return f'invariant_violations{{name="paper_accounts_agree"}} {number}'.encode() in metrics.exposition()

    told: list[str] = []
    sink = logger.add(told.append, level="ERROR", format="{message}")
    checks = InvariantService(container.uow)
    try:
        for amount, number in ((0, "0.0"), (1, "1.0"), (-1, "0.0")):
            await add(amount)
            await checks.check_and_tell()
            assert counted(number)
    finally:
        logger.remove(sink)
    assert any("paper_accounts_agree: paper accounts that differ" in line for line in told)
