"""What tests of repositories start from: a pair that exists, and patience where many wait for one row."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.models.market import Pair
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.factories import patient_uow


@pytest.fixture(scope="module")
def pair(container: Container) -> Pair:
    """BTC on the paper venue."""
    return container.directory.resolve_pair("BTCUSDT", "paper")


@pytest_asyncio.fixture(scope="module")
async def uow(container: Container, database_url: str) -> AsyncIterator[UnitOfWorkFactory]:
    """Opens units of work that are not given up for want of a processor."""
    async with patient_uow(container, database_url) as uow:
        yield uow
