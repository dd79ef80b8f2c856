"""Ticks and quotes: the mark, what each series and side sees, which ticks are dropped, when a price is stale."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import Category, PositionSide, TriggerBy
from app.domain.prices import STALE_AFTER, Market, Quote, Tick, is_acceptable

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


@pytest.mark.parametrize(
    "market", [Market(is_open=False), Market(is_open=True, silence_is_stale=False)], ids=["closed", "vouched for"]
)
def test_a_closed_or_vouched_for_market_is_never_stale(market: Market) -> None:
    assert not Quote(tick(), NOW, market).is_stale(NOW + timedelta(days=3), Category.CRYPTO)
