"""What a person can do about each error of the API, in terms of this script."""

from collections.abc import Mapping

from app.domain.money import USDC_STEP, plain

START_ENGINE = "An operator starts one: marqetfi engine"

_BY_CODE = {
    "UNAUTHORIZED": "Log in: marqetfi login",
    "INVALID_CREDENTIALS": "Check email and password; a new account is made by: marqetfi register",
    "TOKEN_EXPIRED": "Log in: marqetfi login",
    "REFRESH_TOKEN_REUSED": "Log in again: marqetfi login",
    "ALREADY_EXISTS": "Choose another one.",
    "FEATURE_NOT_ENABLED": "An administrator sets what an account may do.",
    "PAIR_NOT_FOUND": "marqetfi pairs lists them all.",
    "UNSUPPORTED_ASSET": "marqetfi pairs lists them all.",
    "AMBIGUOUS_ASSET": "Name the symbol, as marqetfi pairs lists it.",
    "TOO_MANY_DECIMALS": "marqetfi pairs shows the steps of prices and sizes.",
    "LEVERAGE_OUT_OF_RANGE": "marqetfi pairs shows the range of each pair.",
    "SIZE_BELOW_MINIMUM": "marqetfi pairs shows the least collateral of each pair.",
    "SIZE_ABOVE_MAXIMUM": "marqetfi pairs --json shows the most collateral of each pair.",
    "INSUFFICIENT_BALANCE": "marqetfi portfolio shows what is free; marqetfi paper reset starts over.",
    "STOP_WRONG_SIDE": "marqetfi prices get shows where the market is.",
    "TAKE_PROFIT_WRONG_SIDE": "marqetfi prices get shows where the market is.",
    "STOP_BEYOND_LIQUIDATION": "Lower leverage moves the liquidation away; marqetfi trade open --preview shows it.",
    "TRADE_NOT_FOUND": "marqetfi trade list shows them all, closed ones too.",
    "NOT_FOUND": "marqetfi orders and marqetfi trade list show what is yours.",
    "TRADE_CLOSING": "marqetfi trade show tells when it has closed.",
    "PRICE_STALE": "marqetfi prices watch --once shows which pairs have a price; a replay has only what was recorded.",
    "PROVIDER_TIMEOUT": "It may still happen: marqetfi order show tells, do not send it again.",
    "ENGINE_UNAVAILABLE": START_ENGINE,
    "SERVICE_UNAVAILABLE": "Try again in a moment; marqetfi doctor checks an installation.",
}


def hint_for(code: str, details: Mapping[str, object], *, retry_after: str | None, request_id: object) -> str | None:
    """One sentence for a person; None where the message says it all."""
    near = details.get("near")
    if isinstance(near, list) and near:
        return f"Did you mean {', '.join(map(str, near))}?"
    if code == "RATE_LIMITED" and retry_after:
        return f"Try again in {retry_after} s."
    if code == "INTERNAL_ERROR":
        return f"Tell the operator this request id: {request_id}"
    if code == "TRADE_EXECUTION_FAILED":
        code = str(details.get("reason"))
    return _by_details(code, details) or _BY_CODE.get(code)


def _by_details(code: str, details: Mapping[str, object]) -> str | None:
    """What to do where the details of an error say more than its code."""
    wrong = details.get("errors")
    if isinstance(wrong, list) and any(one.get("code") == "event_type_unknown" for one in wrong):
        return "marqetfi webhooks types lists them all."
    told = [sentence for (of, name, value), sentence in _BY_VALUE.items() if of == code and details.get(name) == value]
    told += [sentence for (of, name), sentence in _BY_DETAIL.items() if of == code and name in details]
    return told[0].format_map(details) if told else None


# By the code of an error, and the value of one of its details.
_BY_VALUE = {
    ("LIMIT_EXCEEDED", "limit", "webhooks"): "marqetfi webhooks delete makes room.",
    ("TOO_MANY_DECIMALS", "field", "collateral"): f"Collateral has a step of {plain(USDC_STEP)} USDC, at every pair.",
}
# By the code of an error, and the name of one of its details.
_BY_DETAIL = {
    ("NOT_FOUND", "webhook_id"): "marqetfi webhooks list shows yours.",
    ("NOT_FOUND", "delivery_id"): "marqetfi webhooks deliveries lists those that are still kept.",
    ("CONFLICT", "webhook_id"): "Switch it on: marqetfi webhooks update {webhook_id} --on",
    ("ALREADY_EXISTS", "fields"): "Choose another one, or log in with it: marqetfi login",
    ("ALREADY_EXISTS", "order_id"): "marqetfi order show {order_id} shows it; choose another --client-order-id.",
    ("SIZE_BELOW_MINIMUM", "size_step"): "Give more: marqetfi pairs shows the size step of each pair.",
}
