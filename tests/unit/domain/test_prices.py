"""Ticks and quotes: the mark, what each series and side sees, which ticks are dropped, when a price is stale."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import Category, PositionSide, TriggerBy
from app.domain.prices import (
    STALE_AFTER,
    UNGUARDED,
    Market,
    Quote,
    Tick,
    believed,
    is_acceptable,
    judged_by_guard,
    series_price,
)

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
OPEN = Market(is_open=True)

prices = st.decimals(min_value="0.000000000000000001", max_value="99999999999999999999", places=18)


def tick(bid: str = "100", ask: str = "102", sequence: int = 7, last: str | None = None) -> Tick:
    return Tick(1, sequence, Decimal(bid), Decimal(ask), NOW, "test", None if last is None else Decimal(last))


@given(prices, prices)
def test_the_mark_is_the_exact_middle(bid: Decimal, ask: Decimal) -> None:
    middle = Tick(1, 1, bid, ask, NOW, "test").mark

    assert Fraction(middle) == (Fraction(bid) + Fraction(ask)) / 2


@pytest.mark.parametrize(
    ("trigger_by", "side", "price"),
    [
        (TriggerBy.MARK, LONG, "101"),
        (TriggerBy.MARK, SHORT, "101"),
        (TriggerBy.LAST, LONG, "101.5"),
        (TriggerBy.LAST, SHORT, "101.5"),
        (TriggerBy.EXIT, LONG, "100"),
        (TriggerBy.EXIT, SHORT, "102"),
    ],
)
def test_an_exit_watches_its_series(trigger_by: TriggerBy, side: PositionSide, price: str) -> None:
    assert tick(last="101.5").price_by(trigger_by, side) == Decimal(price)


def test_a_tick_without_a_trade_tells_no_last_price() -> None:
    assert tick().price_by(TriggerBy.LAST, LONG) is None


def test_a_buy_pays_the_ask_and_a_sell_gets_the_bid() -> None:
    assert tick().quote_for(buys=True) == Decimal(102)
    assert tick().quote_for(buys=False) == Decimal(100)


@pytest.mark.parametrize(
    ("bid", "ask", "previous", "is_taken"),
    [
        ("100", "102", None, True),
        ("100", "102", 6, True),
        ("100", "102", 7, False),
        ("100", "102", 8, False),
        ("102", "102", 6, True),
        ("102.01", "102", 6, False),
        ("0", "102", 6, False),
        ("-1", "102", 6, False),
    ],
)
def test_seen_crossed_and_worthless_ticks_are_dropped(bid: str, ask: str, previous: int | None, is_taken: bool) -> None:
    assert is_acceptable(tick(bid, ask), previous) is is_taken


@pytest.mark.parametrize("category", list(Category))
def test_a_price_is_stale_once_it_is_older_than_its_category_allows(category: Category) -> None:
    quote = Quote(tick(), NOW, OPEN)
    longest = STALE_AFTER[category]

    assert not quote.is_stale(NOW + longest, category)
    assert quote.is_stale(NOW + longest + timedelta(microseconds=1), category)


def test_a_closed_market_is_never_stale() -> None:
    assert not Quote(tick(), NOW, Market(is_open=False)).is_stale(NOW + timedelta(days=3), Category.CRYPTO)


@pytest.mark.parametrize("told", [timedelta(days=-1), timedelta(), timedelta(days=1)])
def test_a_price_that_is_vouched_for_is_as_old_as_what_its_source_has_told(told: timedelta) -> None:
    quote = Quote(tick(), NOW, Market(is_open=True, vouched_until=NOW + told))
    longest = told + STALE_AFTER[Category.CRYPTO]

    assert not quote.is_stale(NOW + longest, Category.CRYPTO)
    assert quote.is_stale(NOW + longest + timedelta(microseconds=1), Category.CRYPTO)


FIVE_PERCENT = Decimal("0.05")


def guarded_tick(second: float, mark: str, last: str | None = None) -> Tick:
    price = Decimal(mark)
    at = NOW + timedelta(seconds=second)
    return Tick(1, round(second * 1000) + 1, price - 1, price + 1, at, "test", None if last is None else Decimal(last))


@pytest.mark.parametrize(
    ("ticks", "seen"),
    [
        pytest.param([(0, "100"), (1, "50"), (2, "200")], [0, 1, 2], id="no last price, no guard"),
        pytest.param([(0, "100", "100"), (1, "95"), (2, "105")], [0, 1, 2], id="at the limit"),
        pytest.param([(0, "100", "100"), (1, "94.99"), (2, "105.01"), (3, "100")], [0, 3], id="beyond it"),
        pytest.param([(0, "100", "100"), (1, "90", "91")], [0, 1], id="the tick's own trade confirms it"),
        pytest.param([(0, "90", "100")], [], id="the tick's own trade denies it"),
        pytest.param([(0, "100", "100"), (4.999, "90"), (5, "90")], [0, 5], id="a last price guards for 5 s"),
        pytest.param(
            [(0, "90", "100"), (2, "90", "100"), (4.999, "90", "100"), (5, "90", "100"), (6, "80", "100")],
            [5, 6],
            id="held back for 5 s at most, then believed until prices meet",
        ),
        pytest.param(
            [(0, "90", "100"), (4, "99", "100"), (6, "90", "100"), (10.9, "90", "100"), (11, "90", "100")],
            [4, 11],
            id="a price that is believed between starts the 5 s anew",
        ),
        pytest.param([(0, "90", "100"), (60, "90", "100")], [60], id="after a silence"),
    ],
)
def test_a_guard_holds_back_marks_far_from_the_last_price(ticks: list[tuple[Any, ...]], seen: list[float]) -> None:
    given_ticks = [guarded_tick(*one) for one in ticks]

    assert [(one.at - NOW).total_seconds() for one in believed(given_ticks, FIVE_PERCENT)] == seen


guarded_scripts = st.lists(
    st.tuples(
        st.integers(0, 3000),
        st.sampled_from(["80", "94", "95", "96", "100", "105", "106", "130"]),
        st.sampled_from([None, "95", "100", "105"]),
    ),
    min_size=1,
    max_size=60,
)


@given(guarded_scripts)
def test_nothing_is_held_back_for_longer_than_five_seconds_of_ticks(script: list[tuple[int, str, str | None]]) -> None:
    now, guard, since = 0, UNGUARDED, None
    last: tuple[Decimal, int] | None = None
    for step, mark, told in script:
        now += step
        tick = guarded_tick(now / 1000, mark, told)
        guard, is_seen = judged_by_guard(guard, tick, FIVE_PERCENT)
        last = (Decimal(told), now) if told is not None else last
        is_near = last is None or now - last[1] >= 5000 or abs(tick.mark - last[0]) <= last[0] / 20
        since = None if is_near else now if since is None else since
        assert is_seen is (is_near or now - (since or 0) >= 5000)


@given(guarded_scripts, guarded_scripts)
def test_a_guard_that_begins_ten_seconds_earlier_decides_like_one_that_knows_everything(
    before: list[tuple[int, str, str | None]], after: list[tuple[int, str, str | None]]
) -> None:
    ticks, now = [], 0
    for step, mark, told in [*before, (0, "100", "100"), *after]:
        now += step
        ticks.append(guarded_tick(now / 1000, mark, told))
    begin = len(before)
    whole = {tick.at for tick in believed(ticks, FIVE_PERCENT)}
    part = {tick.at for tick in believed(ticks[begin:], FIVE_PERCENT)}
    settled = ticks[begin].at + timedelta(seconds=10)

    assert {at for at in whole if at >= settled} == {at for at in part if at >= settled}


def test_a_series_stands_at_the_last_price_that_was_told_and_believed() -> None:
    ticks = [guarded_tick(0, "100", "100"), guarded_tick(1, "101"), guarded_tick(2, "80"), guarded_tick(3, "79")]

    assert series_price(ticks, TriggerBy.MARK, LONG, None) == Decimal(79)
    assert series_price(ticks, TriggerBy.LAST, LONG, None) == Decimal(100)
    assert series_price(ticks, TriggerBy.MARK, LONG, FIVE_PERCENT) == Decimal(101)
    assert series_price(ticks, TriggerBy.EXIT, SHORT, FIVE_PERCENT) == Decimal(102)
    assert series_price(ticks[1:], TriggerBy.LAST, LONG, None) is None
    assert series_price([], TriggerBy.MARK, LONG, FIVE_PERCENT) is None
