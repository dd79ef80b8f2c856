"""What an intent carries to its venue, as it is kept in the database and rebuilt to be sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.domain.enums import OrderType, PositionSide
from app.domain.money import plain
from app.domain.trading import CloseParams, TradeParams, VenueRef


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPayload:
    """An opening order before it has a client id."""

    order_type: OrderType
    side: PositionSide
    collateral: Decimal
    leverage: int
    price: Decimal | None
    reference_price: Decimal | None
    max_slippage: Decimal | None

    def to_json(self) -> dict[str, object]:
        """The form that is kept."""
        return {
            "order_type": self.order_type.value,
            "side": self.side.value,
            "collateral": plain(self.collateral),
            "leverage": self.leverage,
            "price": _text(self.price),
            "reference_price": _text(self.reference_price),
            "max_slippage": _text(self.max_slippage),
        }


def open_params(kept: Mapping[str, str], client_id: int, ref: VenueRef, not_after: datetime) -> TradeParams:
    """The opening order that a kept payload stands for."""
    return TradeParams(
        client_id=client_id,
        ref=ref,
        order_type=OrderType(kept["order_type"]),
        side=PositionSide(kept["side"]),
        collateral=Decimal(kept["collateral"]),
        leverage=int(kept["leverage"]),
        not_after=not_after,
        price=_decimal(kept["price"]),
        reference_price=_decimal(kept["reference_price"]),
        max_slippage=_decimal(kept["max_slippage"]),
    )


def close_payload(
    venue_trade_index: str, side: PositionSide, size: Decimal, *, is_whole: bool = False, is_engines: bool = False
) -> dict[str, object]:
    """The kept form of a reduce-only close of `size`.

    `is_whole`: all of the trade shall go, also what its entry fills meanwhile. `is_engines`: nobody asked for it but
    the engine itself, which therefore tries again.
    """
    payload: dict[str, object] = {"venue_trade_index": venue_trade_index, "side": side.value, "size": plain(size)}
    flags = {"whole": is_whole, "engine": is_engines}
    return payload | {name: True for name, is_set in flags.items() if is_set}


def is_whole(kept: Mapping[str, object]) -> bool:
    """Whether a kept close is to leave nothing open."""
    return bool(kept.get("whole"))


def is_engines(kept: Mapping[str, object]) -> bool:
    """Whether a kept close was the engine's own."""
    return bool(kept.get("engine"))


def close_params(kept: Mapping[str, str], client_id: int, ref: VenueRef, not_after: datetime) -> CloseParams:
    """The close that a kept payload stands for."""
    return CloseParams(
        client_id=client_id,
        ref=ref,
        venue_trade_index=kept["venue_trade_index"],
        side=PositionSide(kept["side"]),
        size=Decimal(kept["size"]),
        not_after=not_after,
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
