"""What may be traded: the states of user, pair, venue and the whole, of which the strictest counts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from app.domain.enums import PositionSide, StateScope, TradingState
from app.domain.errors import Unavailable
from app.domain.triggers import as_long

# The key of the one global state.
EVERYTHING = "all"
HALTED_CODE = "TRADING_HALTED"
_RANK = {state: rank for rank, state in enumerate(TradingState)}

type StateKey = tuple[StateScope, str]


@dataclass(frozen=True, slots=True)
class Subject:
    """What somebody wants to trade: whose it is, and where."""

    user_id: int
    pair_id: int
    venue: str

    @property
    def keys(self) -> tuple[StateKey, ...]:
        """The four states that concern it."""
        return (
            (StateScope.GLOBAL, EVERYTHING),
            (StateScope.VENUE, self.venue),
            (StateScope.PAIR, str(self.pair_id)),
            (StateScope.USER, str(self.user_id)),
        )


class StateRow(Protocol):
    """One state as it was set."""

    @property
    def scope(self) -> StateScope:
        """What kind of thing it is about."""
        ...

    @property
    def key(self) -> str:
        """Which of them: a venue's name, a pair's or a user's id, or "all"."""
        ...

    @property
    def state(self) -> TradingState:
        """What is allowed."""
        ...

    @property
    def reason(self) -> str:
        """Why, for people."""
        ...


@dataclass(frozen=True, slots=True)
class Ruling:
    """The state that counts, and where it comes from; nothing is told where all is active."""

    state: TradingState = TradingState.ACTIVE
    scope: StateScope | None = None
    key: str | None = None
    reason: str | None = None

    @property
    def may_open(self) -> bool:
        """Whether something new may be opened."""
        return self.state is TradingState.ACTIVE

    @property
    def may_send(self) -> bool:
        """Whether closes and cancels may go to the venue."""
        return self.state is not TradingState.HALTED

    @property
    def refusal(self) -> Unavailable:
        """What a request that may not be sent is answered with: 503 TRADING_HALTED."""
        return Unavailable(
            f"Trading is {self.state} ({self.scope} {self.key}): {self.reason}.",
            code=HALTED_CODE,
            state=self.state,
            scope=self.scope,
            key=self.key,
            reason=self.reason,
        )

    def require_open(self) -> None:
        """Raise the refusal where nothing new may be opened."""
        if not self.may_open:
            raise self.refusal

    def require_send(self) -> None:
        """Raise the refusal where nothing may be sent."""
        if not self.may_send:
            raise self.refusal


UNRESTRICTED = Ruling()


def effective(rows: Iterable[StateRow]) -> Ruling:
    """The strictest of the states that concern one subject; of equally strict ones the widest scope."""
    strictest = UNRESTRICTED
    widest_first = list(StateScope)
    for row in sorted(rows, key=lambda row: widest_first.index(row.scope)):
        if _RANK[row.state] > _RANK[strictest.state]:
            strictest = Ruling(row.state, row.scope, row.key, row.reason)
    return strictest


@dataclass(frozen=True, slots=True)
class HeldCrossing:
    """What the row of an exit becomes whose crossing is let go: it stays pending, and later ticks concern it.

    `armed_price` is the watermark so far, or the armed price of fixed levels; `released_sequence` the last tick
    that was seen.
    """

    released_sequence: int
    armed_price: Decimal | None
    held_since: datetime


def hold_crossing(
    side: PositionSide,
    armed_price: Decimal | None,
    watermark: Decimal | None,
    crossed_at: int,
    seen: Iterable[tuple[int, Decimal]],
    now: datetime,
) -> HeldCrossing:
    """Let a crossing go while trading is halted.

    `watermark` is that of the crossing at tick `crossed_at`, None for fixed levels; `seen` are the (sequence, price)
    of the watched series since, which a trailing stop goes on ratcheting with.
    """
    best, last = watermark, crossed_at
    for sequence, price in seen:
        if sequence <= crossed_at:
            continue
        last = max(last, sequence)
        if best is not None and as_long(side, price) > as_long(side, best):
            best = price
    return HeldCrossing(last, armed_price if best is None else best, now)
