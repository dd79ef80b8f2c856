"""A venue that refuses, falls silent, is late and repeats itself: on paper, everything ends, and the books agree."""

import itertools
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select, text, update

from app.bootstrap import Container
from app.domain.enums import IntentKind, IntentStatus, OrderRole, OrderStatus, OrderType, TradeStatus, TriggeredLeg
from app.domain.errors import Conflict, InvalidRequest, NotFound, ProviderTimeout
from app.domain.lifecycle import LIVE_ORDER, OPEN_TRADE
from app.domain.routing import parse_rules
from app.domain.trading import VenueFill, VenueOutcome
from app.domain.triggers import Crossing
from app.models.trading import Intent, Order, Trade
from app.services.booking_service import BookingService
from app.services.claim_service import ClaimService, Crossed, latched_crossing
from app.services.execution_service import ExecutionService
from app.services.exit_order_service import ExitOrderService
from app.services.market_view import MarketView
from app.services.providers.factory import ProviderFactory
from app.services.providers.faults import REASON, FaultRates, FaultyVenue, parse_rates, with_faults
from app.services.providers.router import ProviderRouter
from app.services.settlement_service import SettlementService
from app.services.trading_service import Trader, TradingService
from tests.factories import create_person, open_terms
from tests.fakes import ManualClock
from tests.venues import PaperVenue, closing, opening, paper_venue
from tests.waiting import until

LIVE = (IntentStatus.NEW, IntentStatus.SENT, IntentStatus.RESTING)
OFTEN = FaultRates(reject=0.1, timeout_before=0.1, timeout_after=0.1, late=0.1, duplicate=0.2, refuse_close=0.2)
# Intents number the requests of the services; these are beyond them.
_client_ids = itertools.count(10**9)
REFUSALS = (Conflict, InvalidRequest, NotFound)


@pytest_asyncio.fixture
async def paper(container: Container) -> AsyncIterator[PaperVenue]:
    """A paper venue with a pair of its own at 100 / 101."""
    async with paper_venue(container) as venue:
        yield venue
        await venue.assert_books_balance()


def hasty() -> ManualClock:
    """A clock by which late requests have no time to lose."""
    return ManualClock(datetime.now(UTC) + timedelta(seconds=9))


def always(paper: PaperVenue, **rates: float) -> FaultyVenue:
    """The paper venue with one fault at every request."""
    return FaultyVenue(paper.provider, FaultRates(**rates), 1, hasty())


@pytest.mark.parametrize("rate", ["reject", "refuse_close"])
async def test_a_refusal_is_definite_and_never_reaches_the_venue(paper: PaperVenue, rate: str) -> None:
    ref = await paper.new_account()
    (fill,) = (await paper.provider.open_trade(await opening(paper, ref, client_id=next(_client_ids)))).fills
    params = replace(await closing(paper, fill, ref), client_id=next(_client_ids))

    result = await always(paper, **{rate: 1.0}).close_trade(ref.pair_id, fill.venue_trade_index, params)

    assert (result.outcome, result.reason) == (VenueOutcome.REJECTED, REASON)
    assert await paper.provider.query(ref, params.client_id) is None


@pytest.mark.parametrize(("rate", "is_done"), [("timeout_before", False), ("timeout_after", True), ("late", True)])
async def test_silence_says_nothing_about_what_was_done(paper: PaperVenue, rate: str, is_done: bool) -> None:
    ref = await paper.new_account()
    venue, params = always(paper, **{rate: 1.0}), await opening(paper, ref, client_id=next(_client_ids))

    with pytest.raises(ProviderTimeout):
        await venue.open_trade(params)
    await venue.landed()

    found = await venue.query(ref, params.client_id)
    assert (found is not None and found.outcome is VenueOutcome.FILLED) is is_done


async def test_an_answer_may_be_told_again(paper: PaperVenue) -> None:
    told: list[VenueFill] = []
    venue = always(paper, duplicate=1.0)

    async def listen(fill: VenueFill) -> None:
        told.append(fill)

    venue.on_fill(listen)
    result = await venue.open_trade(await opening(paper, await paper.new_account(), client_id=next(_client_ids)))

    assert told == list(result.fills)


@pytest.mark.parametrize("entry", ["reject", "reject=2", "reject=-0.1", "reject=x", "explode=0.1", "reject=nan", ""])
def test_rates_that_cannot_be_meant_are_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="none of"):
        parse_rates([entry])


def test_rates_that_exclude_each_other_may_not_exceed_one() -> None:
    with pytest.raises(ValueError, match="exceed"):
        parse_rates(["reject=0.6", "late=0.5"])
    assert parse_rates(["reject=0.5", "refuse_close=1"]) == FaultRates(reject=0.5, refuse_close=1.0)


async def test_a_venue_without_faults_is_itself(paper: PaperVenue) -> None:
    assert with_faults(paper.provider, [], 1, hasty()) is paper.provider


@dataclass
class Stack:
    """The trading services on a faulty paper venue, and one user."""

    paper: PaperVenue
    venue: FaultyVenue
    user_id: int
    chance: random.Random
    price: int = 100

    def __post_init__(self) -> None:
        container, paper = self.paper.container, self.paper
        uow, clock, factory = container.uow, container.clock, ProviderFactory({"paper": self.venue})
        router = ProviderRouter(factory, parse_rules("paper", [], []), paper.directory)
        self.booking = BookingService(uow, paper.board, clock)
        self.venue.on_fill(self.booking.book_fill)
        market = MarketView(uow, paper.directory, router, paper.board, paper.board.clock)
        self.execution = ExecutionService(uow, factory, paper.directory, self.booking, clock)
        self.trading = TradingService(uow, market, self.execution, container.broadcast, clock, 0)
        self.exits = ExitOrderService(uow, market, self.trading, self.execution)
        self.claims = ClaimService(uow, clock)
        self.settlement = SettlementService(
            uow, self.execution, self.booking, self.trading, factory, paper.directory, clock
        )

    async def trades(self, *statuses: TradeStatus) -> list[Trade]:
        async with self.paper.uow() as work:
            rows = await work.trades.of_user(self.user_id, statuses=statuses or None, before=None, limit=1000)
        return list(rows)

    async def orders(self, trade: Trade) -> list[Order]:
        async with self.paper.uow() as work:
            return list(await work.orders.of_trade(trade.id))

    async def step(self) -> None:
        """The market moves, and something is asked for; what is refused is refused."""
        self.price = max(97, min(103, self.price + self.chance.randint(-2, 2)))
        await self.paper.quote(str(self.price), str(self.price + 1))
        act = self.chance.choice([self.open, self.open, self.close, self.fire, self.fire, self.cancel, self.settle])
        try:
            await act()
        except REFUSALS:
            return

    async def open(self) -> None:
        values: dict[str, Any] = {"stop_price": Decimal(80)}
        if self.chance.random() < 0.3:
            values |= {"order_type": OrderType.LIMIT, "price": Decimal(98)}
        terms = open_terms(asset=self.paper.pair.symbol, leverage=2, **values)
        await self.trading.open_trade(Trader(self.user_id, may_trade=True, is_sandbox=False), terms, None)

    async def close(self) -> None:
        for trade in (await self.trades(*OPEN_TRADE))[:1]:
            fraction = Decimal(self.chance.choice(["1", "0.5"]))
            trader = Trader(self.user_id, may_trade=True, is_sandbox=False)
            await self.trading.close_trade(trader, trade.pair_id, trade.trade_index, fraction, None)

    async def fire(self) -> None:
        """An exit fires; one that fired before and was refused is claimed again."""
        for trade in await self.trades(TradeStatus.OPEN):
            waiting = [o for o in await self.orders(trade) if o.role is OrderRole.EXIT]
            for order in waiting:
                if order.status is not OrderStatus.PENDING or self.chance.random() < 0.5:
                    continue
                sequence = len(self.paper.board.ticks[self.paper.pair.id])
                crossing = Crossing(
                    order.id, order.version, sequence, Decimal(80), TriggeredLeg.STOP, Decimal(80), None
                )
                crossed = latched_crossing(order) or Crossed(crossing, datetime.now(UTC), "test")
                claims = await self.claims.claim([crossed])
                await self.execution.send([claim.intent_id for claim in claims if claim.intent_id is not None])

    async def cancel(self) -> None:
        for trade in (await self.trades(TradeStatus.SUBMITTED))[:1]:
            (entry,) = [order for order in await self.orders(trade) if order.role is OrderRole.ENTRY]
            await self.exits.cancel(self.user_id, entry.id)

    async def settle(self) -> None:
        await self._set(next_run_at=func.clock_timestamp())
        await self.settlement.run("paper", reconciles=True)

    async def _set(self, **values: Any) -> None:
        async with self.paper.uow() as work:
            account = await work.venue_accounts.ensure(self.user_id, "paper")
            mine = update(Intent).where(Intent.venue_account_id == account.id, Intent.status.in_(LIVE))
            await work.session.execute(mine.values(**values))

    async def come_to_rest(self) -> None:
        """Nothing fails any more, every deadline passes, and everything that rests is cancelled."""
        self.venue.rates = FaultRates()
        await until(lambda: self.execution.is_idle)
        await self.venue.landed()
        for _ in range(3):
            await self.settle()
            past = func.clock_timestamp() - text("interval '1 ms'")
            await self._set(not_after=past)
            await self.settle()
            for trade in await self.trades(TradeStatus.SUBMITTED):
                await self.exits.cancel(self.user_id, (await self.orders(trade))[0].id)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_fails_everything_ends_and_the_books_agree(paper: PaperVenue, seed: int) -> None:
    person = await create_person(paper.container)
    stack = Stack(paper, FaultyVenue(paper.provider, OFTEN, seed, hasty()), person.id, random.Random(seed))
    for _ in range(40):
        await stack.step()

    await stack.come_to_rest()

    trades = await stack.trades()
    assert {trade.status for trade in trades} <= {
        TradeStatus.OPEN,
        TradeStatus.CLOSED,
        TradeStatus.CANCELLED,
        TradeStatus.FAILED,
    }
    async with paper.uow() as work:
        account = await work.venue_accounts.ensure(person.id, "paper")
        held = await work.paper.open_positions_of([(person.id, paper.pair.id)])
        intents = (await work.session.scalars(select(Intent).where(Intent.venue_account_id == account.id))).all()
    assert {trade.venue_trade_index: trade.size for trade in trades if trade.size} == {
        str(position.id): position.size for position, _ in held
    }
    assert not [intent for intent in intents if intent.status in LIVE]
    sent = [(intent.order_id, intent.attempt) for intent in intents if intent.kind is IntentKind.CLOSE]
    assert len(set(sent)) == len(sent)
    for trade in trades:
        orders = await stack.orders(trade)
        assert not [order for order in orders if order.needs_review]
        exits = [order for order in orders if order.role is OrderRole.EXIT]
        assert [order.status in LIVE_ORDER for order in exits] == [trade.status is TradeStatus.OPEN] * len(exits)
