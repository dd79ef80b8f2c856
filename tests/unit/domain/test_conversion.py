"""How far a conversion has come."""

from decimal import Decimal

import pytest

from app.domain.conversion import progress_of
from app.domain.enums import SwapStatus
from app.domain.lifecycle import SWAP_MOVES


@pytest.mark.parametrize(
    ("status", "percent"),
    [
        (SwapStatus.PENDING, Decimal(10)),
        (SwapStatus.PROCESSING, Decimal(30)),
        (SwapStatus.COMPLETED, Decimal(100)),
        (SwapStatus.FAILED, None),
    ],
)
def test_a_status_proves_a_part_of_the_way(status: SwapStatus, percent: Decimal | None) -> None:
    assert progress_of(status) == percent


def test_no_move_goes_back() -> None:
    for status, following in SWAP_MOVES.items():
        for after in following - {SwapStatus.FAILED}:
            before, reached = progress_of(status), progress_of(after)
            assert before is not None
            assert reached is not None
            assert reached > before
