"""The paper venue: the conformance suite, and what is its own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from app.bootstrap import Container
from tests.unit.test_providers.conformance import VenueConformance
from tests.venues import PaperVenue, paper_venue


@pytest_asyncio.fixture
async def venue(container: Container) -> AsyncIterator[PaperVenue]:
    """The paper venue at 100 / 101; its books must balance after every test."""
    async with paper_venue(container) as venue:
        yield venue
        await venue.commit()
        await venue.assert_books_balance()


class TestPaperConforms(VenueConformance):
    """The suite, on paper."""
