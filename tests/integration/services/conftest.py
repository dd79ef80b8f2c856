"""A desk on a scripted venue; after each test its books must agree with what the venue executed."""

from collections.abc import AsyncIterator

import pytest_asyncio

from app.bootstrap import Container
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.pair_directory import PairDirectory
from tests.desks import Desk, make_desk, make_directory
from tests.factories import patient_uow


@pytest_asyncio.fixture(scope="module")
async def patient(container: Container, database_url: str) -> AsyncIterator[UnitOfWorkFactory]:
    """Opens units of work that are not given up for want of a processor."""
    async with patient_uow(container, database_url) as uow:
        yield uow


@pytest_asyncio.fixture(scope="module")
async def scripted_directory(container: Container) -> PairDirectory:
    """Pairs of scripted venues too."""
    return await make_directory(container)


@pytest_asyncio.fixture
async def desk(
    container: Container, patient: UnitOfWorkFactory, scripted_directory: PairDirectory
) -> AsyncIterator[Desk]:
    """A new user on a new venue."""
    desk = await make_desk(container, patient, scripted_directory)
    yield desk
    await desk.park()
    await desk.check()


@pytest_asyncio.fixture
async def netted(
    container: Container, patient: UnitOfWorkFactory, scripted_directory: PairDirectory
) -> AsyncIterator[Desk]:
    """A new user on a venue that keeps one position per market."""
    desk = await make_desk(container, patient, scripted_directory, netting=True)
    yield desk
    await desk.park()
    await desk.check()
