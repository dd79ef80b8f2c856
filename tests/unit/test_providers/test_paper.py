"""The paper venue, by the conformance suite, as it is by default and as it can be; what is its own is in paper/."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from app.bootstrap import Container
from tests.unit.test_providers.conformance import VenueConformance
from tests.venues import TERMS, PaperVenue, paper_venue


@pytest.fixture
def venue(paper: PaperVenue) -> PaperVenue:
    """The venue that the suite runs on."""
    return paper


class TestPaperConforms(VenueConformance):
    """The suite, on paper."""


class TestPaperThatNetsConforms(VenueConformance):
    """The suite, where each account has one position a market, and exits rest at the venue."""

    @pytest_asyncio.fixture
    async def venue(self, container: Container) -> AsyncIterator[PaperVenue]:
        """The venue that the suite runs on."""
        async with paper_venue(container, replace(TERMS, netting=True, native_exits=True)) as paper:
            yield paper
            await paper.commit()
            await paper.assert_books_balance()


class LatePaper(PaperVenue):
    """A paper venue whose orders settle at the next tick, which `settle` makes at the same quote."""

    async def settle(self) -> None:
        last = self.board.ticks[self.pair.id][-1]
        self.tick(last.bid, last.ask)
        await self.commit()


class TestPaperThatSettlesLaterConforms(VenueConformance):
    """The suite, where every market order is accepted first and exits rest at the venue."""

    @pytest_asyncio.fixture
    async def venue(self, container: Container) -> AsyncIterator[LatePaper]:
        """The venue that the suite runs on."""
        terms = replace(TERMS, settle_ticks=1, native_exits=True)
        async with paper_venue(container) as paper:
            late = LatePaper(container, paper.directory, paper.board, paper.pair, terms)
            await late.start()
            yield late
            await late.commit()
            await late.assert_books_balance()
