"""What a person can do about each error of the API, in terms of this script."""

from collections.abc import Mapping

_BY_CODE = {
    "UNAUTHORIZED": "Log in: marqetfi login",
    "INVALID_CREDENTIALS": "Check email and password; a new account is made by: marqetfi register",
    "TOKEN_EXPIRED": "Log in: marqetfi login",
    "REFRESH_TOKEN_REUSED": "Log in again: marqetfi login",
    "ALREADY_EXISTS": "Choose another one, or log in with it: marqetfi login",
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
    "ENGINE_UNAVAILABLE": "An operator starts one: marqetfi engine",
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
    return _about_webhooks(code, details) or _BY_CODE.get(code)


def _about_webhooks(code: str, details: Mapping[str, object]) -> str | None:
    """What to do where the details of an error name a webhook, or what one is made of."""
    wrong = details.get("errors")
    if isinstance(wrong, list) and any(one.get("code") == "event_type_unknown" for one in wrong):
        return "marqetfi webhooks types lists them all."
    if code == "LIMIT_EXCEEDED" and details.get("limit") == "webhooks":
        return "marqetfi webhooks delete makes room."
    if code == "CONFLICT" and "webhook_id" in details:
        return f"Switch it on: marqetfi webhooks update {details['webhook_id']} --on"
    if code == "NOT_FOUND":
        named = (sentence for name, sentence in _BY_ID.items() if name in details)
        return next(named, None)
    return None


_BY_ID = {
    "webhook_id": "marqetfi webhooks list shows yours.",
    "delivery_id": "marqetfi webhooks deliveries lists those that are still kept.",
}
