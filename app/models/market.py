"""Pairs, candles, and what the order engine keeps of each pair: leases, checkpoints, watermarks."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import Category, PositionSide, TriggerBy
from app.models.base import Base, Id, Instant, Money, StoredEnum, Timestamped, enum_check, positive_check


class Pair(Base, Timestamped):
    """What can be traded where; `symbol` is base + quote as the venue lists it (BTCUSDT).

    Steps are in quote (price) and base (size) units; rates are fractions (0.0005 = 5 basis points).
    """

    __tablename__ = "pairs"

    id: Mapped[Id]
    venue: Mapped[str] = mapped_column(String(16))
    venue_pair_id: Mapped[str] = mapped_column(String(64))
    symbol: Mapped[str] = mapped_column(String(32))
    base: Mapped[str] = mapped_column(String(16))
    quote: Mapped[str] = mapped_column(String(16))
    aliases: Mapped[list[str]] = mapped_column(ARRAY(String(32)), server_default="{}")
    category: Mapped[Category] = mapped_column(StoredEnum(Category))
    price_step: Mapped[Money]
    size_step: Mapped[Money]
    min_leverage: Mapped[int]
    max_leverage: Mapped[int]
    min_collateral: Mapped[Money]
    max_collateral: Mapped[Money]
    taker_fee_rate: Mapped[Money]
    maintenance_margin_rate: Mapped[Money]
    price_protect_limit: Mapped[Money] = mapped_column(server_default="0.05")
    market_hours: Mapped[str] = mapped_column(String(32))
    is_active: Mapped[bool] = mapped_column(server_default=true())

    __table_args__ = (
        UniqueConstraint("venue", "symbol"),
        enum_check("category", Category),
        positive_check("price_step"),
        positive_check("size_step"),
        positive_check("min_collateral"),
        positive_check("max_collateral"),
        CheckConstraint("taker_fee_rate >= 0 AND taker_fee_rate < 1", name="taker_fee_rate_range"),
        CheckConstraint("maintenance_margin_rate >= 0 AND maintenance_margin_rate < 1", name="maintenance_rate_range"),
        CheckConstraint("price_protect_limit > 0 AND price_protect_limit < 1", name="price_protect_limit_range"),
        CheckConstraint("0 < min_leverage AND min_leverage <= max_leverage", name="leverage_range"),
    )


class Candle(Base):
    """One minute of a pair's mark price; `last_sequence` keeps a replayed tick from counting twice."""

    __tablename__ = "candles"

    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"), primary_key=True)
    opened_at: Mapped[Instant] = mapped_column(primary_key=True)
    open: Mapped[Money]
    high: Mapped[Money]
    low: Mapped[Money]
    close: Mapped[Money]
    ticks: Mapped[int]
    last_sequence: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = tuple(positive_check(column) for column in ("open", "high", "low", "close"))


class Lease(Base):
    """Who watches something; `token` grows with each holder and fences the writes of earlier ones."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str | None] = mapped_column(String(64))
    token: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[Instant]


class PriceCheckpoint(Base):
    """The last tick of a pair that the order engine has judged and made durable, with its quote."""

    __tablename__ = "price_checkpoints"

    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    token: Mapped[int] = mapped_column(BigInteger)
    bid: Mapped[Money]
    ask: Mapped[Money]
    tick_at: Mapped[Instant]


class WatermarkRow(Base):
    """The extreme of the ticks from `from_sequence` to the next row, shared by all trailing stops armed there."""

    __tablename__ = "watermarks"

    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"), primary_key=True)
    trigger_by: Mapped[TriggerBy] = mapped_column(StoredEnum(TriggerBy), primary_key=True)
    price_protect: Mapped[bool] = mapped_column(primary_key=True)
    side: Mapped[PositionSide] = mapped_column(StoredEnum(PositionSide), primary_key=True)
    from_sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    extreme: Mapped[Money]

    __table_args__ = (
        enum_check("trigger_by", TriggerBy),
        enum_check("side", PositionSide),
        positive_check("extreme"),
    )


class FeedState(Base):
    """Where a price feed's own numbering starts: a tick's sequence is `base` + the feed's own number.

    `identity` names the feed (kind, files, speed-independent); another identity starts from the highest sequence
    known. `started_at` is the time that the feed's first row was re-based to.
    """

    __tablename__ = "feed_states"

    venue: Mapped[str] = mapped_column(String(16), primary_key=True)
    identity: Mapped[str] = mapped_column(String(80))
    base: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[Instant]


class VenueAccount(Base, Timestamped):
    """A user's account at a venue; `external_id` is what the venue calls it."""

    __tablename__ = "venue_accounts"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    venue: Mapped[str] = mapped_column(String(16))
    external_id: Mapped[str | None] = mapped_column(String(80))
    is_active: Mapped[bool] = mapped_column(server_default=true())

    __table_args__ = (UniqueConstraint("user_id", "venue"), Index("ix_venue_accounts_external", "venue", "external_id"))


class AccountPair(Base):
    """One venue account on one pair: the row that is locked to open, and the counter of its trades."""

    __tablename__ = "account_pairs"

    venue_account_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("venue_accounts.id"), primary_key=True)
    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"), primary_key=True)
    next_trade_index: Mapped[int] = mapped_column(server_default="0")
