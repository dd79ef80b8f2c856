"""Random histories of requests and ticks: money is conserved, nothing is done twice, a restart changes nothing."""

import random
from collections import defaultdict
from decimal import Decimal

import pytest

from app.domain.enums import PositionSide
from app.domain.money import ZERO
from app.domain.trading import VenueFill, VenueOutcome, VenueRef
from tests.venues import LONG_AGO, STARTING_BALANCE, PaperVenue, closing, opening

STEPS = 250


class Crowd:
    """Some users who do anything at any time, and a market that jumps; remembers every fill it was told."""

    def __init__(self, paper: PaperVenue, refs: list[VenueRef], dice: random.Random) -> None:
        self.paper = paper
        self.refs = refs
        self.dice = dice
        self.price = Decimal(100)
        self.open: list[tuple[VenueRef, VenueFill]] = []
        self.resting: list[tuple[VenueRef, int]] = []
        self.told: dict[int, dict[str, VenueFill]] = defaultdict(dict)

    async def step(self) -> None:
        await self.dice.choice([self.enter, self.enter, self.leave, self.cancel, self.move, self.move, self.book])()

    async def enter(self) -> None:
        ref, side = self.dice.choice(self.refs), self.dice.choice(list(PositionSide))
        away = Decimal(self.dice.randint(-300, 300)) / 100
        params = await opening(
            self.paper,
            ref,
            side=side,
            collateral=str(Decimal(self.dice.randint(1_000_000, 900_000_000)) / 1_000_000),
            leverage=self.dice.choice([1, 3, 20, 50]),
            price=str(self.price + away) if self.dice.random() < 0.4 else None,
        )
        result = await self.paper.provider.open_trade(params)
        if result.outcome is VenueOutcome.RESTING:
            self.resting.append((ref, params.client_id))
        self.hear(result.fills)
        self.open += [(ref, fill) for fill in result.fills]

    async def leave(self) -> None:
        if not self.open:
            return
        ref, fill = self.dice.choice(self.open)
        size = fill.quantity if self.dice.random() < 0.5 else fill.quantity * self.dice.randint(1, 99) / 100
        params = await closing(self.paper, fill, ref, size=size // Decimal("0.000001") * Decimal("0.000001"))
        self.hear((await self.paper.provider.close_trade(ref.pair_id, fill.venue_trade_index, params)).fills)

    async def cancel(self) -> None:
        if self.resting:
            ref, client_id = self.dice.choice(self.resting)
            self.hear((await self.paper.provider.cancel_order(ref, client_id)).fills)

    async def move(self) -> None:
        self.price = max(Decimal(20), self.price + Decimal(self.dice.randint(-400, 400)) / 100)
        self.paper.tick(self.price, self.price + Decimal(self.dice.randint(0, 20)) / 100)

    async def book(self) -> None:
        """Ticks are booked some time later, or lost with the process, which starts again."""
        if self.dice.random() < 0.3:
            self.paper.matches.clear()
            await self.paper.start()
        fills = await self.paper.commit()
        self.hear(fills)
        owner = {ref.venue_account_id: ref for ref in self.refs}
        self.open += [(owner[fill.venue_account_id], fill) for fill in fills if not fill.is_close]

    def hear(self, fills: object) -> None:
        assert isinstance(fills, list | tuple)
        for fill in fills:
            known = self.told[fill.venue_account_id].setdefault(fill.fill_id, fill)
            assert known == fill


@pytest.mark.parametrize("seed", range(3))
async def test_money_is_conserved_over_any_history(paper: PaperVenue, seed: int) -> None:
    refs = [await paper.new_account() for _ in range(3)]
    crowd = Crowd(paper, refs, random.Random(seed))

    for number in range(STEPS):
        await crowd.step()
        if number % 50 == 0:
            await paper.assert_books_balance()
    await crowd.book()

    liquidations = 0
    for ref in refs:
        fills = await paper.provider.fills_since(ref, LONG_AGO)
        balance = await paper.provider.balance(ref)
        pnl, fees = sum((fill.pnl for fill in fills), ZERO), sum((fill.fee for fill in fills), ZERO)
        resting = [await paper.provider.query(ref, client_id) for owner, client_id in crowd.resting if owner is ref]
        assert STARTING_BALANCE + pnl - fees == balance.free + balance.locked
        assert {fill.fill_id for fill in fills} == crowd.told[ref.venue_account_id].keys()
        assert all(result is not None for result in resting)
        for position in await paper.provider.open_positions([ref]):
            mine = [fill for fill in fills if fill.venue_trade_index == position.venue_trade_index]
            assert position.size == sum((-fill.quantity if fill.is_close else fill.quantity for fill in mine), ZERO)
            assert mine[-1].margin_left == position.margin
        liquidations += sum(fill.is_liquidation for fill in fills)
    assert liquidations > 0


async def test_the_same_ticks_make_the_same_fills_whatever_breaks_between(paper: PaperVenue) -> None:
    """Two accounts trade alike; the books are read anew at random moments. Both end with the same facts."""
    first, second = await paper.new_account(), await paper.new_account()
    dice = random.Random(7)
    for _ in range(15):
        side, leverage, away = dice.choice(list(PositionSide)), dice.choice([10, 25, 50]), dice.randint(-200, 200)
        limit = str(Decimal(100) + Decimal(away) / 100) if dice.random() < 0.5 else None
        for ref in (first, second):
            params = await opening(paper, ref, side=side, leverage=leverage, collateral="50", price=limit)
            await paper.provider.open_trade(params)
    price = Decimal(100)
    for _ in range(120):
        price += Decimal(dice.randint(-100, 100)) / 100
        paper.tick(price, price + Decimal("0.05"))
        if dice.random() < 0.2:
            paper.matches.clear()
            await paper.start()
        elif dice.random() < 0.5:
            await paper.commit()
    await paper.commit()

    facts = [
        [
            (fill.sequence, fill.price, fill.quantity, fill.fee, fill.pnl, fill.is_liquidation)
            for fill in sorted(await paper.provider.fills_since(ref, LONG_AGO), key=lambda fill: int(fill.sequence))
        ]
        for ref in (first, second)
    ]
    assert sorted(facts[0]) == sorted(facts[1])
    assert any(fact[-1] for fact in facts[0])
    assert (await paper.provider.balance(first)).free == (await paper.provider.balance(second)).free
