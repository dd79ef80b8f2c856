"""The trigger book by example: what fires, what shares a watermark, what is durable."""

import tracemalloc
from collections import deque
from decimal import Decimal
from random import Random
from typing import TypedDict, Unpack

import pytest

from app.domain.enums import PositionSide, TriggeredLeg
from app.domain.trigger_book import TriggerBook, Watermark
from app.domain.triggers import Activated, Crossing, TriggerOrder

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


class Terms(TypedDict, total=False):
    version: int
    side: PositionSide
    stop_price: Decimal
    take_profit_price: Decimal
    trailing_distance: Decimal
    trailing_percentage: Decimal
    activation_price: Decimal
    released_sequence: int


def order(order_id: int, armed_sequence: int, armed_price: str, **terms: Unpack[Terms]) -> TriggerOrder:
    filled: Terms = {"version": 0, "side": LONG}
    filled.update(terms)
    return TriggerOrder(order_id=order_id, armed_sequence=armed_sequence, armed_price=Decimal(armed_price), **filled)


def trailing(order_id: int, armed_sequence: int, armed_price: str, distance: str = "5") -> TriggerOrder:
    return order(order_id, armed_sequence, armed_price, trailing_distance=Decimal(distance))


def play(book: TriggerBook, *prices: str) -> list[Crossing]:
    crossings: list[Crossing] = []
    for price in prices:
        crossings += book.on_price(book.sequence + 1, Decimal(price))
    return crossings


def test_an_oco_fires_one_leg_and_leaves() -> None:
    book = TriggerBook(0)
    book.add(order(1, 0, "100", stop_price=Decimal(95), take_profit_price=Decimal(110)))

    assert play(book, "96", "109.99") == []
    assert play(book, "110") == [Crossing(1, 0, 3, Decimal(110), TriggeredLeg.TAKE_PROFIT, None, None)]
    assert (len(book), 1 in book) == (0, False)
    assert play(book, "90") == []


def test_crossings_of_a_tick_come_by_ascending_id_whatever_their_side_or_leg() -> None:
    book = TriggerBook(0)
    book.add(order(9, 0, "100", stop_price=Decimal(95)))
    book.add(order(3, 0, "100", side=SHORT, take_profit_price=Decimal(97)))
    book.add(trailing(7, 0, "100"))
    book.add(order(5, 0, "100", stop_price=Decimal(80)))
    book.add(order(1, 0, "100", side=SHORT, trailing_percentage=Decimal(1)))

    assert [crossing.order_id for crossing in play(book, "90")] == [3, 7, 9]
    assert [crossing.order_id for crossing in play(book, "90.9")] == [1]


def test_a_tick_moves_the_watermark_before_it_is_compared() -> None:
    book = TriggerBook(0)
    book.add(trailing(1, 0, "100"))

    assert play(book, "120", "115.01") == []
    assert book.stop_of(1) == Decimal(115)
    assert book.watermark_of(1) == Decimal(120)
    assert play(book, "115") == [Crossing(1, 0, 3, Decimal(115), TriggeredLeg.TRAILING, Decimal(115), Decimal(120))]
    assert book.stop_of(1) is None


def test_ticks_that_are_not_newer_are_ignored() -> None:
    book = TriggerBook(10)
    book.add(order(1, 10, "100", stop_price=Decimal(95)))

    assert book.on_price(10, Decimal(90)) == ()
    assert book.on_price(9, Decimal(90)) == ()
    assert book.on_price(12, Decimal(99)) == ()
    assert book.on_price(11, Decimal(99)) == ()
    assert book.sequence == 12
    assert book.on_price(11, Decimal(90)) == ()
    assert [crossing.sequence for crossing in book.on_price(13, Decimal(90))] == [13]


def test_the_same_price_again_fires_what_was_added_in_between() -> None:
    book = TriggerBook(0)
    play(book, "90", "90")
    book.add(order(1, 2, "90", stop_price=Decimal(95)))

    assert [crossing.sequence for crossing in play(book, "90")] == [3]


def test_orders_share_a_watermark_once_a_new_extreme_joins_them() -> None:
    book = TriggerBook(1)
    book.add(trailing(1, 1, "100"))
    play(book, "96")
    book.add(trailing(2, 2, "96"))
    play(book, "98")

    assert book.rows() == [Watermark(LONG, 1, Decimal(100)), Watermark(LONG, 2, Decimal(98))]
    assert (book.watermark_of(1), book.watermark_of(2)) == (Decimal(100), Decimal(98))

    play(book, "101")

    assert book.rows() == [Watermark(LONG, 2, Decimal(101))]
    assert (book.stop_of(1), book.stop_of(2)) == (Decimal(96), Decimal(96))


def test_shorts_mirror_longs() -> None:
    book = TriggerBook(1)
    book.add(order(1, 1, "100", side=SHORT, trailing_percentage=Decimal(5)))
    play(book, "104")
    book.add(order(2, 2, "104", side=SHORT, trailing_distance=Decimal(3)))

    assert book.rows() == [Watermark(SHORT, 1, Decimal(100)), Watermark(SHORT, 2, Decimal(104))]
    play(book, "80")
    assert book.rows() == [Watermark(SHORT, 2, Decimal(80))]
    assert [(c.order_id, c.stop_price) for c in play(book, "83", "84")] == [(2, Decimal(83)), (1, Decimal(84))]


def test_a_late_order_fires_at_the_kept_tick_that_it_missed() -> None:
    book = TriggerBook(1)
    ticks = deque([(1, Decimal(100)), (2, Decimal(103)), (3, Decimal(98)), (4, Decimal(104))])
    for tick in ticks:
        book.on_price(*tick)

    assert book.add(trailing(1, 1, "100"), ticks) == Crossing(
        1, 0, 3, Decimal(98), TriggeredLeg.TRAILING, Decimal(98), Decimal(103)
    )
    assert 1 not in book
    assert book.add(trailing(2, 1, "100", "6"), ticks) is None
    assert (book.watermark_of(2), book.stop_of(2)) == (Decimal(104), Decimal(98))


def test_kept_ticks_that_the_book_has_not_judged_are_left_to_on_price() -> None:
    book = TriggerBook(1)
    play(book, "99")

    assert book.add(order(1, 1, "100", stop_price=Decimal(95)), [(2, Decimal(99)), (3, Decimal(90))]) is None
    assert [crossing.sequence for crossing in play(book, "90")] == [3]


def test_a_waiting_order_is_judged_by_the_first_tick_after_its_own_even_if_that_was_not_seen() -> None:
    book = TriggerBook(10)
    book.add(order(1, 12, "100", stop_price=Decimal(95)))
    book.add(trailing(2, 13, "100"))

    assert book.on_price(11, Decimal(90)) == ()
    assert [crossing.order_id for crossing in book.on_price(14, Decimal(95))] == [1, 2]


def test_an_order_armed_ahead_of_the_book_waits_for_its_tick() -> None:
    book = TriggerBook(10)
    book.add(order(1, 12, "100", stop_price=Decimal(95)))
    book.add(trailing(2, 12, "100"))

    assert (len(book), book.stop_of(2), book.watermark_of(2)) == (2, Decimal(95), Decimal(100))
    assert play(book, "120", "90") == []
    assert book.watermark_of(2) == Decimal(100)
    assert [crossing.order_id for crossing in play(book, "95")] == [1, 2]


def test_a_waiting_order_can_be_cancelled_and_amended() -> None:
    book = TriggerBook(10)
    book.add(order(1, 12, "100", stop_price=Decimal(95)))
    book.add(order(1, 12, "100", version=1, stop_price=Decimal(90)))
    book.add(order(2, 12, "100", stop_price=Decimal(95)))

    assert book.cancel(2)
    assert (len(book), 2 in book, book.stop_of(1), book.watermark_of(1)) == (1, False, None, None)
    assert play(book, "100", "100", "95", "91") == []
    assert [(crossing.version, crossing.stop_price) for crossing in play(book, "90")] == [(1, Decimal(90))]


def test_only_a_newer_version_replaces_an_order() -> None:
    book = TriggerBook(0)
    book.add(order(1, 0, "100", version=5, stop_price=Decimal(95)))
    book.add(order(1, 0, "100", version=5, stop_price=Decimal(99)))
    book.add(order(1, 0, "100", version=4, stop_price=Decimal(99)))
    assert play(book, "98") == []

    book.add(order(1, 1, "98", version=6, stop_price=Decimal(97)))
    assert [crossing.version for crossing in play(book, "97", "94")] == [6]


def test_a_cancelled_order_may_come_back_with_the_same_version() -> None:
    book = TriggerBook(0)
    first = trailing(1, 0, "100")
    book.add(first)
    play(book, "110")
    assert book.cancel(1)
    book.add(trailing(1, 1, "110", "20"))

    assert not book.cancel(2)
    assert play(book, "95") == []
    assert [crossing.stop_price for crossing in play(book, "90")] == [Decimal(90)]
    assert len(book) == 0


def test_a_crossing_that_was_let_go_waits_from_its_tick_with_its_watermark() -> None:
    book = TriggerBook(0)
    book.add(trailing(1, 0, "100", "5"))
    play(book, "96", "97")
    book.add(trailing(2, 2, "97", "90"))
    (crossing,) = play(book, "110", "104")
    assert crossing.watermark is not None

    back = order(
        1,
        0,
        str(crossing.watermark),
        version=1,
        trailing_distance=Decimal(5),
        released_sequence=crossing.sequence,
    )
    book.add(back, [(1, Decimal(96)), (2, Decimal(97)), (3, Decimal(110)), (4, Decimal(104))])

    assert (book.stop_of(1), book.watermark_of(2)) == (Decimal(105), Decimal(110))
    assert play(book, "106") == []
    assert [c.sequence for c in play(book, "105")] == [6]


def test_an_activated_order_is_told_with_the_changes() -> None:
    book = TriggerBook(0)
    book.add(order(1, 0, "100", version=2, trailing_distance=Decimal(5), activation_price=Decimal(110)))
    assert play(book, "90", "109") == []
    assert (book.stop_of(1), book.watermark_of(1), book.take_changes().activated) == (None, None, ())

    play(book, "111")

    changes = book.take_changes()
    assert changes.activated == (Activated(1, 2, 3, Decimal(111)),)
    assert changes.upserts == (Watermark(LONG, 3, Decimal(111)),)
    assert book.stop_of(1) == Decimal(106)
    assert book.take_changes().activated == ()


def test_changes_are_what_became_different() -> None:
    book = TriggerBook(4, [Watermark(LONG, 1, Decimal(110)), Watermark(LONG, 3, Decimal(104))])
    book.add(trailing(1, 1, "100", "20"))
    book.add(trailing(2, 2, "101", "20"))
    assert book.take_changes().upserts == ()

    book.add(trailing(3, 4, "102"))
    play(book, "103", "104")
    changes = book.take_changes()
    assert (changes.sequence, changes.upserts, changes.deletes) == (
        6,
        (Watermark(LONG, 4, Decimal(104)),),
        ((LONG, 3),),
    )

    play(book, "112")
    book.cancel(3)
    changes = book.take_changes()
    assert (changes.upserts, changes.deletes) == ((Watermark(LONG, 4, Decimal(112)),), ((LONG, 1),))

    book.cancel(1)
    book.cancel(2)
    assert (book.take_changes().deletes, book.rows()) == (((LONG, 4),), [])
    assert play(book, "1") == []


@pytest.mark.parametrize("side", list(PositionSide))
def test_a_restored_book_goes_on_exactly(side: PositionSide) -> None:
    direction = 1 if side is LONG else -1
    orders = [
        order(1, 1, "100", side=side, trailing_distance=Decimal(5)),
        order(2, 2, str(100 - direction), side=side, trailing_percentage=Decimal(4)),
    ]
    book = TriggerBook(1)
    book.add(orders[0])
    play(book, str(100 - direction))
    book.add(orders[1])
    play(book, str(100 + 6 * direction), str(100 + 3 * direction))

    restored = TriggerBook(book.sequence, book.rows())
    for one in reversed(orders):
        restored.add(one)

    prices = [str(Decimal(103) if side is LONG else Decimal(97)), "100", "101", "99", "100"]
    assert [restored.watermark_of(n) for n in (1, 2)] == [book.watermark_of(n) for n in (1, 2)]
    assert play(restored, *prices) == play(book, *prices) != []


FAR: dict[str, Terms] = {
    "fixed": {"stop_price": Decimal(100), "take_profit_price": Decimal(9000)},
    "trailing": {"trailing_distance": Decimal(900)},
}


@pytest.mark.parametrize("steps", [(0,), (-1, 1)], ids=["still", "walking"])
@pytest.mark.parametrize("kind", FAR)
def test_neither_amends_nor_merges_gather_garbage(kind: str, steps: tuple[int, ...]) -> None:
    random = Random(5)
    book = TriggerBook(0)
    price = Decimal(1000)
    tracemalloc.start()
    try:
        for version in range(6000):
            price += random.choice(steps)
            play(book, str(price))
            terms: Terms = {"version": version}
            terms.update(FAR[kind])
            book.add(order(version % 50, book.sequence, str(price), **terms))
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert len(book) == 50
    assert size < 150_000
