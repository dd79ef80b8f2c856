"""Orders, trades, positions, fills, and the intents that carry them to a venue."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import (
    IntentKind,
    IntentStatus,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    TradeStatus,
    TriggerBy,
    TriggeredLeg,
)
from app.models.base import (
    Base,
    CreatedAt,
    Id,
    Instant,
    Money,
    StoredEnum,
    Timestamped,
    amount_check,
    enum_check,
    finite_check,
    positive_check,
)

# The conditions of partial indexes; queries repeat them to the letter.
LIVE_TRADES = "status IN ('pending', 'submitted', 'open', 'closing')"
WATCHED_EXITS = "role = 'exit' AND status = 'pending'"
LIVE_ENTRIES = (
    "role = 'entry' AND status IN "
    "('pending', 'partially_filled', 'submitted', 'unknown', 'pending_cancel', 'pending_replace')"
)


class Trade(Base, Timestamped):
    """One position's life as its user sees it; `size` is what is open now, in base units of the asset.

    `pnl`, `fees` and `funding` (negative where it was paid) are realised USDC; `trade_index` counts up per (user, pair)
    and is never reused.
    """

    __tablename__ = "trades"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    venue_account_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("venue_accounts.id"), index=True)
    provider: Mapped[str] = mapped_column(String(16))
    asset: Mapped[str] = mapped_column(String(16))
    asset_type: Mapped[int] = mapped_column(SmallInteger)
    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"))
    trade_index: Mapped[int]
    venue_trade_index: Mapped[str | None] = mapped_column(String(64))
    direction: Mapped[bool]
    collateral: Mapped[Money]
    leverage: Mapped[int]
    entry_price: Mapped[Money | None]
    current_price: Mapped[Money | None]
    exit_price: Mapped[Money | None]
    size: Mapped[Money]
    pnl: Mapped[Money | None]
    fees: Mapped[Money] = mapped_column(server_default="0")
    funding: Mapped[Money] = mapped_column(server_default="0")
    status: Mapped[TradeStatus] = mapped_column(StoredEnum(TradeStatus))
    close_reason: Mapped[str | None] = mapped_column(String(32))
    transaction_hash: Mapped[str | None] = mapped_column(String(80))
    opened_at: Mapped[Instant | None]
    closed_at: Mapped[Instant | None]

    __table_args__ = (
        enum_check("status", TradeStatus),
        UniqueConstraint("user_id", "pair_id", "trade_index"),
        Index("ix_trades_user_id_id", "user_id", "id"),
        Index("ix_trades_user_id_status_id", "user_id", "status", "id"),
        Index("ix_trades_user_id_opened_at", "user_id", "opened_at", postgresql_where=text("opened_at IS NOT NULL")),
        Index("ix_trades_user_id_closed_at", "user_id", "closed_at", postgresql_where=text("closed_at IS NOT NULL")),
        Index("ix_trades_pair_id_open", "pair_id", postgresql_where=text("status IN ('open', 'closing')")),
        Index("ix_trades_venue_account_id_live", "venue_account_id", "pair_id", postgresql_where=text(LIVE_TRADES)),
        positive_check("collateral"),
        CheckConstraint("leverage > 0", name="leverage_positive"),
        positive_check("entry_price"),
        positive_check("current_price"),
        positive_check("exit_price"),
        amount_check("size"),
        finite_check("pnl"),
        amount_check("fees"),
        finite_check("funding"),
    )

    @property
    def side(self) -> PositionSide:
        """long where `direction` is true."""
        return PositionSide.LONG if self.direction else PositionSide.SHORT


class Order(Base, Timestamped):
    """An entry, an exit that waits for a price, or a close by hand.

    `quantity` is in base units of the asset. For a trailing stop, `stop_price` is empty until it fires and then
    holds the final stop; the live one follows from the pair's watermark rows. `version` grows with each change of
    terms: a claim names the version it saw, so an amend in between wins.
    """

    __tablename__ = "orders"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    trade_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("trades.id"), index=True)
    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"))
    client_order_id: Mapped[str | None] = mapped_column(String(64))
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    provider: Mapped[str] = mapped_column(String(16))
    asset: Mapped[str] = mapped_column(String(16))
    role: Mapped[OrderRole] = mapped_column(StoredEnum(OrderRole))
    order_type: Mapped[OrderType] = mapped_column(StoredEnum(OrderType))
    side: Mapped[OrderSide] = mapped_column(StoredEnum(OrderSide))
    reduce_only: Mapped[bool] = mapped_column(server_default="false")
    quantity: Mapped[Money]
    filled_quantity: Mapped[Money] = mapped_column(server_default="0")
    average_price: Mapped[Money | None]
    fee: Mapped[Money] = mapped_column(server_default="0")
    price: Mapped[Money | None]
    max_slippage: Mapped[Money | None]
    stop_price: Mapped[Money | None]
    take_profit_price: Mapped[Money | None]
    trailing_stop_distance: Mapped[Money | None]
    trailing_stop_percentage: Mapped[Money | None]
    activation_price: Mapped[Money | None]
    oco_stop_price: Mapped[Money | None]
    oco_take_profit_price: Mapped[Money | None]
    trigger_by: Mapped[TriggerBy] = mapped_column(StoredEnum(TriggerBy), server_default=TriggerBy.MARK.value)
    price_protect: Mapped[bool] = mapped_column(server_default="false")
    status: Mapped[OrderStatus] = mapped_column(StoredEnum(OrderStatus))
    reason: Mapped[str | None] = mapped_column(String(64))
    refusal_details: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
    version: Mapped[int] = mapped_column(server_default="0")
    attempt: Mapped[int] = mapped_column(server_default="0")
    armed_sequence: Mapped[int | None] = mapped_column(BigInteger)
    armed_price: Mapped[Money | None]
    activated_sequence: Mapped[int | None] = mapped_column(BigInteger)
    latched_sequence: Mapped[int | None] = mapped_column(BigInteger)
    released_sequence: Mapped[int | None] = mapped_column(BigInteger)
    held_since: Mapped[Instant | None]
    triggered_leg: Mapped[TriggeredLeg | None] = mapped_column(StoredEnum(TriggeredLeg))
    trigger_price: Mapped[Money | None]
    trigger_source: Mapped[str | None] = mapped_column(String(24))
    trigger_sequence: Mapped[int | None] = mapped_column(BigInteger)
    watermark: Mapped[Money | None]
    triggered_at: Mapped[Instant | None]
    transaction_hash: Mapped[str | None] = mapped_column(String(80))
    expires_at: Mapped[Instant | None]
    valid_until: Mapped[Instant | None]
    unknown_since: Mapped[Instant | None]
    needs_review: Mapped[bool] = mapped_column(server_default="false")
    next_run_at: Mapped[Instant | None]

    __table_args__ = (
        enum_check("role", OrderRole),
        enum_check("order_type", OrderType),
        enum_check("side", OrderSide),
        enum_check("status", OrderStatus),
        enum_check("trigger_by", TriggerBy),
        enum_check("triggered_leg", TriggeredLeg),
        UniqueConstraint("user_id", "client_order_id"),
        Index("ix_orders_user_id_id", "user_id", "id"),
        Index("ix_orders_user_id_status_id", "user_id", "status", "id"),
        Index("ix_orders_pair_id_watched", "pair_id", postgresql_where=text(WATCHED_EXITS)),
        Index("ix_orders_user_id_watched", "user_id", "id", postgresql_where=text(WATCHED_EXITS)),
        Index(
            "ix_orders_expires_at",
            "expires_at",
            postgresql_where=text("status IN ('pending', 'partially_filled')"),
        ),
        Index("ix_orders_user_id_live_entries", "user_id", "id", postgresql_where=text(LIVE_ENTRIES)),
        Index("ix_orders_id_held", "id", postgresql_where=text("held_since IS NOT NULL")),
        positive_check("quantity"),
        amount_check("filled_quantity"),
        CheckConstraint("filled_quantity <= quantity", name="not_overfilled"),
        amount_check("fee"),
        *(
            positive_check(column)
            for column in (
                "average_price",
                "price",
                "stop_price",
                "take_profit_price",
                "trailing_stop_distance",
                "activation_price",
                "oco_stop_price",
                "oco_take_profit_price",
                "armed_price",
                "trigger_price",
                "watermark",
            )
        ),
        amount_check("max_slippage"),
        CheckConstraint(
            "trailing_stop_percentage > 0 AND trailing_stop_percentage < 100", name="trailing_stop_percentage_range"
        ),
    )


class Position(Base, Timestamped):
    """What a trade holds at its venue; `size` in base units, `margin` and `unrealized_pnl` in USDC."""

    __tablename__ = "positions"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    trade_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("trades.id"), unique=True)
    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"))
    provider: Mapped[str] = mapped_column(String(16))
    asset: Mapped[str] = mapped_column(String(16))
    side: Mapped[PositionSide] = mapped_column(StoredEnum(PositionSide))
    size: Mapped[Money]
    entry_price: Mapped[Money]
    current_price: Mapped[Money | None]
    unrealized_pnl: Mapped[Money | None]
    liquidation_price: Mapped[Money | None]
    margin: Mapped[Money]
    leverage: Mapped[int]
    is_open: Mapped[bool]
    closed_at: Mapped[Instant | None]

    __table_args__ = (
        enum_check("side", PositionSide),
        Index("ix_positions_user_id_open", "user_id", "id", postgresql_where=text("is_open")),
        Index("ix_positions_pair_id_open", "pair_id", postgresql_where=text("is_open")),
        amount_check("size"),
        positive_check("entry_price"),
        positive_check("current_price"),
        finite_check("unrealized_pnl"),
        amount_check("liquidation_price"),
        amount_check("margin"),
    )


class Fill(Base):
    """One execution told by a venue, booked once: (venue account, venue_fill_id) is unique."""

    __tablename__ = "fills"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    venue_account_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("venue_accounts.id"))
    order_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("orders.id"), index=True)
    trade_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("trades.id"), index=True)
    venue_fill_id: Mapped[str] = mapped_column(String(80))
    side: Mapped[OrderSide] = mapped_column(StoredEnum(OrderSide))
    quantity: Mapped[Money]
    price: Mapped[Money]
    fee: Mapped[Money]
    pnl: Mapped[Money]
    is_close: Mapped[bool]
    is_liquidation: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("venue_account_id", "venue_fill_id"),
        Index("ix_fills_user_id_created_at", "user_id", "created_at"),
        enum_check("side", OrderSide),
        positive_check("quantity"),
        positive_check("price"),
        amount_check("fee"),
        finite_check("pnl"),
    )


class FundingPayment(Base):
    """What a trade has of one funding told by a venue, booked once; `amount` is what it brought the user, in USDC."""

    __tablename__ = "funding_payments"

    id: Mapped[Id]
    trade_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("trades.id"))
    venue_account_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("venue_accounts.id"))
    venue_trade_index: Mapped[str] = mapped_column(String(64))
    instant: Mapped[Instant]
    amount: Mapped[Money]
    rate: Mapped[Money]
    size: Mapped[Money]
    mark_price: Mapped[Money]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("trade_id", "instant"),
        Index(
            "ix_funding_payments_venue_account_id_venue_trade_index",
            "venue_account_id",
            "venue_trade_index",
            "instant",
        ),
        Index("ix_funding_payments_venue_account_id_created_at", "venue_account_id", "created_at"),
        finite_check("amount"),
        finite_check("rate"),
        positive_check("size"),
        positive_check("mark_price"),
    )


class Intent(Base, Timestamped):
    """One effect on a venue, written before it is sent; its id is the client id the venue knows it by (< 2^48)."""

    __tablename__ = "intents"

    id: Mapped[Id]
    order_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("orders.id"))
    trade_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("trades.id"), index=True)
    attempt: Mapped[int] = mapped_column(server_default="0")
    kind: Mapped[IntentKind] = mapped_column(StoredEnum(IntentKind))
    provider: Mapped[str] = mapped_column(String(16))
    venue_account_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("venue_accounts.id"), index=True)
    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"), index=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[IntentStatus] = mapped_column(StoredEnum(IntentStatus))
    reason: Mapped[str | None] = mapped_column(String(64))
    transaction_hash: Mapped[str | None] = mapped_column(String(80))
    sent_at: Mapped[Instant | None]
    not_after: Mapped[Instant | None]
    next_run_at: Mapped[Instant | None]

    __table_args__ = (
        enum_check("kind", IntentKind),
        enum_check("status", IntentStatus),
        UniqueConstraint("order_id", "attempt", "kind"),
        Index(
            "uq_intents_trade_id_closing",
            "trade_id",
            unique=True,
            postgresql_where=text("kind = 'close' AND status IN ('new', 'sent')"),
        ),
        Index("ix_intents_next_run_at", "next_run_at", postgresql_where=text("status IN ('new', 'sent', 'resting')")),
        CheckConstraint("id < 281474976710656", name="client_id_range"),
    )
