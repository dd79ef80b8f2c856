"""What a user may ask for when opening a trade or attaching an exit, and which fields each order type needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
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
    activation_price: Decimal | None = None
    oco_stop_price: Decimal | None = None
    oco_take_profit_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRequest(ExitLevels):
    """Levels of exits, and the price series that all of them watch; `price_protect` has it guarded."""

    trigger_by: TriggerBy = TriggerBy.MARK
    price_protect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitChanges(ExitLevels):
    """What an amendment changes of an exit; what is None stays. `removes_activation` lets it trail at once."""

    trigger_by: TriggerBy | None = None
    price_protect: bool | None = None
    removes_activation: bool = False

    @property
    def names_activation(self) -> bool:
        """Whether the activation is to be another."""
        return self.removes_activation or self.activation_price is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitTerms(ExitRequest):
    """One exit order: its type and only the levels that belong to it."""

    order_type: OrderType

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
class OpenTerms(ExitRequest):
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
    OrderType.TRAILING_STOP: ("trailing_stop_distance", "trailing_stop_percentage", "activation_price"),
    OrderType.OCO: ("oco_stop_price", "oco_take_profit_price"),
}
# How any exit watches the price.
_WATCHING = ("trigger_by", "price_protect")
_OFFSETS = ("trailing_stop_distance", "trailing_stop_percentage")
# Pairs that say two different things about the same protection.
_CONTRADICTIONS = (
    ("trailing_stop_distance", "trailing_stop_percentage"),
    ("stop_price", "oco_stop_price"),
    ("stop_price", "oco_take_profit_price"),
    ("take_profit_price", "oco_stop_price"),
    ("take_profit_price", "oco_take_profit_price"),
)


def exits_of(asked: ExitRequest) -> list[ExitTerms]:
    """Every exit that the given fields ask for; each given field belongs to exactly one.

    Raises CONFLICTING_FIELDS for fields that contradict each other or belong to no exit, MISSING_FIELD for half an
    OCO.
    """
    for first, second in _CONTRADICTIONS:
        if getattr(asked, first) is not None and getattr(asked, second) is not None:
            raise _conflict((first, second), "they say two different things; give one of them")
    given = _given(asked)
    exits = []
    for order_type, names in _EXIT_FIELDS.items():
        own = {name: given[name] for name in names if name in given}
        if own:
            _check_complete(order_type, own)
            exits.append(
                ExitTerms(order_type=order_type, trigger_by=asked.trigger_by, price_protect=asked.price_protect, **own)
            )
    _check_watched(asked, exits)
    return exits


def _check_complete(order_type: OrderType, own: Mapping[str, Decimal]) -> None:
    """An OCO needs both of its levels, an activation the trailing stop that begins there."""
    if order_type is OrderType.OCO and len(own) < len(_EXIT_FIELDS[order_type]):
        raise _missing(order_type, (name for name in _EXIT_FIELDS[order_type] if name not in own))
    if order_type is OrderType.TRAILING_STOP and not own.keys() & set(_OFFSETS):
        raise _conflict(("activation_price",), "it is where a trailing stop begins, and no trailing stop is asked for")


def _check_watched(asked: ExitRequest, exits: list[ExitTerms]) -> None:
    """What says how exits watch the price needs an exit."""
    idle = [name for name in _WATCHING if getattr(asked, name) != getattr(ExitRequest(), name)]
    if idle and not exits:
        says = "it says" if len(idle) == 1 else "they say"
        raise _conflict(idle, f"{says} how exits watch the price, and no exit is asked for")


def check_open_fields(terms: OpenTerms) -> list[ExitTerms]:
    """The exits an open request asks for; raises MISSING_FIELD or CONFLICTING_FIELDS by name."""
    if terms.order_type is OrderType.LIMIT:
        if terms.price is None:
            raise _missing(OrderType.LIMIT, ("price",))
        if terms.max_slippage is not None:
            raise _conflict(("max_slippage",), "a LIMIT fills at its price or better")
    elif terms.expires_at is not None:
        raise _conflict(("expires_at",), "only a resting LIMIT can expire")
    _check_own_fields(terms.order_type, terms)
    exits = exits_of(terms)
    if terms.order_type is not OrderType.LIMIT and terms.price is not None and terms.max_slippage is None:
        # Ignored, it would fill at any price what was meant to wait for this one.
        raise _conflict(
            ("price",),
            "it is the limit of a LIMIT order; say order_type LIMIT, or max_slippage to guard a market order",
        )
    return exits


def fingerprint(terms: OpenTerms | ExitTerms, trade_id: int | None = None) -> str:
    """A digest of everything a request asks for, of one trade where given: equal for the same request only."""
    parts = [f"trade_id={trade_id}"]
    parts += [f"{field.name}={_canonical(getattr(terms, field.name))}" for field in fields(terms)]
    return sha256("\n".join(parts).encode()).hexdigest()


def _canonical(value: object) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)


def single_exit(order_type: OrderType, asked: ExitRequest) -> ExitTerms:
    """The one exit of a type that the fields describe; raises when others are mixed in."""
    if order_type not in _EXIT_FIELDS:
        raise InvalidRequest(
            "Only STOP_LOSS, TAKE_PROFIT, TRAILING_STOP and OCO can be attached to a trade.", field="order_type"
        )
    _check_own_fields(order_type, asked)
    exits = exits_of(asked)
    strangers = [name for exit_terms in exits if exit_terms.order_type is not order_type for name in _given(exit_terms)]
    if strangers:
        raise _conflict(strangers, f"{order_type} does not use {'it' if len(strangers) == 1 else 'them'}")
    return exits[0]


def amended(current: ExitTerms, changes: ExitChanges) -> ExitTerms:
    """The exit with the given terms changed; a trailing stop may change between distance and percentage."""
    given = _given(changes)
    if not given and changes == ExitChanges():
        names = [*_EXIT_FIELDS[current.order_type], *_WATCHING]
        sentence = f"Name at least one term to change; {current.order_type} has {', '.join(names)}."
        raise InvalidRequest(sentence, code="MISSING_FIELD", fields=names)
    kept = _given(current)
    if given.keys() & set(_OFFSETS):
        kept = {name: value for name, value in kept.items() if name not in _OFFSETS}
    if changes.removes_activation:
        if not current.is_trailing:
            raise _conflict(("activation_price",), f"{current.order_type} does not use it")
        kept.pop("activation_price", None)
    asked = ExitRequest(
        trigger_by=changes.trigger_by or current.trigger_by,
        price_protect=current.price_protect if changes.price_protect is None else changes.price_protect,
        **(kept | given),
    )
    return single_exit(current.order_type, asked)


def _level_names() -> Iterable[str]:
    return (name for names in _EXIT_FIELDS.values() for name in names)


def _given(levels: ExitLevels) -> dict[str, Decimal]:
    return {name: getattr(levels, name) for name in _level_names() if getattr(levels, name) is not None}


def _check_own_fields(order_type: OrderType, asked: ExitLevels) -> None:
    """A protective type needs a level of its own among those given."""
    names = [name for name in _EXIT_FIELDS.get(order_type, ()) if name != "activation_price"]
    if names and all(getattr(asked, name) is None for name in names):
        raise _missing(order_type, names)


def _missing(order_type: OrderType, missing: Iterable[str]) -> InvalidRequest:
    names = list(missing)
    joined = " or ".join(names) if order_type is OrderType.TRAILING_STOP else " and ".join(names)
    return InvalidRequest(f"{order_type} needs {joined}.", code="MISSING_FIELD", fields=names)


def _conflict(clashing: Iterable[str], why: str) -> InvalidRequest:
    names = list(clashing)
    return InvalidRequest(f"{' and '.join(names)}: {why}.", code="CONFLICTING_FIELDS", fields=names)
