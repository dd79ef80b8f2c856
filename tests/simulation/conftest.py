"""Databases with a simulated clock."""

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import make_url

from app.core import migrations
from tests.conftest import MakeDatabase, databases, in_thread
from tests.simulation.clock import give_clock, use_clock


@pytest.fixture(scope="session")
def simulated_database(postgres_url: str, empty_database: MakeDatabase) -> Iterator[MakeDatabase]:
    """Creates migrated databases whose clock is simulated."""
    template = empty_database()
    give_clock(template)
    in_thread(lambda: migrations.upgrade(template))
    with databases(postgres_url, str(make_url(template).database)) as make_copy:

        def make() -> str:
            url = make_copy()
            use_clock(url)
            return url

        yield make
