"""Random histories: whatever a venue does to requests, whoever dies when, the books end as the venue's do."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import IntentKind, OrderRole, OrderStatus, OrderType, TradeStatus
from app.domain.errors import Conflict, InvalidRequest, NotFound
from app.domain.order_terms import ExitChanges
from app.domain.trading import VenueOutcome
from app.models.trading import Trade
from app.services.claim_service import latched_crossing
from tests.desks import IN_FLIGHT, Desk
from tests.fakes import Act, Step

OPENS: list[Step] = [
    *[Act.FILL] * 4,
    Act.ACCEPT,
    Act.REST,
    (Act.PART, "0.05"),
    (Act.PART_ONLY, "0.05"),
    (Act.REJECT, "BUSY"),
    Act.UNHEARD,
    Act.NONSENSE,
    Act.LATE,
    Act.UNSENT,
]
CLOSES: list[Step] = [
    *[Act.FILL] * 3,
    Act.ACCEPT,
    (Act.PART, "0.01"),
    (Act.PART_ONLY, "0.01"),
    (Act.REJECT, "MARKET_CLOSED"),
    (Act.REJECT, "BUSY"),
    Act.UNHEARD,
    Act.LATE,
    Act.UNSENT,
]
CANCELS: list[Step] = [Act.FILL, Act.ACCEPT, (Act.REJECT, "BUSY"), Act.UNHEARD, Act.LATE, Act.UNSENT]
LIVE = (VenueOutcome.ACCEPTED, VenueOutcome.RESTING, VenueOutcome.PARTIALLY_FILLED)
ENDED = (TradeStatus.CLOSED, TradeStatus.LIQUIDATED, TradeStatus.CANCELLED, TradeStatus.FAILED)
REFUSALS = (Conflict, NotFound, InvalidRequest)


class History:
    """One user's trades, at the mercy of chance."""

    def __init__(self, desk: Desk, chance: random.Random) -> None:
        self.desk = desk
        self.chance = chance
        self.price = 1000
        self.steps: list[Callable[[], Awaitable[object]]] = [
            *[self.open] * 4,
            *[self.fire] * 4,
            *[self.close] * 2,
            *[self.venue_acts] * 3,
            self.late_request_arrives,
            self.venue_tells_old_news,
            self.liquidate,
            self.cancel,
            self.amend,
            self.retry_latched,
            self.die_before_sending,
            self.desk.settle,
            self.deadline_passes,
            self.reconcile,
        ]

    async def step(self) -> None:
        desk, chance = self.desk, self.chance
        await self.move()
        for request, acts in (("open", OPENS), ("close", CLOSES), ("cancel", CANCELS)):
            desk.venue.expect(request, chance.choice(acts))
        try:
            await chance.choice(self.steps)()
        except REFUSALS:
            return

    async def move(self) -> None:
        self.desk.board.clock.set(datetime.now(UTC))
        self.price = max(990, min(1010, self.price + self.chance.randint(-5, 5)))
        self.desk.tick(str(self.price), str(self.price + 1))

    def terms(self) -> dict[str, Any]:
        is_long = self.chance.random() < 0.5
        far = Decimal(960 if is_long else 1040)
        values: dict[str, Any] = {"is_long": is_long, "stop_price": far, "trailing_stop_distance": Decimal(30)}
        if self.chance.random() < 0.3:
            values |= {"order_type": OrderType.LIMIT, "price": Decimal(985 if is_long else 1015)}
        return values

    async def open(self) -> None:
        await self.desk.open_unsettled(**self.terms())

    async def die_before_sending(self) -> None:
        if self.chance.random() < 0.5:
            await self.desk.write(**self.terms())
        elif trade := await self.some_trade(TradeStatus.OPEN):
            await self.desk.write_close(trade, self.chance.choice(["1", "0.5"]))

    async def some_trade(self, *statuses: TradeStatus) -> Trade | None:
        async with self.desk.uow() as work:
            rows = await work.trades.of_user(self.desk.user_id, statuses=statuses, before=None, limit=100)
        return self.chance.choice(rows) if rows else None

    async def close(self) -> None:
        if trade := await self.some_trade(TradeStatus.OPEN, TradeStatus.SUBMITTED, TradeStatus.CLOSING):
            await self.desk.close_unsettled(trade, self.chance.choice(["1", "0.5", "0.1"]))

    async def fire(self) -> None:
        trade = await self.some_trade(TradeStatus.OPEN, TradeStatus.CLOSING)
        exits = await self.desk.orders(trade, OrderRole.EXIT) if trade else []
        waiting = [e for e in exits if e.status is OrderStatus.PENDING and e.latched_sequence is None]
        fired = self.chance.sample(waiting, self.chance.randint(0, len(waiting)))
        claims = await self.desk.claim(*(self.desk.crossed(order) for order in fired))
        if self.chance.random() < 0.8:
            await self.desk.execution.send([claim.intent_id for claim in claims if claim.intent_id is not None])

    async def retry_latched(self) -> None:
        if trade := await self.some_trade(TradeStatus.OPEN):
            latched = [c for order in await self.desk.orders(trade) if (c := latched_crossing(order)) is not None]
            claims = await self.desk.claim(*latched)
            await self.desk.execution.send([claim.intent_id for claim in claims if claim.intent_id is not None])

    async def cancel(self) -> None:
        if trade := await self.some_trade(*TradeStatus):
            await self.desk.exits.cancel(self.desk.user_id, self.chance.choice(await self.desk.orders(trade)).id)

    async def amend(self) -> None:
        if trade := await self.some_trade(TradeStatus.OPEN, TradeStatus.SUBMITTED):
            order = self.chance.choice(await self.desk.orders(trade))
            changes = ExitChanges(stop_price=Decimal(961 if trade.direction else 1039))
            await self.desk.exits.amend(self.desk.user_id, order.id, changes)

    async def venue_acts(self) -> None:
        """The venue goes on with something it has; it may tell by itself."""
        venue = self.desk.venue
        live = [order for order in venue.orders.values() if order.outcome in LIVE and venue.can_fill(order)]
        if not live:
            return
        order = self.chance.choice(live)
        if self.chance.random() < 0.3:
            outcome = self.chance.choice([VenueOutcome.CANCELLED, VenueOutcome.REJECTED])
            venue.end(order.client_id, outcome, "THE_VENUES_WORD")
            return
        left = order.size - order.filled
        part = (
            None
            if left <= Decimal("0.01") or self.chance.random() < 0.3
            else str(self.chance.choice([left / 2, "0.01"]))
        )
        fill = venue.execute(order.client_id, part)
        if self.chance.random() < 0.5:
            await self.desk.booking.book_fill(fill)

    async def late_request_arrives(self) -> None:
        venue = self.desk.venue
        due = [i for i in await self.sent() if i in venue.late and venue.can_arrive(i)]
        if due:
            venue.arrive(self.chance.choice(due))

    async def sent(self) -> list[int]:
        """What has been sent and may still land: its deadline has not passed."""
        async with self.desk.uow() as work:
            now = await work.intents.now()
            rows = await work.intents.rows(list(self.desk.venue.late))
        return [row.id for row in rows if row.not_after is not None and row.not_after >= now]

    async def venue_tells_old_news(self) -> None:
        if fills := self.desk.venue.fills:
            await self.desk.booking.book_fill(self.chance.choice(fills))

    async def liquidate(self) -> None:
        venue = self.desk.venue
        if venue.positions and self.chance.random() < 0.5:
            fill = venue.liquidate(self.chance.choice(list(venue.positions)))
            if self.chance.random() < 0.5:
                await self.desk.booking.book_fill(fill)

    async def deadline_passes(self) -> None:
        await self.desk.lapse()
        await self.desk.settle()

    async def reconcile(self) -> None:
        await self.desk.settlement.reconcile(self.desk.venue.name)

    async def come_to_rest(self) -> None:
        """The venue ends what it has, every deadline passes, and everything is asked about."""
        venue = self.desk.venue
        for order in venue.orders.values():
            if order.outcome in LIVE:
                if venue.can_fill(order):
                    venue.execute(order.client_id)
                else:
                    venue.end(order.client_id, VenueOutcome.REJECTED, "GONE")
        venue.expect_nothing()
        for _ in range(4):
            await self.desk.settle()
            await self.deadline_passes()
            await self.reconcile()


@pytest.mark.parametrize("seed", range(8))
async def test_books_end_as_the_venues_do(desk: Desk, seed: int) -> None:
    history = History(desk, random.Random(seed))
    for number in range(60):
        await history.step()
        if number % 10 == 0:
            await desk.check(has_heard=False)

    await history.come_to_rest()

    await desk.check()
    async with desk.uow() as work:
        trades = await work.trades.of_user(desk.user_id, statuses=None, before=None, limit=1000)
    assert all(trade.status in (*ENDED, TradeStatus.OPEN) for trade in trades)
    await history.move()
    for trade in trades:
        orders = await desk.orders(trade)
        assert not [order for order in orders if order.needs_review or order.status in IN_FLIGHT]
        sent = [intent for intent in await desk.intents(trade) if intent.kind is IntentKind.CLOSE]
        assert len({(intent.order_id, intent.attempt) for intent in sent}) == len(sent)
        if trade.status is TradeStatus.OPEN:
            assert (await desk.close(trade)).trade.status is TradeStatus.CLOSED
