"""What a tick does inside the paper venue, as it is queued until it is booked."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.domain.enums import OrderSide


class MatchKind(StrEnum):
    """What a tick can do by itself."""

    FUNDING = "funding"
    LIQUIDATION = "liquidation"
    EXIT = "exit"
    LIMIT_FILL = "limit_fill"
    WORKING_FILL = "working_fill"

    @property
    def stage(self) -> int:
        """The place within a tick: funding, liquidations, exits, then fills."""
        return _STAGES[self]


_STAGES = {
    MatchKind.FUNDING: 0,
    MatchKind.LIQUIDATION: 1,
    MatchKind.EXIT: 2,
    MatchKind.LIMIT_FILL: 3,
    MatchKind.WORKING_FILL: 3,
}
ORDER_KINDS = (MatchKind.EXIT, MatchKind.LIMIT_FILL, MatchKind.WORKING_FILL)


@dataclass(frozen=True, slots=True)
class PaperMatch:
    """A position that a tick liquidated, or an order that it filled, by `row_id`, with the quote of that tick.

    `number` tells which fill of its order it is. `version` is the position's, `position_id` the one that an order
    reduces or has begun to open, `account_id` whose it is. A funding is of its pair: `row_id` is 0, and `instant` the
    last one due.
    """

    kind: MatchKind
    row_id: int
    pair_id: int
    sequence: int
    bid: Decimal
    ask: Decimal
    mark: Decimal
    number: int = 0
    version: int = 0
    position_id: int | None = field(default=None, compare=False)
    account_id: int | None = field(default=None, compare=False)
    instant: datetime | None = None
    last: Decimal | None = None
    is_stepwise: bool = False

    @property
    def step(self) -> tuple[int, int, int]:
        """Its place in time: what has the same one may be booked together."""
        return self.sequence, self.kind.stage, self.pair_id

    def quote_for(self, side: OrderSide) -> Decimal:
        """What a market order on `side` paid at the tick."""
        return self.ask if side is OrderSide.BUY else self.bid
