"""What each order type needs, what contradicts what, and when two requests are the same."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import OrderType, TriggerBy
from app.domain.errors import InvalidRequest
from app.domain.order_terms import (
    ExitChanges,
    ExitLevels,
    ExitRequest,
    ExitTerms,
    OpenTerms,
    amended,
    check_open_fields,
    exits_of,
    fingerprint,
    single_exit,
)
from tests.factories import open_terms

LATER = datetime(2026, 2, 1, tzinfo=UTC)
LEVELS = {
    "stop_price": Decimal(90),
    "take_profit_price": Decimal(110),
    "trailing_stop_distance": Decimal(5),
    "trailing_stop_percentage": Decimal(2),
    "oco_stop_price": Decimal(91),
    "oco_take_profit_price": Decimal(109),
}
OWN = {
    OrderType.STOP_LOSS: {"stop_price"},
    OrderType.TAKE_PROFIT: {"take_profit_price"},
    OrderType.TRAILING_STOP: {"trailing_stop_distance", "trailing_stop_percentage"},
    OrderType.OCO: {"oco_stop_price", "oco_take_profit_price"},
}
FIXED, OCO = {"stop_price", "take_profit_price"}, OWN[OrderType.OCO]


def _some(names: Iterable[str]) -> dict[str, Any]:
    return {name: LEVELS[name] for name in names}


def levels(*names: str, **values: Any) -> ExitRequest:
    return ExitRequest(**(_some(names) | values))


def changes(*names: str, **values: Any) -> ExitChanges:
    return ExitChanges(**(_some(names) | values))


def terms(order_type: OrderType = OrderType.MARKET, *names: str, **values: Any) -> OpenTerms:
    return open_terms(order_type=order_type, **{name: LEVELS[name] for name in names}, **values)


def refusal(code: str, names: set[str], asked: OpenTerms) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_open_fields(asked)
    assert caught.value.code == code
    named = caught.value.details["fields"]
    assert isinstance(named, list)
    assert set(named) == names


def is_contradiction(names: set[str]) -> bool:
    return OWN[OrderType.TRAILING_STOP] <= names or bool(names & FIXED and names & OCO)


@pytest.mark.parametrize("count", range(7))
def test_every_combination_of_levels_attaches_each_exit_or_is_refused_by_name(count: int) -> None:
    for chosen in combinations(LEVELS, count):
        names = set(chosen)
        if is_contradiction(names):
            with pytest.raises(InvalidRequest) as caught:
                exits_of(levels(*chosen))
            assert caught.value.code == "CONFLICTING_FIELDS"
        elif len(names & OCO) == 1:
            with pytest.raises(InvalidRequest) as caught:
                exits_of(levels(*chosen))
            assert caught.value.code == "MISSING_FIELD"
            assert caught.value.details["fields"] == list(OCO - names)
        else:
            exits = exits_of(levels(*chosen))
            used = [
                field.name for exit_terms in exits for field in fields(ExitLevels) if getattr(exit_terms, field.name)
            ]
            # No protective field is ignored, and none is used twice.
            assert sorted(used) == sorted(names)
            assert all(getattr(e, name) == LEVELS[name] for e in exits for name in OWN[e.order_type] & names)


def test_a_market_order_takes_every_bracket() -> None:
    exits = check_open_fields(terms(OrderType.MARKET, "stop_price", "take_profit_price", "trailing_stop_distance"))

    assert [e.order_type for e in exits] == [OrderType.STOP_LOSS, OrderType.TAKE_PROFIT, OrderType.TRAILING_STOP]


@pytest.mark.parametrize("order_type", list(OWN))
def test_a_protective_type_needs_its_own_fields(order_type: OrderType) -> None:
    refusal("MISSING_FIELD", OWN[order_type], terms(order_type))
    stranger = "trailing_stop_distance" if order_type is not OrderType.TRAILING_STOP else "stop_price"
    refusal("MISSING_FIELD", OWN[order_type], terms(order_type, stranger))


@pytest.mark.parametrize("order_type", list(OWN))
def test_a_protective_type_attaches_its_exit_and_every_other_given(order_type: OrderType) -> None:
    own = OWN[order_type] - {"trailing_stop_percentage"}
    other = "trailing_stop_distance" if order_type is not OrderType.TRAILING_STOP else "stop_price"

    assert {e.order_type for e in check_open_fields(terms(order_type, *own))} == {order_type}
    assert len(check_open_fields(terms(order_type, *own, other))) == 2


def test_a_limit_needs_its_price_and_may_expire() -> None:
    refusal("MISSING_FIELD", {"price"}, terms(OrderType.LIMIT))
    assert check_open_fields(terms(OrderType.LIMIT, price=Decimal(99), expires_at=LATER)) == []


def test_a_limit_takes_no_slippage() -> None:
    refusal(
        "CONFLICTING_FIELDS", {"max_slippage"}, terms(OrderType.LIMIT, price=Decimal(99), max_slippage=Decimal("0.01"))
    )


@pytest.mark.parametrize("order_type", [OrderType.MARKET, *OWN])
def test_only_a_limit_expires(order_type: OrderType) -> None:
    own = OWN.get(order_type, set()) - {"trailing_stop_percentage"}
    refusal("CONFLICTING_FIELDS", {"expires_at"}, terms(order_type, *own, expires_at=LATER))


@pytest.mark.parametrize("order_type", [OrderType.MARKET, *OWN])
def test_a_price_without_limit_or_slippage_is_not_ignored(order_type: OrderType) -> None:
    own = OWN.get(order_type, set()) - {"trailing_stop_percentage"}
    refusal("CONFLICTING_FIELDS", {"price"}, terms(order_type, *own, price=Decimal(100)))
    guarded = terms(order_type, *own, price=Decimal(100), max_slippage=Decimal("0.001"))
    assert len(check_open_fields(guarded)) == len({order_type} & OWN.keys())


def test_a_market_order_takes_a_reference_price_and_slippage() -> None:
    asked = terms(price=Decimal(100), max_slippage=Decimal("0.001"), valid_until=LATER)
    assert check_open_fields(asked) == []


@pytest.mark.parametrize("order_type", [OrderType.MARKET, OrderType.LIMIT])
def test_an_entry_cannot_be_attached(order_type: OrderType) -> None:
    with pytest.raises(InvalidRequest) as caught:
        single_exit(order_type, levels("stop_price"))
    assert (caught.value.code, caught.value.details["field"]) == ("VALIDATION_ERROR", "order_type")


@pytest.mark.parametrize("order_type", list(OWN))
def test_an_attached_exit_takes_its_own_levels_only(order_type: OrderType) -> None:
    own = OWN[order_type] - {"trailing_stop_percentage"}
    other = "trailing_stop_distance" if order_type is not OrderType.TRAILING_STOP else "stop_price"

    assert single_exit(order_type, levels(*own)).order_type is order_type
    for names, code in ((own | {other}, "CONFLICTING_FIELDS"), (set(), "MISSING_FIELD"), ({other}, "MISSING_FIELD")):
        with pytest.raises(InvalidRequest) as caught:
            single_exit(order_type, levels(*names))
        assert caught.value.code == code


def oco() -> ExitTerms:
    return single_exit(OrderType.OCO, levels("oco_stop_price", "oco_take_profit_price"))


def test_an_amendment_changes_what_it_names_and_keeps_the_rest() -> None:
    changed = amended(oco(), ExitChanges(oco_stop_price=Decimal(95)))

    assert (changed.oco_stop_price, changed.oco_take_profit_price) == (Decimal(95), LEVELS["oco_take_profit_price"])


def test_a_trailing_stop_may_change_between_distance_and_percentage() -> None:
    trailing = single_exit(OrderType.TRAILING_STOP, levels("trailing_stop_distance"))

    changed = amended(trailing, changes("trailing_stop_percentage"))

    assert (changed.trailing_stop_distance, changed.trailing_stop_percentage) == (None, Decimal(2))


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (changes(), "MISSING_FIELD"),
        (changes("stop_price"), "CONFLICTING_FIELDS"),
        (changes("trailing_stop_distance"), "CONFLICTING_FIELDS"),
        (changes(activation_price=Decimal(110)), "CONFLICTING_FIELDS"),
        (changes(removes_activation=True), "CONFLICTING_FIELDS"),
    ],
)
def test_an_amendment_cannot_change_what_an_order_is(asked: ExitChanges, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        amended(oco(), asked)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("order_type", "names"),
    [
        (OrderType.STOP_LOSS, ["stop_price"]),
        (OrderType.TRAILING_STOP, ["trailing_stop_distance", "trailing_stop_percentage", "activation_price"]),
        (OrderType.OCO, ["oco_stop_price", "oco_take_profit_price"]),
    ],
)
def test_an_amendment_of_nothing_is_told_all_that_can_be_amended(order_type: OrderType, names: list[str]) -> None:
    current = oco() if order_type is OrderType.OCO else single_exit(order_type, levels(names[0]))
    with pytest.raises(InvalidRequest) as caught:
        amended(current, ExitChanges())
    named = [*names, "trigger_by", "price_protect"]
    assert (caught.value.code, caught.value.details["fields"]) == ("MISSING_FIELD", named)
    assert caught.value.message == f"Name at least one term to change; {order_type} has {', '.join(named)}."


def test_a_trailing_stop_cannot_get_both_distance_and_percentage() -> None:
    trailing = single_exit(OrderType.TRAILING_STOP, levels("trailing_stop_distance"))
    with pytest.raises(InvalidRequest) as caught:
        amended(trailing, changes("trailing_stop_distance", "trailing_stop_percentage"))
    assert caught.value.code == "CONFLICTING_FIELDS"


def activated() -> ExitTerms:
    asked = levels("trailing_stop_distance", activation_price=Decimal(120), trigger_by=TriggerBy.EXIT)
    return single_exit(OrderType.TRAILING_STOP, asked)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (changes("trailing_stop_percentage"), (None, Decimal(2), Decimal(120), TriggerBy.EXIT, False)),
        (changes(activation_price=Decimal(130)), (Decimal(5), None, Decimal(130), TriggerBy.EXIT, False)),
        (changes(removes_activation=True), (Decimal(5), None, None, TriggerBy.EXIT, False)),
        (changes(trigger_by=TriggerBy.MARK), (Decimal(5), None, Decimal(120), TriggerBy.MARK, False)),
        (changes(price_protect=True), (Decimal(5), None, Decimal(120), TriggerBy.EXIT, True)),
    ],
)
def test_each_term_of_a_trailing_stop_is_amended_by_itself(asked: ExitChanges, expected: tuple[Any, ...]) -> None:
    now = amended(activated(), asked)

    offsets = now.trailing_stop_distance, now.trailing_stop_percentage
    assert (*offsets, now.activation_price, now.trigger_by, now.price_protect) == expected


@pytest.mark.parametrize("order_type", [OrderType.MARKET, OrderType.STOP_LOSS])
def test_an_activation_without_a_trailing_stop_is_refused(order_type: OrderType) -> None:
    names = ["stop_price"] if order_type is OrderType.STOP_LOSS else []
    refusal("CONFLICTING_FIELDS", {"activation_price"}, terms(order_type, *names, activation_price=Decimal(120)))


def test_an_activation_alone_makes_no_trailing_stop() -> None:
    asked = terms(OrderType.TRAILING_STOP, activation_price=Decimal(120))
    refusal("MISSING_FIELD", OWN[OrderType.TRAILING_STOP], asked)


def test_how_exits_watch_the_price_is_that_of_all_of_them_and_needs_one() -> None:
    watching: dict[str, Any] = {"trigger_by": TriggerBy.LAST, "price_protect": True}

    exits = check_open_fields(terms(OrderType.MARKET, "stop_price", "take_profit_price", **watching))

    assert [(e.trigger_by, e.price_protect) for e in exits] == [(TriggerBy.LAST, True)] * 2
    refusal("CONFLICTING_FIELDS", {"trigger_by", "price_protect"}, terms(**watching))
    refusal("CONFLICTING_FIELDS", {"price_protect"}, terms(price_protect=True))


def test_the_spelling_of_a_number_does_not_make_another_request() -> None:
    assert fingerprint(terms(price=Decimal("100"))) == fingerprint(terms(price=Decimal("100.00")))
    assert fingerprint(terms(price=Decimal("1E+2"))) == fingerprint(terms(price=Decimal("100")))


def test_the_same_exit_of_another_trade_is_another_request() -> None:
    stop = single_exit(OrderType.STOP_LOSS, levels("stop_price"))
    other = single_exit(OrderType.STOP_LOSS, ExitRequest(stop_price=Decimal(91)))

    assert fingerprint(stop, 7) == fingerprint(single_exit(OrderType.STOP_LOSS, levels("stop_price")), 7)
    assert len({fingerprint(stop, 7), fingerprint(stop, 8), fingerprint(other, 7)}) == 3


CHANGES: dict[str, Any] = {
    **{name: value + 1 for name, value in LEVELS.items()},
    "activation_price": Decimal(120),
    "trigger_by": TriggerBy.EXIT,
    "price_protect": True,
    "asset": "ETH",
    "is_long": False,
    "collateral": Decimal("100.000001"),
    "leverage": 11,
    "order_type": OrderType.LIMIT,
    "asset_type": 0,
    "price": Decimal(1),
    "max_slippage": Decimal("0.001"),
    "expires_at": LATER,
    "valid_until": LATER,
    "client_order_id": "mine",
}


@pytest.mark.parametrize("name", [field.name for field in fields(OpenTerms)])
def test_every_field_makes_another_request(name: str) -> None:
    assert fingerprint(terms(**{name: CHANGES[name]})) != fingerprint(terms())


@given(
    st.decimals(min_value="0.01", max_value="1e9", places=6), st.decimals(min_value="0.01", max_value="1e9", places=6)
)
def test_fingerprints_are_equal_where_the_amounts_are(one: Decimal, other: Decimal) -> None:
    same = fingerprint(terms(collateral=one)) == fingerprint(terms(collateral=other))
    assert same is (one == other)
