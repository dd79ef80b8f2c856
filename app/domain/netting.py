"""Venues that keep one position per market: what may be opened beside what is open or pending there."""

from collections.abc import Iterable
from typing import Any, Protocol

from app.domain.enums import PositionSide
from app.domain.errors import Conflict


class HeldTrade(Protocol):
    """A trade that has not ended; a Trade row satisfies it."""

    id: Any

    @property
    def side(self) -> PositionSide:
        """long or short."""
        ...

    leverage: Any


def conflict_with(trades: Iterable[HeldTrade], side: PositionSide, leverage: int) -> Conflict | None:
    """Why nothing can be opened on `side` at `leverage` beside the trades: POSITION_CONFLICT or LEVERAGE_CONFLICT."""
    held = list(trades)
    for trade in held:
        if trade.side is not side:
            return Conflict(
                f"This venue nets positions, and trade {trade.id} is {trade.side}: close it first.",
                code="POSITION_CONFLICT",
                trade_id=trade.id,
                side=trade.side,
            )
    for trade in held:
        if trade.leverage != leverage:
            return Conflict(
                f"This venue nets positions, and trade {trade.id} has a leverage of {trade.leverage}.",
                code="LEVERAGE_CONFLICT",
                trade_id=trade.id,
                leverage=trade.leverage,
            )
    return None
