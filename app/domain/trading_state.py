"""What may be traded: the states of user, pair, venue and the whole, of which the strictest counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from app.domain.enums import StateScope, TradingState
from app.domain.errors import Unavailable
from app.domain.triggers import Crossing, Tick, TriggerOrder, as_long

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
            f"{self._sentence} The reason given: {self.reason}",
            code=HALTED_CODE,
            state=self.state,
            scope=self.scope,
            key=self.key,
            reason=self.reason,
        )

    @property
    def _sentence(self) -> str:
        """What is not allowed, and of what."""
        about = {
            StateScope.VENUE: f" at {self.key}",
            StateScope.PAIR: f" of pair {self.key}",
            StateScope.USER: " of this account",
        }
        what = (
            "nothing is sent"
            if self.state is TradingState.HALTED
            else "nothing new is opened, closes and cancels go on"
        )
        return f"Trading{about.get(self.scope, '') if self.scope else ''} is {self.state}: {what}."

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


def watched_on(terms: TriggerOrder, crossing: Crossing) -> TriggerOrder:
    """The terms of an exit that goes on being watched though it fired: ticks after the crossing concern it.

    A trailing stop keeps its watermark. An exit that is held while trading is halted comes back so, tick by tick.
    """
    if crossing.watermark is None:
        return replace(terms, released_sequence=crossing.sequence)
    return replace(terms, released_sequence=crossing.sequence, armed_price=crossing.watermark, activation_price=None)


def watched_through(terms: TriggerOrder, ticks: Sequence[Tick]) -> TriggerOrder:
    """The terms of a held exit after the (sequence, price) ticks that came since, ascending, whatever they reached."""
    since = [tick for tick in ticks if tick[0] > terms.watched_after]
    if not since:
        return terms
    moved = replace(terms, released_sequence=since[-1][0])
    if terms.starting_watermark is None:
        return moved
    best = max(as_long(terms.side, price) for price in (terms.starting_watermark, *(price for _, price in since)))
    return replace(moved, armed_price=as_long(terms.side, best))
