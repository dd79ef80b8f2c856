"""All tables, named here so that migrations see them."""

from app.models.analytics import AnalyticsProgress, DailyAnalytics
from app.models.app_configuration import AppConfiguration
from app.models.auth import OAuthConnection, Session, WalletConnection
from app.models.base import Base
from app.models.control import DeadManSwitch, TradingStateChange, TradingStateRow
from app.models.deposit import Deposit, TokenSwap
from app.models.event import Event, EventCounter, IdempotencyRecord
from app.models.market import (
    AccountPair,
    Candle,
    FeedState,
    Lease,
    Pair,
    PriceCheckpoint,
    VenueAccount,
    WatermarkRow,
)
from app.models.paper import (
    PaperAccount,
    PaperFill,
    PaperFunding,
    PaperFundingMark,
    PaperLedgerEntry,
    PaperOrder,
    PaperPosition,
)
from app.models.provider import ProviderConfiguration
from app.models.trading import Fill, FundingPayment, Intent, Order, Position, Trade
from app.models.user import User
from app.models.wallet import Wallet
from app.models.webhook import WebhookAttempt, WebhookConfiguration, WebhookDelivery

__all__ = [
    "AccountPair",
    "AnalyticsProgress",
    "AppConfiguration",
    "Base",
    "Candle",
    "DailyAnalytics",
    "DeadManSwitch",
    "Deposit",
    "Event",
    "EventCounter",
    "FeedState",
    "Fill",
    "FundingPayment",
    "IdempotencyRecord",
    "Intent",
    "Lease",
    "OAuthConnection",
    "Order",
    "Pair",
    "PaperAccount",
    "PaperFill",
    "PaperFunding",
    "PaperFundingMark",
    "PaperLedgerEntry",
    "PaperOrder",
    "PaperPosition",
    "Position",
    "PriceCheckpoint",
    "ProviderConfiguration",
    "Session",
    "TokenSwap",
    "Trade",
    "TradingStateChange",
    "TradingStateRow",
    "User",
    "VenueAccount",
    "Wallet",
    "WalletConnection",
    "WatermarkRow",
    "WebhookAttempt",
    "WebhookConfiguration",
    "WebhookDelivery",
]
