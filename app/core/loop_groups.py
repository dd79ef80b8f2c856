"""The loops of a process in groups, so that each kind of process runs those that are its own."""

from collections import defaultdict
from enum import StrEnum

from app.core.supervision import Loop


class Group(StrEnum):
    """What loops are for, in the order in which they start."""

    # What every process needs to live, and to hear of the others.
    SHARED = "shared"
    # Order engine, settlement, funding, candles, and what holds trading back.
    ENGINE = "engine"
    # Prices.
    MARKET = "market"
    # Events of the log to whoever gets them.
    RELAY = "relay"
    # WebSocket connections.
    GATEWAY = "gateway"
    # Webhooks to their endpoints.
    DELIVERY = "delivery"


EVERY_GROUP = frozenset(Group)

type LoopGroups = defaultdict[Group, list[Loop]]


def loop_groups() -> LoopGroups:
    """Groups without loops."""
    return defaultdict(list)


def loops_of(groups: LoopGroups, wanted: frozenset[Group]) -> list[Loop]:
    """The loops of the wanted groups, those that others need first."""
    return [loop for group in Group if group in wanted for loop in groups[group]]
