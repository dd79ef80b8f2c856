"""Every enumeration that is stored or answered; values are lower case except OrderType."""

from enum import IntEnum, StrEnum


class OrderType(StrEnum):
    """What an order asks for; the four protective types open now and attach that exit."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    TRAILING_STOP = "TRAILING_STOP"
    OCO = "OCO"


class OrderSide(StrEnum):
    """Which way an order trades."""

    BUY = "buy"
    SELL = "sell"


class PositionSide(StrEnum):
    """Which way a position profits."""

    LONG = "long"
    SHORT = "short"


class OrderRole(StrEnum):
    """What an order is to its trade: opens it, waits to close it at a price, or closes it by hand."""

    ENTRY = "entry"
    EXIT = "exit"
    CLOSE = "close"


class OrderStatus(StrEnum):
    """States of an order; the table of moves stands in lifecycle.py."""

    WAITING = "waiting"
    PENDING = "pending"
    TRIGGERED = "triggered"
    SUBMITTED = "submitted"
    UNKNOWN = "unknown"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    FAILED = "failed"


class TradeStatus(StrEnum):
    """States of a trade, from request to close."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    LIQUIDATED = "liquidated"
    CANCELLED = "cancelled"
    FAILED = "failed"


class IntentStatus(StrEnum):
    """States of one effect on a venue: written, sent, and how it ended."""

    NEW = "new"
    SENT = "sent"
    RESTING = "resting"
    DONE = "done"
    REJECTED = "rejected"


class IntentKind(StrEnum):
    """What an intent asks a venue to do."""

    OPEN = "open"
    CLOSE = "close"
    CANCEL = "cancel"


class TradingState(StrEnum):
    """What trading is allowed; the later the stricter."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class StateScope(StrEnum):
    """What a trading state is about: everything, a venue, a pair or a user."""

    GLOBAL = "global"
    VENUE = "venue"
    PAIR = "pair"
    USER = "user"


class SwitchScope(StrEnum):
    """What a dead man's switch cancels: resting entries, or exits too."""

    ENTRIES = "entries"
    ALL = "all"


class TriggerBy(StrEnum):
    """Which price series of the executing venue fires an exit."""

    MARK = "mark"
    LAST = "last"
    EXIT = "exit"


class TriggeredLeg(StrEnum):
    """Which level of an exit fired."""

    STOP = "stop"
    TAKE_PROFIT = "take_profit"
    TRAILING = "trailing"


class Category(StrEnum):
    """Asset classes; `code` is the seed's integer `asset_type`."""

    CRYPTO = "crypto"
    FOREX = "forex"
    COMMODITY = "commodity"
    INDEX = "index"
    STOCK = "stock"

    @property
    def code(self) -> int:
        """0 crypto, 1 forex, 2 commodity, 3 index, 4 stock."""
        return list(Category).index(self)


class AuthMethod(StrEnum):
    """How a user proved who they are."""

    EMAIL = "email"
    WALLET = "wallet"
    GOOGLE = "google"
    APPLE = "apple"
    PRIVY = "privy"
    DYNAMIC = "dynamic"


class WalletType(StrEnum):
    """Who holds the keys of a wallet."""

    EXTERNAL = "external"
    MPC = "mpc"


class FeatureAccessLevel(StrEnum):
    """What a user may do."""

    NONE = "none"
    READ = "read"
    TRADE = "trade"
    FULL = "full"

    @property
    def permissions(self) -> list[str]:
        """The permissions carried in an access token."""
        return {"trade": ["trade"], "full": ["trade", "deposit", "withdraw"]}.get(self.value, [])


class DepositStatus(StrEnum):
    """States of a deposit as its owner sees them."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class SwapStatus(StrEnum):
    """States of a token swap as its owner sees them."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class DeliveryStatus(StrEnum):
    """States of one webhook delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class PaperPositionStatus(StrEnum):
    """States of a position inside the paper venue."""

    OPEN = "open"
    CLOSED = "closed"
    LIQUIDATED = "liquidated"


class PaperOrderStatus(StrEnum):
    """States of an order inside the paper venue: RESTING waits for a price, WORKING for the next tick."""

    WORKING = "working"
    RESTING = "resting"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class ExitCode(IntEnum):
    """Exit codes of the console script."""

    OK = 0
    FAILED = 1
    USAGE = 2
    IN_USE = 3
