"""What lives as long as the process is passed over by the collector."""

import gc
from collections.abc import Iterator

import pytest

from app.core.garbage import YOUNG, spare_what_lives


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_what_exists_is_not_looked_at_again_and_what_comes_later_is() -> None:
    before: list[object] = [[]]
    spare_what_lives()
    later: list[object] = [[]]
    looked_at = {id(each) for each in gc.get_objects()}
    assert id(before) not in looked_at
    assert id(later) in looked_at


def test_what_is_under_way_is_looked_at_less_often_and_the_old_as_often_as_before() -> None:
    _, *others = gc.get_threshold()
    spare_what_lives()
    assert gc.get_threshold() == (YOUNG, *others)
