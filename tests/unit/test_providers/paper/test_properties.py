"""Random histories of orders in parts, fundings, exits, liquidations and restarts: every unit is explained."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bootstrap import Container
from app.domain.enums import PositionSide
from app.domain.ledger import LedgerAccount
from app.domain.money import ZERO
from app.domain.positions import pnl_of
from app.domain.trading import ExitParams, VenueFill, VenueOutcome, VenueRef
from tests.venues import LONG_AGO, TERMS, PaperVenue, closing, next_client_id, opening, paper_venue

UNIT = Decimal("0.000001")
RATE = Decimal("0.0005")
LEVERAGES = st.sampled_from([1, 10, 50])
STEPS = st.one_of(
    st.tuples(st.just("open"), st.sampled_from(PositionSide), LEVERAGES, st.integers(10_000_001, 900_000_000)),
    st.tuples(st.just("limit"), st.sampled_from(PositionSide), LEVERAGES, st.integers(-300, 300)),
    st.tuples(st.just("close"), st.integers(0, 9), st.integers(1, 100)),
    st.tuples(st.just("exit"), st.integers(0, 9), st.integers(1, 500)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("tick"), st.integers(-300, 300), st.sampled_from([1, 600, 3600, 8000])),
    st.tuples(st.just("tick"), st.integers(-300, 300), st.just(1)),
    st.tuples(st.just("book")),
    st.tuples(st.just("restart")),
)


class Story:
    """One user's history on a venue."""

    def __init__(self, venue: PaperVenue, ref: VenueRef) -> None:
        self.venue = venue
        self.ref = ref
        self.price = Decimal(100)
        self.client_ids: list[int] = []

    async def do(self, step: tuple[object, ...]) -> None:
        await getattr(self, str(step[0]))(*step[1:])

    async def open(self, side: PositionSide, leverage: int, units: int) -> None:
        collateral = str(units * UNIT)
        await self.ask(side, leverage, collateral, None)

    async def limit(self, side: PositionSide, leverage: int, away: int) -> None:
        await self.ask(side, leverage, "123.456789", str(max(self.price + Decimal(away) / 100, Decimal(1))))

    async def ask(self, side: PositionSide, leverage: int, collateral: str, price: str | None) -> None:
        params = await opening(
            self.venue, self.ref, side=side, leverage=leverage, collateral=collateral, price=price, seconds=600
        )
        self.client_ids.append(params.client_id)
        await self.venue.provider.open_trade(params)

    async def close(self, which: int, percent: int) -> None:
        held = await self.held(which)
        if held is not None:
            size = held.size_left * percent / 100 // UNIT * UNIT
            params = await closing(self.venue, held, self.ref, size=size or UNIT)
            self.client_ids.append(params.client_id)
            await self.venue.provider.close_trade(self.ref.pair_id, held.venue_trade_index, params)

    async def exit(self, which: int, away: int) -> None:
        held = await self.held(which)
        if held is not None:
            is_long = held.side.value == "buy"
            step = Decimal(away) / 100 * (1 if is_long else -1)
            params = ExitParams(
                next_client_id(),
                self.ref,
                held.venue_trade_index,
                PositionSide.LONG if is_long else PositionSide.SHORT,
                held.size_left,
                await self.venue.deadline(600),
                (self.price - step).quantize(Decimal("0.01")),
                (self.price + step).quantize(Decimal("0.01")),
            )
            self.client_ids.append(params.client_id)
            await self.venue.provider.place_exit(params)

    async def cancel(self, which: int) -> None:
        if self.client_ids:
            await self.venue.provider.cancel_order(self.ref, self.client_ids[which % len(self.client_ids)])

    async def tick(self, cents: int, seconds: int) -> None:
        self.price = max(self.price + Decimal(cents) / 100, Decimal(60))
        self.venue.board.clock.advance(seconds)
        self.venue.tick(self.price, self.price + Decimal("0.05"))

    async def book(self) -> None:
        await self.venue.commit()

    async def restart(self) -> None:
        """The process dies with what it had matched, and reads everything anew."""
        self.venue.matches.clear()
        await self.venue.start()

    async def held(self, which: int) -> VenueFill | None:
        """A fill that stands for an open position, all of it."""
        positions = await self.venue.provider.open_positions([self.ref])
        if not positions:
            return None
        position = positions[which % len(positions)]
        fills = await self.venue.provider.fills_since(self.ref, LONG_AGO)
        first = next(fill for fill in fills if fill.venue_trade_index == position.venue_trade_index)
        return replace(first, quantity=position.size, size_left=position.size)


async def check(story: Story, funded_before: Decimal) -> None:
    """The books balance, and fills and fundings explain every position and every unit of the balance."""
    venue, ref = story.venue, story.ref
    await venue.assert_books_balance()
    fills = await venue.provider.fills_since(ref, LONG_AGO)
    fundings = await venue.provider.funding_since(ref, LONG_AGO)
    balance = await venue.provider.balance(ref)
    assert balance.free >= 0
    assert balance.locked >= 0
    assert len({fill.fill_id for fill in fills}) == len(fills)
    unpaid = await venue.house(LedgerAccount.FUNDING) + sum((funding.amount for funding in fundings), ZERO)
    assert unpaid == funded_before
    positions = {position.venue_trade_index: position for position in await venue.provider.open_positions([ref])}
    for index in {fill.venue_trade_index for fill in fills}:
        mine = [fill for fill in fills if fill.venue_trade_index == index]
        left = sum((-fill.quantity if fill.is_close else fill.quantity for fill in mine), ZERO)
        assert left == (positions[index].size if index in positions else 0) >= 0
    assert positions.keys() <= {fill.venue_trade_index for fill in fills}
    for client_id in story.client_ids:
        result = await venue.provider.query(ref, client_id)
        assert result is not None
        if result.outcome is VenueOutcome.FILLED:
            assert result.fills[-1].is_last
    _check_rounding(fills)


def _check_rounding(fills: list[VenueFill]) -> None:
    """A close brings at most its exact PnL, and less by less than one unit, where its loss ends before the margin."""
    entries: dict[str, tuple[Decimal, Decimal]] = {}
    for fill in fills:
        size, cost = entries.get(fill.venue_trade_index, (ZERO, ZERO))
        if not fill.is_close:
            entries[fill.venue_trade_index] = size + fill.quantity, cost + fill.quantity * fill.price
            continue
        side = PositionSide.LONG if fill.side.value == "sell" else PositionSide.SHORT
        exact = pnl_of(side, fill.quantity, cost / size, fill.price)
        is_capped = fill.pnl > exact
        assert is_capped or exact - fill.pnl < UNIT + Decimal("1e-9")
        if is_capped and not fill.is_liquidation:
            assert fill.fee == 0 or fill.pnl - exact < Decimal("1e-9")
        entries[fill.venue_trade_index] = size - fill.quantity, cost * (size - fill.quantity) / size


@pytest.mark.parametrize("netting", [False, True])
@pytest.mark.parametrize(("settle_ticks", "fill_parts"), [(0, 1), (0, 3), (2, 1), (1, 4)])
@given(steps=st.lists(STEPS, min_size=10, max_size=40))
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
async def test_any_history_keeps_the_books(
    container: Container, settle_ticks: int, fill_parts: int, netting: bool, steps: list[tuple[object, ...]]
) -> None:
    terms = replace(
        TERMS,
        settle_ticks=settle_ticks,
        fill_parts=fill_parts,
        funding_rate=RATE,
        funding_seconds=3600,
        native_exits=True,
        netting=netting,
    )
    async with paper_venue(container, terms) as venue:
        await venue.commit()
        story = Story(venue, await venue.new_account())
        funded_before = await venue.house(LedgerAccount.FUNDING)
        for step in steps:
            await story.do(step)
        await story.book()
        await check(story, funded_before)
        if netting:
            assert len(await venue.provider.open_positions([story.ref])) <= 1
