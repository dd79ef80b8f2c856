"""What is kept of an intent is what is sent: every digit survives the way through the database's JSON."""

import json
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.domain.enums import OrderType, PositionSide
from app.domain.intents import OpenPayload, close_params, close_payload, open_params
from app.domain.trading import VenueRef

REF = VenueRef(3, 4, 5, "BTCUSDT")
NOT_AFTER = datetime(2026, 1, 5, 12, 0, 10, tzinfo=UTC)

amounts = st.integers(1, 10**38 - 1).map(lambda units: Decimal(units).scaleb(-18))
maybe_amounts = st.none() | amounts
sides = st.sampled_from(PositionSide)


@given(
    st.sampled_from([OrderType.MARKET, OrderType.LIMIT]),
    sides,
    amounts,
    st.integers(1, 1000),
    maybe_amounts,
    maybe_amounts,
    maybe_amounts,
)
def test_an_opening_order_is_sent_as_it_was_written(
    order_type: OrderType,
    side: PositionSide,
    collateral: Decimal,
    leverage: int,
    price: Decimal | None,
    reference_price: Decimal | None,
    max_slippage: Decimal | None,
) -> None:
    payload = OpenPayload(
        order_type=order_type,
        side=side,
        collateral=collateral,
        leverage=leverage,
        price=price,
        reference_price=reference_price,
        max_slippage=max_slippage,
    )

    sent = open_params(json.loads(json.dumps(payload.to_json(), allow_nan=False)), 77, REF, NOT_AFTER)

    assert (sent.order_type, sent.side, sent.collateral, sent.leverage) == (order_type, side, collateral, leverage)
    assert (sent.price, sent.reference_price, sent.max_slippage) == (price, reference_price, max_slippage)
    assert (sent.client_id, sent.ref, sent.not_after) == (77, REF, NOT_AFTER)


@given(sides, amounts)
def test_a_close_is_sent_as_it_was_written(side: PositionSide, size: Decimal) -> None:
    kept = json.loads(json.dumps(close_payload("12", side, size), allow_nan=False))

    sent = close_params(kept, 78, REF, NOT_AFTER)

    assert (sent.venue_trade_index, sent.side, sent.size) == ("12", side, size)
    assert (sent.client_id, sent.ref, sent.not_after) == (78, REF, NOT_AFTER)
