"""What tests of repositories start from: a pair that exists."""

import pytest

from app.bootstrap import Container
from app.models.market import Pair


@pytest.fixture(scope="module")
def pair(container: Container) -> Pair:
    """BTC on the paper venue."""
    return container.directory.resolve_pair("BTCUSDT", "paper")
