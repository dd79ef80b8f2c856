"""Databases with a simulated clock."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import make_url

from app.core import migrations
from tests.conftest import MakeDatabase, in_thread
from tests.simulation.clock import give_clock, use_clock

type MakeWorld = Callable[[], str]


@pytest.fixture(scope="session")
def simulated_database(postgres_url: str, empty_database: MakeDatabase) -> Iterator[MakeDatabase]:
    """Creates migrated databases whose clock is simulated."""
    from tests.conftest import _databases

    template = empty_database()
    give_clock(template)
    in_thread(lambda: migrations.upgrade(template))
    with _databases(postgres_url, str(make_url(template).database)) as make_copy:

        def make() -> str:
            url = make_copy()
            use_clock(url)
            return url

        yield make
