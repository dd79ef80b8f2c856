"""Whether an order may be placed as asked: every refusal by its code, at the very edge of what is allowed."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.enums import OrderSide, OrderType, PositionSide
from app.domain.errors import InvalidRequest
from app.domain.order_rules import check_exit, check_open, check_times, close_size, entry_side, exit_side, side_of
from app.domain.order_terms import ExitTerms, OpenTerms
from app.domain.positions import liquidation_price, size_of
from tests.factories import open_terms

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ENTRY, MARK = Decimal("100.10"), Decimal("100.05")


@dataclass
class Limits:
    symbol: str = "BTCUSDT"
    price_step: Decimal = Decimal("0.01")
    size_step: Decimal = Decimal("0.001")
    min_leverage: int = 2
    max_leverage: int = 50
    min_collateral: Decimal = Decimal(1)
    max_collateral: Decimal = Decimal(1000)
    taker_fee_rate: Decimal = Decimal("0.0005")
    maintenance_margin_rate: Decimal = Decimal("0.01")


PAIR = Limits()


def refused(asked: OpenTerms, pair: Limits = PAIR, entry: Decimal = ENTRY, mark: Decimal = MARK) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check_open(asked, pair, entry, mark)
    return caught.value


def test_sides() -> None:
    assert (side_of(is_long=True), side_of(is_long=False)) == (LONG, SHORT)
    assert (entry_side(LONG), exit_side(LONG)) == (OrderSide.BUY, OrderSide.SELL)
    assert (entry_side(SHORT), exit_side(SHORT)) == (OrderSide.SELL, OrderSide.BUY)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"collateral": Decimal("100.0000001")}, "TOO_MANY_DECIMALS"),
        ({"order_type": OrderType.LIMIT, "price": Decimal("100.005")}, "TOO_MANY_DECIMALS"),
        ({"price": Decimal("100.01")}, "CONFLICTING_FIELDS"),
        ({"stop_price": Decimal("95.001")}, "TOO_MANY_DECIMALS"),
        ({"take_profit_price": Decimal("105.001")}, "TOO_MANY_DECIMALS"),
        ({"trailing_stop_distance": Decimal("0.005")}, "TOO_MANY_DECIMALS"),
        ({"oco_stop_price": Decimal("95.001"), "oco_take_profit_price": Decimal(105)}, "TOO_MANY_DECIMALS"),
        ({"oco_stop_price": Decimal(95), "oco_take_profit_price": Decimal("105.001")}, "TOO_MANY_DECIMALS"),
        ({"leverage": 1}, "LEVERAGE_OUT_OF_RANGE"),
        ({"leverage": 51}, "LEVERAGE_OUT_OF_RANGE"),
        ({"collateral": Decimal("0.999999")}, "SIZE_BELOW_MINIMUM"),
        ({"collateral": Decimal("1000.000001")}, "SIZE_ABOVE_MAXIMUM"),
        ({"trailing_stop_percentage": Decimal(100)}, "VALIDATION_ERROR"),
        ({"trailing_stop_percentage": Decimal(0)}, "VALIDATION_ERROR"),
        ({"trailing_stop_distance": MARK.quantize(Decimal(1)) + 1}, "STOP_WRONG_SIDE"),
        ({"order_type": OrderType.LIMIT}, "MISSING_FIELD"),
        ({"stop_price": Decimal(95), "oco_stop_price": Decimal(95)}, "CONFLICTING_FIELDS"),
    ],
)
def test_each_refusal_has_its_code(values: dict[str, Any], code: str) -> None:
    assert refused(open_terms(**values)).code == code


@pytest.mark.parametrize(
    "values",
    [
        {"leverage": 2},
        {"leverage": 50},
        {"collateral": Decimal(1)},
        {"collateral": Decimal(1000)},
        {"collateral": Decimal("100.000001")},
        {"trailing_stop_percentage": Decimal("0.01")},
        {"trailing_stop_distance": Decimal("100.04")},
        {"price": Decimal("100.01"), "max_slippage": Decimal("0.001")},
    ],
)
def test_the_edge_of_each_limit_is_allowed(values: dict[str, Any]) -> None:
    check_open(open_terms(**values), PAIR, ENTRY, MARK)


def test_what_buys_less_than_one_step_is_too_small() -> None:
    dear = replace(PAIR, size_step=Decimal(1))
    assert refused(open_terms(collateral=Decimal("10.009999")), dear).code == "SIZE_BELOW_MINIMUM"
    check_open(open_terms(collateral=Decimal("10.01")), dear, ENTRY, MARK)


# Liquidation of a 10x long from 100.10 lies near 91, of a short near 109.
@pytest.mark.parametrize(
    ("is_long", "levels", "code"),
    [
        (True, {"stop_price": "100.05"}, "STOP_WRONG_SIDE"),
        (True, {"stop_price": "100.06"}, "STOP_WRONG_SIDE"),
        (True, {"stop_price": "100.04"}, None),
        (False, {"stop_price": "100.05"}, "STOP_WRONG_SIDE"),
        (False, {"stop_price": "100.04"}, "STOP_WRONG_SIDE"),
        (False, {"stop_price": "100.06"}, None),
        (True, {"take_profit_price": "100.05"}, "TAKE_PROFIT_WRONG_SIDE"),
        (True, {"take_profit_price": "100.04"}, "TAKE_PROFIT_WRONG_SIDE"),
        (True, {"take_profit_price": "100.06"}, None),
        (False, {"take_profit_price": "100.05"}, "TAKE_PROFIT_WRONG_SIDE"),
        (False, {"take_profit_price": "100.06"}, "TAKE_PROFIT_WRONG_SIDE"),
        (False, {"take_profit_price": "100.04"}, None),
        (True, {"trailing_stop_distance": "5", "activation_price": "100.05"}, "ACTIVATION_WRONG_SIDE"),
        (True, {"trailing_stop_distance": "5", "activation_price": "100.06"}, None),
        (True, {"trailing_stop_distance": "5", "activation_price": "100.065"}, "TOO_MANY_DECIMALS"),
        (False, {"trailing_stop_percentage": "5", "activation_price": "100.05"}, "ACTIVATION_WRONG_SIDE"),
        (False, {"trailing_stop_percentage": "5", "activation_price": "100.04"}, None),
        (True, {"oco_stop_price": "105", "oco_take_profit_price": "110"}, "STOP_WRONG_SIDE"),
        (True, {"oco_stop_price": "95", "oco_take_profit_price": "99"}, "TAKE_PROFIT_WRONG_SIDE"),
        (False, {"oco_stop_price": "95", "oco_take_profit_price": "90"}, "STOP_WRONG_SIDE"),
        (False, {"oco_stop_price": "105", "oco_take_profit_price": "101"}, "TAKE_PROFIT_WRONG_SIDE"),
        (True, {"oco_stop_price": "95", "oco_take_profit_price": "105"}, None),
        (False, {"oco_stop_price": "105", "oco_take_profit_price": "95"}, None),
        (True, {"stop_price": "80"}, "STOP_BEYOND_LIQUIDATION"),
        (False, {"stop_price": "120"}, "STOP_BEYOND_LIQUIDATION"),
        (True, {"oco_stop_price": "80", "oco_take_profit_price": "105"}, "STOP_BEYOND_LIQUIDATION"),
    ],
)
def test_levels_lie_on_their_side_of_the_mark(is_long: bool, levels: dict[str, str], code: str | None) -> None:
    asked = open_terms(is_long=is_long, **{name: Decimal(text) for name, text in levels.items()})

    if code is None:
        assert len(check_open(asked, PAIR, ENTRY, MARK)) == 1
    else:
        assert refused(asked).code == code


@pytest.mark.parametrize(("is_long", "stop", "bad"), [(True, "89", "90"), (False, "91", "90")])
def test_exits_of_a_limit_are_judged_at_its_price(is_long: bool, stop: str, bad: str) -> None:
    asked = open_terms(is_long=is_long, order_type=OrderType.LIMIT, price=Decimal(90))

    check_open(replace(asked, stop_price=Decimal(stop)), PAIR, Decimal(90), MARK)
    assert refused(replace(asked, stop_price=Decimal(bad)), entry=Decimal(90)).code == "STOP_WRONG_SIDE"


@given(
    st.sampled_from([LONG, SHORT]),
    st.integers(2, 50),
    st.decimals(min_value="1", max_value="1000", places=6),
    st.integers(1, 20_000),
)
def test_an_accepted_stop_fires_before_liquidation(
    side: PositionSide, leverage: int, collateral: Decimal, steps: int
) -> None:
    stop = Decimal(steps) * PAIR.price_step
    asked = open_terms(is_long=side is LONG, leverage=leverage, collateral=collateral, stop_price=stop)
    size = size_of(collateral, leverage, ENTRY, PAIR.size_step)
    assume(size > 0)
    liquidation = liquidation_price(side, size, ENTRY, collateral, PAIR.maintenance_margin_rate)
    fires_first = liquidation < stop < MARK if side is LONG else MARK < stop < liquidation

    try:
        check_open(asked, PAIR, ENTRY, MARK)
    except InvalidRequest as refusal:
        assert not fires_first
        assert refusal.code in {"STOP_WRONG_SIDE", "STOP_BEYOND_LIQUIDATION"}
    else:
        assert fires_first


def test_a_stop_exactly_at_liquidation_comes_too_late() -> None:
    exit_terms = ExitTerms(order_type=OrderType.STOP_LOSS, stop_price=Decimal(91))
    with pytest.raises(InvalidRequest) as caught:
        check_exit(exit_terms, LONG, PAIR, MARK, liquidation=Decimal(91))
    assert caught.value.code == "STOP_BEYOND_LIQUIDATION"
    check_exit(exit_terms, LONG, PAIR, MARK, liquidation=Decimal("90.999"))


def test_a_request_that_has_expired_is_refused_by_the_name_of_its_field() -> None:
    check_times(NOW, expires_at=None, valid_until=NOW + timedelta(microseconds=1))
    for instant in (NOW, NOW - timedelta(days=1)):
        with pytest.raises(InvalidRequest) as caught:
            check_times(NOW, expires_at=NOW + timedelta(days=1), valid_until=instant)
        assert (caught.value.code, caught.value.details["field"]) == ("EXPIRED_REQUEST", "valid_until")


@pytest.mark.parametrize(
    ("size", "fraction", "step", "closed"),
    [
        ("1.5", "1", "0.1", "1.5"),
        ("0.123456", "1", "0.1", "0.123456"),
        ("1.5", "0.5", "0.1", "0.7"),
        ("0.3", "0.999999", "0.1", "0.2"),
        ("0.00001", "1", "0.00001", "0.00001"),
    ],
)
def test_a_close_is_whole_or_floored_to_the_step(size: str, fraction: str, step: str, closed: str) -> None:
    assert close_size(Decimal(size), Decimal(fraction), Decimal(step)) == Decimal(closed)


@pytest.mark.parametrize(
    ("fraction", "code"),
    [
        ("0", "VALIDATION_ERROR"),
        ("-0.5", "VALIDATION_ERROR"),
        ("1.000001", "VALIDATION_ERROR"),
        ("0.01", "SIZE_BELOW_MINIMUM"),
    ],
)
def test_a_close_of_nothing_or_too_much_is_refused(fraction: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        close_size(Decimal("0.5"), Decimal(fraction), Decimal("0.1"))
    assert caught.value.code == code


@given(
    st.integers(1, 10**9).map(lambda units: units * Decimal("0.001")),
    st.decimals(min_value="0.000001", max_value="1", places=6),
)
def test_a_close_never_exceeds_the_position_nor_the_fraction(size: Decimal, fraction: Decimal) -> None:
    assume(size * fraction >= Decimal("0.001"))

    part = close_size(size, fraction, Decimal("0.001"))

    assert 0 < part <= size * fraction
    assert part == size * fraction or size * fraction - part < Decimal("0.001")
