"""Every error that a caller can meet, each with its HTTP status and stable code.

MarqetError
├── InvalidRequest 400        wrong input of any kind: VALIDATION_ERROR, MISSING_FIELD, CONFLICTING_FIELDS ...
├── Unauthorized 401          UNAUTHORIZED, TOKEN_EXPIRED, INVALID_CREDENTIALS
├── Forbidden 403             FORBIDDEN, FEATURE_NOT_ENABLED, USER_INACTIVE
├── NotFound 404              NOT_FOUND, PAIR_NOT_FOUND, TRADE_NOT_FOUND (another user's object too)
├── Conflict 409              CONFLICT, ALREADY_EXISTS, TRADE_CLOSING, MARKET_CLOSED, IDEMPOTENCY_IN_FLIGHT ...
├── IdempotencyKeyReused 422
├── RateLimited 429
├── InternalError 500
├── ProviderError 502         PROVIDER_ERROR, TRADE_EXECUTION_FAILED
├── Unavailable 503           SERVICE_UNAVAILABLE, PRICE_STALE, TRADING_HALTED, PROVIDER_UNAVAILABLE ...
└── ProviderTimeout 504       the outcome is unknown, never "failed"

CATALOGUE at the end lists every code once; docs/errors.md is written from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row of the catalogue: stable code, HTTP status, what it means and what to do."""

    code: str
    status: int
    meaning: str


CATALOGUE: dict[str, ErrorCode] = {
    row.code: row
    for row in (
        ErrorCode("VALIDATION_ERROR", 400, "A field has a wrong type or value; details.errors names each one."),
        ErrorCode("INVALID_JSON", 400, "The body is not strict JSON: UTF-8, no NaN, no duplicate keys, not too deep."),
        ErrorCode("IDEMPOTENCY_KEY_INVALID", 400, "Send one Idempotency-Key of 1 to 255 printable ASCII characters."),
        ErrorCode("MISSING_FIELD", 400, "This order type needs a field that is absent; details.fields names it."),
        ErrorCode("CONFLICTING_FIELDS", 400, "Fields contradict each other or the order type; details names them."),
        ErrorCode("UNSUPPORTED_ASSET", 400, "No pair trades this asset; GET /trading/pairs lists those there are."),
        ErrorCode("AMBIGUOUS_ASSET", 400, "The asset has several pairs at its venue; name the symbol."),
        ErrorCode("TOO_MANY_DECIMALS", 400, "The value is finer than the step allows; it is never rounded silently."),
        ErrorCode("SIZE_BELOW_MINIMUM", 400, "Collateral or size is below the pair's minimum."),
        ErrorCode("SIZE_ABOVE_MAXIMUM", 400, "Collateral or size is above the pair's maximum."),
        ErrorCode("LEVERAGE_OUT_OF_RANGE", 400, "Leverage is outside the pair's range; details has min and max."),
        ErrorCode(
            "STOP_WRONG_SIDE", 400, "The stop would fire at once: below the price for a long, above for a short."
        ),
        ErrorCode(
            "TAKE_PROFIT_WRONG_SIDE", 400, "The take-profit would fire at once: above for a long, below for short."
        ),
        ErrorCode(
            "ACTIVATION_WRONG_SIDE", 400, "The trailing stop would begin at once: above for a long, below for short."
        ),
        ErrorCode(
            "TRIGGER_PRICE_UNKNOWN", 400, "The market tells no price of the series that trigger_by names; use mark."
        ),
        ErrorCode("STOP_BEYOND_LIQUIDATION", 400, "The position would be liquidated before this stop is reached."),
        ErrorCode("INSUFFICIENT_BALANCE", 400, "Free balance does not cover collateral and fee; details has both."),
        ErrorCode("WEBHOOK_URL_REFUSED", 400, "No webhook may have this URL; the message says why."),
        ErrorCode("EXPIRED_REQUEST", 400, "valid_until or expires_at has passed."),
        ErrorCode("SLIPPAGE_EXCEEDED", 400, "The market moved further than max_slippage allows; nothing was traded."),
        ErrorCode("UNKNOWN_TYPE", 400, "WebSocket: the message has a type that does not exist."),
        ErrorCode("UNKNOWN_CHANNEL", 400, "WebSocket: the channel does not exist; details.channels lists them."),
        ErrorCode("UNAUTHORIZED", 401, "A valid access token is needed."),
        ErrorCode("TOKEN_EXPIRED", 401, "The access token has expired; use the refresh token."),
        ErrorCode("TOKEN_EXPIRING", 401, "WebSocket: the token ends soon; send auth with a newer one to stay."),
        ErrorCode("INVALID_CREDENTIALS", 401, "Email or password is wrong."),
        ErrorCode("REFRESH_TOKEN_REUSED", 401, "A spent refresh token came back; its sessions were ended."),
        ErrorCode("FORBIDDEN", 403, "This account may not do that."),
        ErrorCode("FEATURE_NOT_ENABLED", 403, "The account's feature access level does not include this."),
        ErrorCode("NOT_FOUND", 404, "No such object, or it belongs to someone else."),
        ErrorCode("PAIR_NOT_FOUND", 404, "No such pair; GET /trading/pairs lists those there are."),
        ErrorCode("TRADE_NOT_FOUND", 404, "No such open trade; GET /trading/trades lists all, ended ones too."),
        ErrorCode("UNKNOWN_ID", 404, "WebSocket: not among the user's trades; details.trade_ids names them."),
        ErrorCode("METHOD_NOT_ALLOWED", 405, "The path exists, the method does not; see the Allow header."),
        ErrorCode("CONFLICT", 409, "The object is not in a state that allows this."),
        ErrorCode("ALREADY_EXISTS", 409, "The email, username or client_order_id is taken."),
        ErrorCode("TRADE_CLOSING", 409, "The trade is being closed already."),
        ErrorCode("MARKET_CLOSED", 409, "The market is closed; details.next_open tells when it opens."),
        ErrorCode("POSITION_CONFLICT", 409, "The venue nets positions and holds the opposite side of this pair."),
        ErrorCode("LEVERAGE_CONFLICT", 409, "The venue nets positions and holds this pair at another leverage."),
        ErrorCode("LIMIT_EXCEEDED", 409, "A cap of this account is reached; details has its name (limit) and its max."),
        ErrorCode(
            "IDEMPOTENCY_IN_FLIGHT",
            409,
            "The first request with this key is still running; repeat it after Retry-After.",
        ),
        ErrorCode("REFRESH_IN_PROGRESS", 409, "This refresh token was just exchanged; use the newer one."),
        ErrorCode("PAYLOAD_TOO_LARGE", 413, "The body is larger than allowed."),
        ErrorCode("UNSUPPORTED_MEDIA_TYPE", 415, "Send Content-Type: application/json."),
        ErrorCode("IDEMPOTENCY_KEY_REUSED", 422, "The key was used with another request."),
        ErrorCode("RATE_LIMITED", 429, "Too many requests; wait for Retry-After seconds."),
        ErrorCode("INTERNAL_ERROR", 500, "A fault of ours; quote the request_id."),
        ErrorCode("PROVIDER_ERROR", 502, "The venue answered something unusable."),
        ErrorCode(
            "TRADE_EXECUTION_FAILED",
            502,
            "The venue refused the order, which has ended; details.reason says why. A new try needs a new key.",
        ),
        ErrorCode("SERVICE_UNAVAILABLE", 503, "A part of the service is down or full; try again after Retry-After."),
        ErrorCode("PRICE_STALE", 503, "The last price is too old to trade on."),
        ErrorCode("TRADING_HALTED", 503, "Trading is halted or reduced for this user, pair, venue or globally."),
        ErrorCode("PROVIDER_UNAVAILABLE", 503, "The venue cannot be reached."),
        ErrorCode(
            "ENGINE_UNAVAILABLE",
            503,
            "No order engine watches the venue: nothing new is opened; closes and cancels go on.",
        ),
        ErrorCode(
            "PROVIDER_TIMEOUT", 504, "The venue did not answer in time; its outcome is unknown, watch the order."
        ),
    )
}

# JSON can hold these; Decimal is written with its exact digits.
type Detail = object


class MarqetError(Exception):
    """Base of all named errors: `code` is stable, `message` is for people, `details` for programs."""

    default_code = "INTERNAL_ERROR"

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        retry_after: int | None = None,
        **details: Detail,
    ) -> None:
        """Take the catalogue's sentence where no better one is given."""
        self.code = code or self.default_code
        row = CATALOGUE[self.code]
        self.status = row.status
        self.message = message or row.meaning
        self.details: Mapping[str, Detail] = details
        self.retry_after = retry_after
        super().__init__(self.message)


class InvalidRequest(MarqetError):
    """400: the request as it stands can never work."""

    default_code = "VALIDATION_ERROR"


class Unauthorized(MarqetError):
    """401: who is asking is not known."""

    default_code = "UNAUTHORIZED"


class Forbidden(MarqetError):
    """403: who is asking is known, and may not."""

    default_code = "FORBIDDEN"


class NotFound(MarqetError):
    """404: absent, or another user's."""

    default_code = "NOT_FOUND"


class Conflict(MarqetError):
    """409: the state of things does not allow it now."""

    default_code = "CONFLICT"


class IdempotencyKeyReused(MarqetError):
    """422: the same key with another request."""

    default_code = "IDEMPOTENCY_KEY_REUSED"


class RateLimited(MarqetError):
    """429: too many requests."""

    default_code = "RATE_LIMITED"


class InternalError(MarqetError):
    """500: a fault of ours."""


class ProviderError(MarqetError):
    """502: a venue answered no, or nonsense."""

    default_code = "PROVIDER_ERROR"


class Unavailable(MarqetError):
    """503: a part we need is down, stale, full or halted."""

    default_code = "SERVICE_UNAVAILABLE"


class ProviderTimeout(MarqetError):
    """504: sent, and the outcome is unknown."""

    default_code = "PROVIDER_TIMEOUT"


class InvalidTransition(Exception):
    """A lifecycle was asked for a move that its table does not have: a programming error."""
