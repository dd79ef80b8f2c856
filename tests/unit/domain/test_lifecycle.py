"""Lifecycles: the moves that are promised, written out once more by hand, and nothing beside them."""

from enum import StrEnum
from itertools import product
from typing import Any

import pytest

from app.domain.enums import DeliveryStatus, DepositStatus, IntentStatus, OrderStatus, SwapStatus, TradeStatus
from app.domain.errors import InvalidTransition
from app.domain.lifecycle import (
    DELIVERY_MOVES,
    DEPOSIT_MOVES,
    INTENT_MOVES,
    LIVE_ORDER,
    OPEN_TRADE,
    ORDER_MOVES,
    SWAP_MOVES,
    TRADE_MOVES,
    Moves,
    advance,
)

ORDERS = """
waiting -> pending cancelled
pending -> submitted triggered filled partially_filled pending_cancel pending_replace cancelled expired rejected
triggered -> submitted pending cancelled
submitted -> pending filled partially_filled rejected cancelled failed unknown
unknown -> pending filled partially_filled rejected cancelled expired failed
partially_filled -> filled cancelled expired pending pending_cancel pending_replace
pending_cancel -> pending partially_filled filled cancelled expired
pending_replace -> pending partially_filled filled cancelled expired
cancelled -> partially_filled filled pending
expired -> partially_filled filled
filled ->
rejected ->
failed ->
"""
TRADES = """
pending -> submitted failed cancelled
submitted -> open failed cancelled
open -> closing closed liquidated
closing -> open closed liquidated
cancelled -> open
closed ->
liquidated ->
failed ->
"""
INTENTS = """
new -> sent rejected
sent -> resting done rejected
resting -> done rejected
rejected -> done resting
done ->
"""
DEPOSITS = """
pending -> processing completed failed
processing -> completed failed
completed ->
failed ->
"""
SWAPS = """
pending -> processing failed
processing -> completed failed
completed ->
failed ->
"""
DELIVERIES = """
pending -> delivered failed
failed -> pending
delivered -> pending
"""

TABLES: list[tuple[str, Moves[Any], type[StrEnum]]] = [
    (ORDERS, ORDER_MOVES, OrderStatus),
    (TRADES, TRADE_MOVES, TradeStatus),
    (INTENTS, INTENT_MOVES, IntentStatus),
    (DEPOSITS, DEPOSIT_MOVES, DepositStatus),
    (SWAPS, SWAP_MOVES, SwapStatus),
    (DELIVERIES, DELIVERY_MOVES, DeliveryStatus),
]


def written(table: str) -> dict[str, set[str]]:
    """A table as it stands above."""
    rows = (line.split("->") for line in table.strip().splitlines())
    return {current.strip(): set(targets.split()) for current, targets in rows}


@pytest.mark.parametrize(("table", "moves", "states"), TABLES)
def test_moves_are_those_promised(table: str, moves: Moves[Any], states: type[StrEnum]) -> None:
    expected = written(table)

    assert {state.value: {target.value for target in moves[state]} for state in states} == expected


@pytest.mark.parametrize(("table", "moves", "states"), TABLES)
def test_advance_takes_a_move_of_the_table_and_refuses_every_other(
    table: str, moves: Moves[Any], states: type[StrEnum]
) -> None:
    expected = written(table)

    for current, target in product(states, states):
        if target.value in expected[current.value]:
            assert advance(moves, current, target) is target
        else:
            with pytest.raises(InvalidTransition, match=f"{current} -> {target}"):
                advance(moves, current, target)


def test_an_order_is_live_while_the_venue_or_we_may_still_act_on_it() -> None:
    ended = {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED, OrderStatus.FAILED}

    assert set(OrderStatus) - ended == LIVE_ORDER
    assert {TradeStatus.OPEN, TradeStatus.CLOSING} == OPEN_TRADE


def test_every_live_order_can_reach_an_end() -> None:
    for state in LIVE_ORDER:
        reached, edge = {state}, {state}
        while edge:
            edge = {target for current in edge for target in ORDER_MOVES[current]} - reached
            reached |= edge
        assert reached & {OrderStatus.FILLED, OrderStatus.CANCELLED}, state
