"""Fixtures of the venues' tests."""

from collections.abc import AsyncIterator

import pytest_asyncio

from app.bootstrap import Container
from tests.venues import PaperVenue, paper_venue


@pytest_asyncio.fixture
async def paper(container: Container) -> AsyncIterator[PaperVenue]:
    """The paper venue at 100 / 101; its books must balance after every test."""
    async with paper_venue(container) as venue:
        yield venue
        await venue.commit()
        await venue.assert_books_balance()
