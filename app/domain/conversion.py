"""How far the conversion of a deposit to USDC on Arbitrum has come."""

from collections.abc import Mapping
from decimal import Decimal

from app.domain.enums import SwapStatus

# Percent of the way that a status alone proves: the deposit has arrived, its swap is signed, the USDC is there.
_PROVEN: Mapping[SwapStatus, Decimal] = {
    SwapStatus.PENDING: Decimal(10),
    SwapStatus.PROCESSING: Decimal(30),
    SwapStatus.COMPLETED: Decimal(100),
}


def progress_of(status: SwapStatus) -> Decimal | None:
    """Percent of the way that a swap has come at least; None where it has failed."""
    return _PROVEN.get(status)
