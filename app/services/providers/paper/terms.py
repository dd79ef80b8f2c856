"""How the paper venue deals: what a new account has, how orders settle, what funding costs, what it can hold."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTerms:
    """The settings of the venue.

    starting_balance: USDC of a new account. settle_ticks: a market order fills at so many ticks after it arrived, 0 as
    it arrives. fill_parts: how many fills an order takes, one a tick. funding_rate: a fraction of the notional that
    longs pay to shorts at each instant; funding_seconds: the time between two instants, 0 for none. native_exits:
    whether the venue holds stops and take-profits. netting: one position for each account and pair, where each order
    has a position of its own otherwise.
    """

    starting_balance: Decimal
    settle_ticks: int = 0
    fill_parts: int = 1
    funding_rate: Decimal = ZERO
    funding_seconds: int = 0
    native_exits: bool = False
    netting: bool = False
