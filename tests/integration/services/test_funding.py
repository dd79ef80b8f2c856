"""Fundings on our side: booked once, whoever tells of them first, on the trade and the position that paid."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.errors import ProviderTimeout
from app.domain.trading import VenueFunding, VenueRef
from app.models.trading import Trade
from app.services.funding_service import FundingService
from app.services.providers.factory import ProviderFactory
from tests.desks import Desk
from tests.fakes import ScriptedVenue

PAID = Decimal("-1.000001")


class FundingVenue(ScriptedVenue):
    """A scripted venue that funds, too."""

    fundings: list[VenueFunding]
    is_silent = False

    async def funding_since(self, ref: VenueRef, since: datetime) -> list[VenueFunding]:
        if self.is_silent:
            self.is_silent = False
            raise ProviderTimeout
        return [one for one in self.fundings if one.venue_account_id == ref.venue_account_id and one.instant >= since]


def funding_of(trade: Trade, number: int = 0, amount: Decimal = PAID, size: Decimal | None = None) -> VenueFunding:
    assert trade.venue_trade_index is not None
    return VenueFunding(
        venue_account_id=trade.venue_account_id,
        venue_trade_index=trade.venue_trade_index,
        instant=datetime.now(UTC) + timedelta(hours=number),
        amount=amount,
        rate=Decimal("0.001"),
        size=trade.size if size is None else size,
        mark_price=Decimal(1000),
        sequence=1,
        margin_left=Decimal(99),
        liquidation_price=Decimal(911),
    )


def service(desk: Desk, *fundings: VenueFunding, silent_once: bool = False) -> FundingService:
    """The service, with a venue of the desk's accounts that has these fundings."""
    venue = FundingVenue(desk.venue.listing, iter(()), netting=desk.venue.capabilities.netting)
    venue.fundings, venue.is_silent = list(fundings), silent_once
    return FundingService(desk.uow, ProviderFactory({venue.name: venue}), desk.directory)


async def test_a_funding_is_booked_once_however_often_and_from_wherever_it_is_told(desk: Desk) -> None:
    trade = (await desk.open()).trade
    before = await desk.told()
    funding = funding_of(trade)

    booked = await asyncio.gather(*(service(desk).book(funding) for _ in range(5)))
    caught_up = await service(desk, funding, funding_of(trade, 1, Decimal("0.5"))).catch_up(await desk.trade(trade))

    position = await desk.position(trade)
    assert position is not None
    assert (sorted(booked), caught_up) == ([False] * 4 + [True], 1)
    assert (await desk.trade(trade)).funding == PAID + Decimal("0.5")
    assert (position.margin, position.liquidation_price) == (Decimal(99), Decimal(911))
    assert await desk.events(before) == ["trade.updated funding", "position.updated funding"] * 2


async def test_a_position_that_changed_since_keeps_what_its_fill_told(desk: Desk) -> None:
    trade = (await desk.open()).trade
    funded = funding_of(trade)
    await desk.close(trade, "0.5")
    kept = await desk.position(trade)

    await service(desk).book(funded)

    position = await desk.position(trade)
    assert kept is not None
    assert position is not None
    assert (position.margin, position.liquidation_price) == (kept.margin, kept.liquidation_price)
    assert (await desk.trade(trade)).funding == PAID


async def test_a_closed_trade_takes_a_funding_that_is_told_late(desk: Desk) -> None:
    trade = (await desk.open()).trade
    funded = funding_of(trade)
    await desk.close(trade)
    before = await desk.told()

    assert await service(desk, funded).catch_up_all(desk.venue.name) == 1

    assert (await desk.trade(trade)).funding == PAID
    assert await desk.events(before) == ["trade.updated funding"]


async def test_a_trade_that_cannot_be_asked_about_holds_up_no_other(desk: Desk) -> None:
    lost, other = (await desk.open()).trade, (await desk.open()).trade
    funded = funding_of(other)

    assert await service(desk, funded, silent_once=True).catch_up_all(desk.venue.name) == 1

    assert (await desk.trade(lost)).funding == 0
    assert (await desk.trade(other)).funding == PAID


async def test_a_funding_of_a_trade_that_is_not_known_yet_is_left_to_a_later_question(desk: Desk) -> None:
    trade = (await desk.open()).trade
    early = replace(funding_of(trade), venue_trade_index="not booked yet")

    assert not await service(desk).book(early)
    assert (await desk.trade(trade)).funding == 0


async def test_trades_that_are_netted_share_a_funding_by_their_sizes(netted: Desk) -> None:
    trades = [(await netted.open(collateral=Decimal(collateral))).trade for collateral in (100, 50, 51)]
    size = sum((trade.size for trade in trades), Decimal(0))
    funding = replace(funding_of(trades[0], size=size), margin_left=Decimal("200.000001"))

    booked = await asyncio.gather(*(service(netted).book(funding) for _ in range(5)))

    shares = [(await netted.trade(trade)).funding for trade in trades]
    positions = [await netted.position(trade) for trade in trades]
    assert sorted(booked) == [False] * 4 + [True]
    assert sum(shares, Decimal(0)) == PAID
    for trade, share in zip(trades, shares, strict=True):
        assert abs(share - PAID * trade.size / size) < Decimal("0.000003")
    assert sum((position.margin for position in positions if position is not None), Decimal(0)) == funding.margin_left
    assert {position.liquidation_price for position in positions if position is not None} == {Decimal(911)}


async def test_a_trade_that_was_opened_since_pays_no_funding_of_before(netted: Desk) -> None:
    first = (await netted.open()).trade
    funding = funding_of(first)
    second = (await netted.open()).trade
    kept = await netted.position(second)

    await service(netted, funding).catch_up(await netted.trade(second))

    assert [(await netted.trade(trade)).funding for trade in (first, second)] == [PAID, Decimal(0)]
    position = await netted.position(second)
    assert kept is not None
    assert position is not None
    assert (position.margin, position.liquidation_price) == (kept.margin, kept.liquidation_price)
