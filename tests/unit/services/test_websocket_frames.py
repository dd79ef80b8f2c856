"""How events become frames."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from app.domain.channels import Channel
from app.domain.events import EventType
from app.domain.prices import Market, Quote, Tick
from app.services.websocket.frames import (
    FrameFactory,
    LoggedEvent,
    as_snapshot,
    decode_logged,
    encode_logged,
    open_frame,
)
from tests.fakes import ManualClock

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
POSITION: dict[str, object] = {
    "position_id": 3,
    "pair_id": 1,
    "side": "short",
    "size": 0.1,
    "entry_price": "50000.123456789012345",
    "is_open": True,
}


class Board:
    """A board of one price."""

    def __init__(self, mark: Decimal | None) -> None:
        self._mark = mark

    def latest(self, pair_id: int) -> Quote | None:
        if self._mark is None:
            return None
        return Quote(Tick(pair_id, 1, self._mark, self._mark, NOON, "paper"), NOON, Market(is_open=True))

    def kept(self, pair_id: int, after_sequence: int) -> Sequence[Tick]:
        return ()


def factory(mark: Decimal | None = None) -> FrameFactory:
    return FrameFactory(Board(mark), ManualClock(NOON))


def logged(kind: str, data: dict[str, object]) -> LoggedEvent:
    return LoggedEvent(id=9, sequence=4, type=kind, data=json.dumps(data), created_at=NOON)


def test_an_event_travels_between_processes_unchanged() -> None:
    event = LoggedEvent(9, 4, "trade.closed", '{"b": 1,  "a":"\\u00e9\\n"}', NOON)
    message = encode_logged(event)
    assert b"\n" not in message
    assert decode_logged(message) == event


def test_every_type_of_event_goes_to_its_channel_or_to_none() -> None:
    told: dict[str, str | None] = {}
    for kind in EventType:
        frame = factory().of_event(logged(kind, POSITION if kind is EventType.POSITION_UPDATED else {}))
        told[kind.value.partition(".")[0]] = frame.channel if frame else None
        if frame is not None:
            shown = json.loads(frame.text + "}")
            assert shown["type"] == frame.channel.update_type
            assert shown["data"]["event"] == kind
            assert shown["sequence"] == 4
    assert told == {
        "trade": "trades",
        "order": "trades",
        "position": "positions",
        "deposit": "deposits",
        "swap": "deposits",
        "wallet": None,
        "webhook": None,
    }


def test_an_event_of_a_newer_release_is_not_shown() -> None:
    assert factory().of_event(logged("trade.teleported", {"trade_id": 1})) is None


def test_the_status_of_a_trade_is_the_events_word_and_the_rows_own_stands_beside_it() -> None:
    frame = factory().of_event(logged("trade.updated", {"trade_id": 7, "status": "closing"}))
    assert frame is not None
    assert frame.trade_id == 7
    data = json.loads(frame.text + "}")["data"]
    assert data == {"trade_id": 7, "status": "updated", "trade_status": "closing", "event": "trade.updated"}


def test_a_position_is_valued_at_the_mark() -> None:
    frame = factory(Decimal(49000)).of_event(logged("position.updated", POSITION))
    assert frame is not None
    text = frame.text + "}"
    assert '"unrealized_pnl":100.012345' in text
    assert json.loads(text)["data"]["updated_at"] == "2026-01-05T12:00:00Z"
    unpriced = factory().of_event(logged("position.updated", POSITION))
    assert unpriced is not None
    assert json.loads(unpriced.text + "}")["data"]["unrealized_pnl"] is None
    closed = factory(Decimal(49000)).of_event(logged("position.updated", {**POSITION, "is_open": False}))
    assert closed is not None
    assert json.loads(closed.text + "}")["data"]["unrealized_pnl"] is None


def test_a_frame_has_the_members_of_the_interface_in_a_form_that_can_be_added_to() -> None:
    frame = open_frame("pong", None, {}, NOON, id=None)
    assert json.loads(frame + "}") == {"type": "pong", "channel": None, "data": {}, "timestamp": "2026-01-05T12:00:00Z"}
    shown = json.loads(as_snapshot(open_frame("price_update", Channel.PRICES, {"price": Decimal("1.10")}, NOON)) + "}")
    assert (shown["snapshot"], shown["data"]["price"]) == (True, 1.1)
