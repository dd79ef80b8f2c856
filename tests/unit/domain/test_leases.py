"""Whether a lease says that somebody watches."""

from datetime import timedelta

import pytest

from app.domain.leases import SeenLease


@pytest.mark.parametrize(
    ("ends_in", "age", "is_watched"),
    [
        # Nobody ever held it.
        (None, 0, False),
        # Held, and looked at a moment or some seconds ago.
        (3, 0, True),
        (3, 7.9, True),
        # Its holder died, and nobody has looked again since.
        (3, 8, False),
        # Let go or over just now: another is about to take over.
        (0, 0, True),
        (0, 4.9, True),
        (0, 5, False),
        (-4.9, 0, True),
        (-5, 0, False),
        (-3600, 0, False),
        (-4, 1.5, False),
    ],
)
def test_an_engine_is_there_until_the_hand_over_has_failed(ends_in: float | None, age: float, is_watched: bool) -> None:
    lease = SeenLease(None if ends_in is None else timedelta(seconds=ends_in))
    assert lease.is_watched(timedelta(seconds=age)) is is_watched
