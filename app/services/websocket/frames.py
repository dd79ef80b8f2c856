"""The frames that a server sends, and how an event of the log becomes one.

A frame is kept without its last brace, so that the writer of a connection can add `connection_sequence`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import orjson

from app.core.clock import Clock
from app.core.json import decode_exact, encode, rfc3339
from app.domain.channels import Channel
from app.domain.enums import PositionSide
from app.domain.events import EventType
from app.domain.positions import unrealised_pnl
from app.services.providers.base import QuoteBoard

type FrameId = str | int
type Members = Mapping[str, object]


class Logged(Protocol):
    """An event as it stands in the log; `data` is JSON text."""

    @property
    def id(self) -> int:
        """The event's id, unique over all users."""
        ...

    @property
    def sequence(self) -> int:
        """Its place in its user's log."""
        ...

    @property
    def type(self) -> str:
        """One of EventType."""
        ...

    @property
    def data(self) -> str:
        """JSON text."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was written."""
        ...


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as the relay hands it on."""

    id: int
    sequence: int
    type: str
    data: str
    created_at: datetime


def encode_logged(event: Logged) -> bytes:
    """The message that carries an event to the processes that show it."""
    return orjson.dumps(
        {
            "id": event.id,
            "sequence": event.sequence,
            "type": event.type,
            "data": event.data,
            "created_at": event.created_at,
        }
    )


def decode_logged(message: bytes) -> LoggedEvent:
    """Read the message of `encode_logged`."""
    envelope: dict[str, Any] = orjson.loads(message)
    envelope["created_at"] = datetime.fromisoformat(envelope["created_at"])
    return LoggedEvent(**envelope)


@dataclass(frozen=True, slots=True)
class EventFrame:
    """An event as one channel shows it; `trade_id` is the trade it is about, where it is about one."""

    sequence: int
    channel: Channel
    trade_id: int | None
    text: str


class PositionFacts(Protocol):
    """What the live value of a position follows from; `size` in base units."""

    @property
    def pair_id(self) -> int:
        """Whose mark counts."""
        ...

    @property
    def side(self) -> PositionSide:
        """long or short."""
        ...

    @property
    def size(self) -> Decimal:
        """What is open."""
        ...

    @property
    def entry_price(self) -> Decimal:
        """What it was opened at."""
        ...


@dataclass(frozen=True, slots=True)
class _ToldPosition:
    pair_id: int
    side: PositionSide
    size: Decimal
    entry_price: Decimal


def open_frame(kind: str, channel: Channel | None, data: Members, at: datetime, **members: object) -> str:
    """A frame of the seed's shape without its last brace; members that are None are left out."""
    frame: dict[str, object] = {"type": kind, "channel": channel, "data": data, "timestamp": rfc3339(at)}
    frame.update((name, value) for name, value in members.items() if value is not None)
    return encode(frame)[:-1].decode()


def reopened(frame: bytes) -> str:
    """A frame that was published ready to send, without its last brace."""
    return frame[:-1].decode()


def as_snapshot(frame: str) -> str:
    """Mark a frame as the state at subscription."""
    return f'{frame},"snapshot":true'


_KINDS = {kind.value: kind for kind in EventType}


class FrameFactory:
    """Makes frames; positions are valued at the last mark that this process has seen."""

    def __init__(self, board: QuoteBoard, clock: Clock) -> None:
        self._board = board
        self._clock = clock

    def of_now(self, kind: str, channel: Channel | None, data: Members, frame_id: FrameId | None = None) -> str:
        """A frame of this moment; `frame_id` is the client's own, in the answer to its message."""
        return open_frame(kind, channel, data, self._clock.now(), id=frame_id)

    def of_event(self, event: Logged) -> EventFrame | None:
        """The frame of an event; None where no channel tells of it (or a newer release wrote it)."""
        kind = _KINDS.get(event.type)
        if kind is None or kind.channel is None:
            return None
        channel = Channel(kind.channel)
        data: dict[str, Any] = decode_exact(event.data)
        shown = self._told(kind, channel, data, event.created_at)
        text = open_frame(channel.update_type, channel, shown, event.created_at, sequence=event.sequence)
        return EventFrame(event.sequence, channel, data.get("trade_id"), text)

    def live_values(self, position: PositionFacts) -> dict[str, object]:
        """`current_price` (the mark) and `unrealized_pnl` in USDC; both None before the first price."""
        quote = self._board.latest(position.pair_id)
        if quote is None:
            return dict(_NO_LIVE_VALUES)
        mark = quote.tick.mark
        pnl = unrealised_pnl(position.side, position.size, position.entry_price, mark)
        return {"current_price": mark, "unrealized_pnl": pnl}

    def _told(self, kind: EventType, channel: Channel, data: dict[str, Any], at: datetime) -> Members:
        if channel is Channel.TRADES:
            subject, _, word = kind.value.partition(".")
            return {**data, f"{subject}_status": data.get("status"), "status": word, "event": kind.value}
        if channel is Channel.POSITIONS:
            live = self.live_values(_told_position(data)) if data["is_open"] else _NO_LIVE_VALUES
            return {**data, **live, "updated_at": rfc3339(at), "event": kind.value}
        return {**data, "event": kind.value}


_NO_LIVE_VALUES: dict[str, object] = {"current_price": None, "unrealized_pnl": None}


def _told_position(data: dict[str, Any]) -> _ToldPosition:
    """Read a position event's own text back."""
    side = PositionSide(data["side"])
    return _ToldPosition(data["pair_id"], side, Decimal(data["size"]), Decimal(data["entry_price"]))
