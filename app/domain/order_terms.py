"""What a user may ask for when opening a trade or attaching an exit, and which fields each order type needs."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from hashlib import sha256

from app.domain.enums import OrderType, TriggerBy
from app.domain.errors import InvalidRequest
from app.domain.money import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitLevels:
    """The levels of exits as they are asked for; all prices in quote units, the percentage in percent (2 = 2 %)."""

    stop_price: Decimal | None = None
    take_profit_price: Decimal | None = None
    trailing_stop_distance: Decimal | None = None
    trailing_stop_percentage: Decimal | None = None
    oco_stop_price: Decimal | None = None
    oco_take_profit_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitTerms(ExitLevels):
    """One exit order: its type and only the levels that belong to it."""

    order_type: OrderType
    trigger_by: TriggerBy = TriggerBy.MARK

    @property
    def stop(self) -> Decimal | None:
        """The fixed stop level, of a stop-loss or of an OCO."""
        return self.stop_price or self.oco_stop_price

    @property
    def take_profit(self) -> Decimal | None:
        """The fixed take-profit level, of a take-profit or of an OCO."""
        return self.take_profit_price or self.oco_take_profit_price

    @property
    def is_trailing(self) -> bool:
        """Whether its stop follows the price."""
        return self.order_type is OrderType.TRAILING_STOP


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTerms(ExitLevels):
    """A request to open a trade. `collateral` in USDC; `max_slippage` a fraction of the reference price."""

    asset: str
    is_long: bool
    collateral: Decimal
    leverage: int
    order_type: OrderType
    asset_type: int | None = None
    price: Decimal | None = None
    max_slippage: Decimal | None = None
    expires_at: datetime | None = None
    valid_until: datetime | None = None
    client_order_id: str | None = None


_EXIT_FIELDS: dict[OrderType, tuple[str, ...]] = {
    OrderType.STOP_LOSS: ("stop_price",),
    OrderType.TAKE_PROFIT: ("take_profit_price",),
    OrderType.TRAILING_STOP: ("trailing_stop_distance", "trailing_stop_percentage"),
    OrderType.OCO: ("oco_stop_price", "oco_take_profit_price"),
}
# Pairs that say two different things about the same protection.
_CONTRADICTIONS = (
    ("trailing_stop_distance", "trailing_stop_percentage"),
    ("stop_price", "oco_stop_price"),
    ("stop_price", "oco_take_profit_price"),
    ("take_profit_price", "oco_stop_price"),
    ("take_profit_price", "oco_take_profit_price"),
)


def exits_of(levels: ExitLevels) -> list[ExitTerms]:
    """Every exit that the given fields ask for; each given field belongs to exactly one.

    Raises CONFLICTING_FIELDS for fields that contradict each other, MISSING_FIELD for half an OCO.
    """
    for first, second in _CONTRADICTIONS:
        if getattr(levels, first) is not None and getattr(levels, second) is not None:
            raise _conflict((first, second), "they say two different things; give one of them")
    exits = []
    for order_type, names in _EXIT_FIELDS.items():
        given = {name: getattr(levels, name) for name in names if getattr(levels, name) is not None}
        if not given:
            continue
        if order_type is OrderType.OCO and len(given) < len(names):
            raise _missing(OrderType.OCO, (name for name in names if name not in given))
        exits.append(ExitTerms(order_type=order_type, **given))
    return exits


def check_open_fields(terms: OpenTerms) -> list[ExitTerms]:
    """The exits an open request asks for; raises MISSING_FIELD or CONFLICTING_FIELDS by name."""
    if terms.order_type is OrderType.LIMIT:
        if terms.price is None:
            raise _missing(OrderType.LIMIT, ("price",))
        if terms.max_slippage is not None:
            raise _conflict(("max_slippage",), "a LIMIT fills at its price or better")
    elif terms.expires_at is not None:
        raise _conflict(("expires_at",), "only a resting LIMIT can expire")
    exits = exits_of(terms)
    _check_own_fields(terms.order_type, exits)
    return exits


def fingerprint(terms: OpenTerms | ExitTerms, trade_id: int | None = None) -> str:
    """A digest of everything a request asks for, of one trade where given: equal for the same request only."""
    parts = [f"trade_id={trade_id}"]
    parts += [f"{field.name}={_canonical(getattr(terms, field.name))}" for field in fields(terms)]
    return sha256("\n".join(parts).encode()).hexdigest()


def _canonical(value: object) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)


def single_exit(order_type: OrderType, levels: ExitLevels) -> ExitTerms:
    """The one exit of a type that the fields describe; raises when others are mixed in."""
    if order_type not in _EXIT_FIELDS:
        raise InvalidRequest(
            "Only STOP_LOSS, TAKE_PROFIT, TRAILING_STOP and OCO can be attached to a trade.", field="order_type"
        )
    exits = exits_of(levels)
    _check_own_fields(order_type, exits)
    strangers = [name for exit_terms in exits if exit_terms.order_type is not order_type for name in _given(exit_terms)]
    if strangers:
        raise _conflict(strangers, f"{order_type} does not use them")
    return exits[0]


def amended(current: ExitTerms, changes: ExitLevels) -> ExitTerms:
    """The exit with the given levels changed; a trailing stop may change between distance and percentage."""
    given = {name: getattr(changes, name) for name in _level_names() if getattr(changes, name) is not None}
    if not given:
        raise InvalidRequest("Name at least one level to change.", code="MISSING_FIELD", fields=list(_level_names()))
    if current.is_trailing and len(given) == 1:
        levels = ExitLevels(**given)
    else:
        levels = replace(ExitLevels(**_given(current)), **given)
    return single_exit(current.order_type, levels)


def _level_names() -> Iterable[str]:
    return (name for names in _EXIT_FIELDS.values() for name in names)


def _given(levels: ExitLevels) -> dict[str, Decimal]:
    return {name: getattr(levels, name) for name in _level_names() if getattr(levels, name) is not None}


def _check_own_fields(order_type: OrderType, exits: list[ExitTerms]) -> None:
    """A protective type needs its own exit among those given."""
    names = _EXIT_FIELDS.get(order_type)
    if names and not any(exit_terms.order_type is order_type for exit_terms in exits):
        raise _missing(order_type, names)


def _missing(order_type: OrderType, missing: Iterable[str]) -> InvalidRequest:
    names = list(missing)
    joined = " or ".join(names) if order_type is OrderType.TRAILING_STOP else " and ".join(names)
    return InvalidRequest(f"{order_type} needs {joined}.", code="MISSING_FIELD", fields=names)


def _conflict(clashing: Iterable[str], why: str) -> InvalidRequest:
    names = list(clashing)
    return InvalidRequest(f"{' and '.join(names)}: {why}.", code="CONFLICTING_FIELDS", fields=names)
