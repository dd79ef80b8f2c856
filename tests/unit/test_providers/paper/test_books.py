"""Matching of one pair: against a slow rule written here, whenever the rows were added."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import OrderSide, PaperOrderStatus, PositionSide
from app.domain.prices import Tick
from app.models.paper import PaperOrder, PaperPosition
from app.services.providers.paper.books import PairBooks
from app.services.providers.paper.matches import MatchKind, PaperMatch

LIQUIDATION, LIMIT_FILL = MatchKind.LIQUIDATION, MatchKind.LIMIT_FILL
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
AT = datetime(2026, 1, 5, tzinfo=UTC)


def tick(sequence: int, bid: int, ask: int) -> Tick:
    return Tick(7, sequence, Decimal(bid), Decimal(ask), AT, "test")


def position(row_id: int, side: PositionSide, level: str, armed: int = 1) -> PaperPosition:
    return PaperPosition(
        id=row_id,
        pair_id=7,
        side=side,
        liquidation_price=Decimal(level),
        armed_sequence=armed,
        armed_price=Decimal(100),
        version=0,
    )


def limit(row_id: int, side: OrderSide, price: str, armed: int = 1) -> PaperOrder:
    return PaperOrder(
        id=row_id,
        pair_id=7,
        side=side,
        limit_price=Decimal(price),
        armed_sequence=armed,
        status=PaperOrderStatus.RESTING,
        fill_count=0,
        parts=1,
        settle_ticks=0,
    )


def did(matches: Sequence[PaperMatch]) -> list[tuple[MatchKind, int, int]]:
    return [(match.kind, match.row_id, match.sequence) for match in matches]


def test_liquidations_come_before_fills_each_by_id_with_the_quote_of_their_tick() -> None:
    books = PairBooks()
    for row in (limit(1, OrderSide.BUY, "95"), limit(3, OrderSide.SELL, "90"), limit(2, OrderSide.BUY, "96")):
        books.add(row, ())
    books.add(position(9, LONG, "94.5"), ())
    books.add(position(8, LONG, "94.6"), ())
    books.on_tick(tick(1, 100, 101))

    matches = books.on_tick(tick(2, 94, 95))

    assert did(matches) == [
        (LIQUIDATION, 8, 2),
        (LIQUIDATION, 9, 2),
        (LIMIT_FILL, 1, 2),
        (LIMIT_FILL, 2, 2),
        (LIMIT_FILL, 3, 2),
    ]
    assert {(match.bid, match.ask, match.mark) for match in matches} == {(Decimal(94), Decimal(95), Decimal("94.5"))}
    assert matches[0].quote_for(OrderSide.SELL) == 94


def test_a_match_leaves_the_books_once_and_is_remembered_until_it_is_forgotten() -> None:
    books = PairBooks()
    books.add(position(1, SHORT, "110"), ())
    (match,) = books.on_tick(tick(2, 110, 111))

    assert books.on_tick(tick(3, 120, 121)) == ()
    assert books.matched(LIQUIDATION, 1) == [match]
    books.forget(LIQUIDATION, 1)
    assert books.matched(LIQUIDATION, 1) == []


def test_what_is_forgotten_is_not_matched() -> None:
    books = PairBooks()
    books.add(position(1, LONG, "90"), ())
    books.add(limit(1, OrderSide.BUY, "90"), ())
    books.forget(LIMIT_FILL, 1)

    assert did(books.on_tick(tick(2, 80, 81))) == [(LIQUIDATION, 1, 2)]


def test_a_long_that_no_price_can_liquidate_is_not_watched() -> None:
    books = PairBooks()

    assert books.add(position(1, LONG, "0"), ()) == []
    assert books.on_tick(tick(2, 1, 1)) == ()


def test_the_armed_tick_and_those_before_do_nothing() -> None:
    books = PairBooks()
    books.add(position(1, LONG, "95", armed=3), ())
    books.add(limit(2, OrderSide.BUY, "95", armed=3), ())

    assert [did(books.on_tick(tick(n, 90, 90))) for n in (1, 2, 3)] == [[], [], []]
    assert did(books.on_tick(tick(4, 90, 90))) == [(LIQUIDATION, 1, 4), (LIMIT_FILL, 2, 4)]


@dataclass(frozen=True)
class Row:
    """A position or an order as the rule sees it; it is added after the tick `added`."""

    row: PaperPosition | PaperOrder
    armed: int
    added: int

    def key(self, at: int) -> tuple[MatchKind, int, int]:
        kind = LIQUIDATION if isinstance(self.row, PaperPosition) else LIMIT_FILL
        return kind, self.row.id, at

    def matches(self, seen: Tick) -> bool:
        if isinstance(self.row, PaperPosition):
            mark = (seen.bid + seen.ask) / 2
            level = self.row.liquidation_price
            return mark <= level if self.row.side is LONG else mark >= level
        assert self.row.limit_price is not None
        is_buy = self.row.side is OrderSide.BUY
        return seen.ask <= self.row.limit_price if is_buy else seen.bid >= self.row.limit_price


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Tick], list[Row]]:
    quotes = draw(st.lists(st.tuples(st.integers(90, 110), st.integers(0, 3)), min_size=2, max_size=40))
    ticks = [tick(n, bid, bid + spread) for n, (bid, spread) in enumerate(quotes, 1)]
    rows = []
    for row_id in range(1, draw(st.integers(1, 12)) + 1):
        armed = draw(st.integers(1, len(ticks)))
        level = str(draw(st.integers(85, 115)))
        row = (
            position(row_id, draw(st.sampled_from(PositionSide)), level, armed)
            if draw(st.booleans())
            else limit(row_id, draw(st.sampled_from(OrderSide)), level, armed)
        )
        rows.append(Row(row, armed, draw(st.integers(0, len(ticks)))))
    return ticks, rows


@given(history=histories())
def test_rows_match_at_the_tick_of_the_slow_rule_whenever_they_were_added(
    history: tuple[list[Tick], list[Row]],
) -> None:
    ticks, rows = history
    books = PairBooks()
    found: list[PaperMatch] = []

    def add(row: Row, kept: Sequence[Tick]) -> None:
        found.extend(books.add(row.row, kept))

    for number in range(len(ticks) + 1):
        if number:
            found += books.on_tick(ticks[number - 1])
        for row in rows:
            if row.added == number:
                add(row, [seen for seen in ticks[:number] if seen.sequence > row.armed])

    expected = set()
    for row in rows:
        at = next((seen.sequence for seen in ticks if seen.sequence > row.armed and row.matches(seen)), None)
        expected |= {row.key(at)} if at else set()
    assert len(found) == len(expected)
    assert set(did(found)) == expected
