"""The strictest state counts, and an exit that is held goes on being watched."""

from dataclasses import dataclass
from decimal import Decimal

import pytest

from app.domain.enums import PositionSide, StateScope, TradingState, TriggeredLeg
from app.domain.errors import Unavailable
from app.domain.trading_state import UNRESTRICTED, Ruling, Subject, effective, watched_on, watched_through
from app.domain.triggers import Crossing, TriggerOrder

SUBJECT = Subject(user_id=7, pair_id=3, venue="paper")


@dataclass(frozen=True)
class State:
    scope: StateScope
    key: str
    state: TradingState
    reason: str = "because"


GLOBAL = State(StateScope.GLOBAL, "all", TradingState.REDUCING)
VENUE = State(StateScope.VENUE, "paper", TradingState.REDUCING, "maintenance")
PAIR = State(StateScope.PAIR, "3", TradingState.HALTED)
USER = State(StateScope.USER, "7", TradingState.ACTIVE)


def test_a_subject_has_four_states() -> None:
    assert SUBJECT.keys == (
        (StateScope.GLOBAL, "all"),
        (StateScope.VENUE, "paper"),
        (StateScope.PAIR, "3"),
        (StateScope.USER, "7"),
    )


@pytest.mark.parametrize(
    ("rows", "ruling"),
    [
        ((), UNRESTRICTED),
        ((USER,), UNRESTRICTED),
        ((USER, VENUE), Ruling(TradingState.REDUCING, StateScope.VENUE, "paper", "maintenance")),
        ((VENUE, GLOBAL), Ruling(TradingState.REDUCING, StateScope.GLOBAL, "all", "because")),
        ((GLOBAL, VENUE, PAIR, USER), Ruling(TradingState.HALTED, StateScope.PAIR, "3", "because")),
    ],
)
def test_the_strictest_counts_and_of_equals_the_widest(rows: tuple[State, ...], ruling: Ruling) -> None:
    assert effective(rows) == ruling


@pytest.mark.parametrize(
    ("ruling", "sentence"),
    [
        (effective([GLOBAL]), "Trading is reducing: nothing new is opened, closes and cancels go on."),
        (effective([VENUE]), "Trading at paper is reducing: nothing new is opened, closes and cancels go on."),
        (effective([PAIR]), "Trading of pair 3 is halted: nothing is sent."),
        (
            Ruling(TradingState.HALTED, StateScope.USER, "7", "because"),
            "Trading of this account is halted: nothing is sent.",
        ),
    ],
)
def test_a_refusal_says_what_is_held_back_and_what_goes_on(ruling: Ruling, sentence: str) -> None:
    assert ruling.refusal.message == f"{sentence} The reason given: {ruling.reason}"


@pytest.mark.parametrize(
    ("state", "may_open", "may_send"),
    [(TradingState.ACTIVE, True, True), (TradingState.REDUCING, False, True), (TradingState.HALTED, False, False)],
)
def test_what_each_state_allows(state: TradingState, may_open: bool, may_send: bool) -> None:
    ruling = Ruling(state, StateScope.USER, "7", "because")
    assert (ruling.may_open, ruling.may_send) == (may_open, may_send)
    for is_allowed, require in ((may_open, ruling.require_open), (may_send, ruling.require_send)):
        if is_allowed:
            require()
            continue
        with pytest.raises(Unavailable) as refused:
            require()
        assert refused.value.code == "TRADING_HALTED"
        assert refused.value.details == {"state": state, "scope": StateScope.USER, "key": "7", "reason": "because"}


def trailing(side: PositionSide, armed: int) -> TriggerOrder:
    return TriggerOrder(1, 4, side, 10, Decimal(armed), trailing_distance=Decimal(5), activation_price=None)


def test_a_crossing_that_is_let_go_leaves_the_watermark() -> None:
    crossing = Crossing(1, 4, 12, Decimal(101), TriggeredLeg.TRAILING, Decimal(102), Decimal(107))

    on = watched_on(trailing(PositionSide.LONG, 100), crossing)

    assert (on.watched_after, on.starting_watermark, on.armed_sequence) == (12, Decimal(107), 10)


def test_fixed_levels_are_watched_on_from_the_crossing() -> None:
    terms = TriggerOrder(1, 4, PositionSide.LONG, 10, Decimal(100), stop_price=Decimal(95))
    crossing = Crossing(1, 4, 12, Decimal(94), TriggeredLeg.STOP, Decimal(95), None)

    on = watched_on(terms, crossing)

    assert (on.watched_after, on.stop_price, on.armed_price) == (12, Decimal(95), Decimal(100))


@pytest.mark.parametrize(("side", "best"), [(PositionSide.LONG, 110), (PositionSide.SHORT, 90)])
def test_a_held_trailing_stop_ratchets_through_what_would_have_fired_it(side: PositionSide, best: int) -> None:
    ticks = [(9, Decimal(200)), (10, Decimal(1)), (11, Decimal(90)), (12, Decimal(110)), (13, Decimal(101))]

    through = watched_through(trailing(side, 100), ticks)

    assert (through.watched_after, through.starting_watermark) == (13, Decimal(best))


def test_without_newer_ticks_nothing_changes() -> None:
    terms = trailing(PositionSide.LONG, 100)
    assert watched_through(terms, [(10, Decimal(200))]) is terms
