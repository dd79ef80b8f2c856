"""The rule for one order, by table: which tick fires it, at which exact stop."""

from decimal import Context, Decimal, localcontext
from typing import TypedDict, Unpack

import pytest

from app.domain.enums import PositionSide, TriggeredLeg
from app.domain.triggers import (
    Activated,
    Crossing,
    MoveStop,
    Standing,
    Trigger,
    TriggerOrder,
    evaluate,
    play,
    trailing_stop,
)

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
STOP, TAKE_PROFIT, TRAILING = TriggeredLeg.STOP, TriggeredLeg.TAKE_PROFIT, TriggeredLeg.TRAILING


class Levels(TypedDict, total=False):
    stop_price: Decimal
    take_profit_price: Decimal
    trailing_distance: Decimal
    trailing_percentage: Decimal
    activation_price: Decimal


def order(side: PositionSide = LONG, **levels: Unpack[Levels]) -> TriggerOrder:
    return TriggerOrder(1, 3, side, 10, Decimal(100), **levels)


@pytest.mark.parametrize(
    ("side", "levels", "price", "leg"),
    [
        (LONG, {"stop_price": Decimal("95")}, "95.01", None),
        (LONG, {"stop_price": Decimal("95")}, "95", STOP),
        (LONG, {"stop_price": Decimal("95")}, "1", STOP),
        (SHORT, {"stop_price": Decimal("105")}, "104.99", None),
        (SHORT, {"stop_price": Decimal("105")}, "105", STOP),
        (LONG, {"take_profit_price": Decimal("110")}, "109.999999999999999999", None),
        (LONG, {"take_profit_price": Decimal("110")}, "110.0", TAKE_PROFIT),
        (SHORT, {"take_profit_price": Decimal("90")}, "90.000000000000000001", None),
        (SHORT, {"take_profit_price": Decimal("90")}, "89", TAKE_PROFIT),
        (LONG, {"stop_price": Decimal("95"), "take_profit_price": Decimal("110")}, "100", None),
        (LONG, {"stop_price": Decimal("95"), "take_profit_price": Decimal("110")}, "94", STOP),
        (LONG, {"stop_price": Decimal("95"), "take_profit_price": Decimal("110")}, "111", TAKE_PROFIT),
        (SHORT, {"stop_price": Decimal("110"), "take_profit_price": Decimal("95")}, "110", STOP),
        (SHORT, {"stop_price": Decimal("110"), "take_profit_price": Decimal("95")}, "95", TAKE_PROFIT),
        (LONG, {"stop_price": Decimal("105"), "take_profit_price": Decimal("100")}, "102", STOP),
    ],
)
def test_fixed_levels_fire_inclusive(side: PositionSide, levels: Levels, price: str, leg: TriggeredLeg | None) -> None:
    terms = order(side, **levels)

    outcome = evaluate(terms, None, Decimal(price))

    if leg is None:
        assert outcome is None
    else:
        assert outcome == Trigger(leg, terms.stop_price if leg is STOP else None, None)


@pytest.mark.parametrize(
    ("side", "levels", "watermark", "price", "expected"),
    [
        (LONG, {"trailing_distance": Decimal("5")}, "100", "103", MoveStop(Decimal(103), Decimal(98))),
        (LONG, {"trailing_distance": Decimal("5")}, "103", "98.01", None),
        (LONG, {"trailing_distance": Decimal("5")}, "103", "98", Trigger(TRAILING, Decimal(98), Decimal(103))),
        (SHORT, {"trailing_distance": Decimal("5")}, "100", "97", MoveStop(Decimal(97), Decimal(102))),
        (SHORT, {"trailing_distance": Decimal("5")}, "97", "102", Trigger(TRAILING, Decimal(102), Decimal(97))),
        (LONG, {"trailing_percentage": Decimal("2")}, "150", "147.01", None),
        (LONG, {"trailing_percentage": Decimal("2.0")}, "150", "147", Trigger(TRAILING, Decimal(147), Decimal(150))),
        (SHORT, {"trailing_percentage": Decimal("2")}, "150", "153", Trigger(TRAILING, Decimal(153), Decimal(150))),
        (SHORT, {"trailing_percentage": Decimal("2")}, "150", "50", MoveStop(Decimal(50), Decimal(51))),
        (LONG, {"trailing_distance": Decimal("5")}, "103", "103", None),
    ],
)
def test_trailing_stops_move_first_and_compare_then(
    side: PositionSide,
    levels: Levels,
    watermark: str,
    price: str,
    expected: Trigger | MoveStop | None,
) -> None:
    assert evaluate(order(side, **levels), Decimal(watermark), Decimal(price)) == expected


@pytest.mark.parametrize(
    ("side", "activation", "quiet", "reached", "stop"),
    [(LONG, "110", "109.99", "110", "108"), (SHORT, "90", "90.01", "89", "91")],
)
def test_an_inactive_trailing_stop_waits_for_its_activation_price(
    side: PositionSide, activation: str, quiet: str, reached: str, stop: str
) -> None:
    terms = order(side, trailing_distance=Decimal("2"), activation_price=Decimal(activation))

    assert terms.starting_watermark is None
    assert evaluate(terms, None, Decimal(quiet)) is None
    assert evaluate(terms, None, Decimal(reached)) == MoveStop(Decimal(reached), Decimal(stop))


def test_stops_are_exact_to_the_last_digit_whatever_the_callers_context() -> None:
    terms = order(trailing_percentage=Decimal("33.333333333333333333"))
    watermark = Decimal("12345678901234567890.123456789012345678")

    with localcontext(Context(prec=6)):
        stop = trailing_stop(terms, watermark)

    with localcontext(Context(prec=200)):
        assert stop == watermark - watermark * Decimal("0.33333333333333333333")
        assert stop != (watermark * 2 / 3).quantize(Decimal("1e-18"))


def test_a_fixed_order_has_no_trailing_stop() -> None:
    with pytest.raises(ValueError, match="does not trail"):
        trailing_stop(order(stop_price=Decimal("95")), Decimal(100))


@pytest.mark.parametrize(
    "levels",
    [
        {},
        {"stop_price": Decimal("95"), "trailing_distance": Decimal("1")},
        {"take_profit_price": Decimal("95"), "trailing_percentage": Decimal("1")},
        {"trailing_distance": Decimal("1"), "trailing_percentage": Decimal("1")},
        {"activation_price": Decimal("120")},
        {"stop_price": Decimal("95"), "activation_price": Decimal("120")},
    ],
)
def test_levels_that_make_no_exit_are_refused(levels: Levels) -> None:
    with pytest.raises(ValueError, match=r"exit|activation"):
        order(**levels)


def test_playing_ticks_stops_at_the_first_that_fires() -> None:
    ticks = [(n, Decimal(price)) for n, price in enumerate(("101", "104", "102.5", "102", "90"), start=11)]

    outcome = play(order(trailing_distance=Decimal("2")), ticks)

    assert outcome == (Crossing(1, 3, 14, Decimal(102), TRAILING, Decimal(102), Decimal(104)), None)


def test_one_that_is_activated_and_fires_in_the_same_ticks_tells_where_it_began() -> None:
    ticks = [(n, Decimal(price)) for n, price in enumerate(("109", "111", "113", "108"), start=11)]

    crossing, activated = play(order(trailing_distance=Decimal("2"), activation_price=Decimal("110")), ticks)

    assert crossing == Crossing(1, 3, 14, Decimal(108), TRAILING, Decimal(111), Decimal(113))
    assert activated == Activated(1, 3, 12, Decimal(111))


def test_playing_ticks_that_do_not_fire_tells_where_the_order_stands() -> None:
    ticks = [(n, Decimal(price)) for n, price in enumerate(("101", "110", "112", "111"), start=11)]

    assert play(order(stop_price=Decimal("5")), ticks) == (Standing(10, Decimal(100), None), None)
    assert play(order(trailing_distance=Decimal("2")), ticks) == (Standing(10, Decimal(100), Decimal(112)), None)
    begins = order(trailing_distance=Decimal("2"), activation_price=Decimal("110"))
    began = Activated(1, 3, 12, Decimal(110))
    assert play(begins, ticks) == (Standing(12, Decimal(110), Decimal(112)), began)
    assert play(begins, ticks[:1]) == (Standing(10, Decimal(100), None), None)
