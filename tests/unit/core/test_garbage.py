"""What lives as long as the process is passed over by the collector."""

import gc
from collections.abc import Iterator

import pytest

from app.core.garbage import spare_what_lives


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_exists_is_not_looked_at_again_and_what_comes_later_is() -> None:
    before: list[object] = [[]]
    spare_what_lives()
    later: list[object] = [[]]
    looked_at = {id(each) for each in gc.get_objects()}
    assert id(before) not in looked_at
    assert id(later) in looked_at
