"""The paper venue's own books: accounts, double-entry ledger, orders, positions."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import OrderSide, OrderType, PaperOrderStatus, PaperPositionStatus, PositionSide
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


class PaperAccount(Base, Timestamped):
    """A user's money at the paper venue in USDC: `balance` is free, `margin` is locked in orders and positions."""

    __tablename__ = "paper_accounts"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"), unique=True)
    balance: Mapped[Money]
    margin: Mapped[Money]

    __table_args__ = (amount_check("balance"), amount_check("margin"))


class PaperLedgerEntry(Base):
    """One side of a booking, append-only; the entries of a booking sum to zero.

    `account` is "balance" or "margin" (with the user's `account_id`), or a house account without a row of its own:
    "funding_source", "counterparty", "fees", "insurance", "funding".
    """

    __tablename__ = "paper_ledger"

    id: Mapped[Id]
    booking: Mapped[int] = mapped_column(BigInteger, index=True)
    account: Mapped[str] = mapped_column(String(24))
    account_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("paper_accounts.id"), index=True)
    amount: Mapped[Money]
    reason: Mapped[str] = mapped_column(String(24))
    client_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    created_at: Mapped[CreatedAt]

    __table_args__ = (finite_check("amount"), CheckConstraint("amount <> 0", name="amount_not_zero"))


class PaperPosition(Base, Timestamped):
    """One isolated position; ticks up to `armed_sequence` cannot liquidate it.

    `version` grows with each new liquidation price; `closed_sequence` is the tick that ended it.
    """

    __tablename__ = "paper_positions"

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("paper_accounts.id"), index=True)
    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"))
    opened_by: Mapped[int] = mapped_column(BigInteger, unique=True)
    side: Mapped[PositionSide] = mapped_column(StoredEnum(PositionSide))
    size: Mapped[Money]
    entry_price: Mapped[Money]
    leverage: Mapped[int]
    margin: Mapped[Money]
    liquidation_price: Mapped[Money]
    armed_sequence: Mapped[int] = mapped_column(BigInteger)
    armed_price: Mapped[Money]
    status: Mapped[PaperPositionStatus] = mapped_column(StoredEnum(PaperPositionStatus))
    version: Mapped[int] = mapped_column(server_default="0")
    closed_at: Mapped[Instant | None]
    closed_sequence: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        enum_check("side", PositionSide),
        enum_check("status", PaperPositionStatus),
        Index("ix_paper_positions_pair_id_open", "pair_id", postgresql_where=text("status = 'open'")),
        amount_check("size"),
        positive_check("entry_price"),
        amount_check("margin"),
        amount_check("liquidation_price"),
        positive_check("armed_price"),
    )


class PaperOrder(Base, Timestamped):
    """One order as the paper venue keeps it, found by the client id that was sent with it.

    A liquidation is an order too, with a negative client id made from its position. A refused one keeps `reason` and
    `details`, and no size. `filled`, `fee`, `pnl` are totals over its `fill_count` fills, `fill_price` is their
    average, `fill_sequence` and `filled_at` are the last one's. A working order fills first at the tick `settle_ticks`
    after `armed_sequence`, then at each tick; `parts` is how many fills it takes.
    """

    __tablename__ = "paper_orders"

    id: Mapped[Id]
    client_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    account_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("paper_accounts.id"), index=True)
    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"))
    position_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("paper_positions.id"), index=True)
    order_type: Mapped[OrderType] = mapped_column(StoredEnum(OrderType))
    side: Mapped[OrderSide] = mapped_column(StoredEnum(OrderSide))
    reduce_only: Mapped[bool]
    size: Mapped[Money | None]
    limit_price: Mapped[Money | None]
    leverage: Mapped[int | None]
    collateral: Mapped[Money | None]
    reserved: Mapped[Money] = mapped_column(server_default="0")
    status: Mapped[PaperOrderStatus] = mapped_column(StoredEnum(PaperOrderStatus))
    reason: Mapped[str | None] = mapped_column(String(32))
    details: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
    fill_price: Mapped[Money | None]
    fee: Mapped[Money | None]
    pnl: Mapped[Money | None]
    filled: Mapped[Money] = mapped_column(server_default="0")
    fill_count: Mapped[int] = mapped_column(server_default="0")
    parts: Mapped[int] = mapped_column(server_default="1")
    settle_ticks: Mapped[int] = mapped_column(server_default="0")
    reference_price: Mapped[Money | None]
    max_slippage: Mapped[Money | None]
    stop_price: Mapped[Money | None]
    take_profit_price: Mapped[Money | None]
    armed_sequence: Mapped[int] = mapped_column(BigInteger)
    fill_sequence: Mapped[int | None] = mapped_column(BigInteger)
    filled_at: Mapped[Instant | None]

    __table_args__ = (
        enum_check("order_type", OrderType),
        enum_check("side", OrderSide),
        enum_check("status", PaperOrderStatus),
        Index("ix_paper_orders_pair_id_live", "pair_id", postgresql_where=text("status IN ('working', 'resting')")),
        positive_check("size"),
        positive_check("limit_price"),
        positive_check("collateral"),
        amount_check("reserved"),
        positive_check("fill_price"),
        amount_check("fee"),
        finite_check("pnl"),
        amount_check("filled"),
        CheckConstraint("filled <= size", name="not_overfilled"),
        CheckConstraint("parts > 0", name="parts_positive"),
        CheckConstraint("settle_ticks >= 0", name="settle_ticks_amount"),
        positive_check("reference_price"),
        amount_check("max_slippage"),
        positive_check("stop_price"),
        positive_check("take_profit_price"),
    )


class PaperFill(Base):
    """Fill `number` (0 first) of an order; what is left, liquidation and entry price are the position's after it."""

    __tablename__ = "paper_fills"

    id: Mapped[Id]
    order_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("paper_orders.id"))
    position_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("paper_positions.id"), index=True)
    number: Mapped[int]
    size: Mapped[Money]
    price: Mapped[Money]
    fee: Mapped[Money]
    pnl: Mapped[Money]
    mark_price: Mapped[Money]
    bid: Mapped[Money | None]
    ask: Mapped[Money | None]
    last: Mapped[Money | None]
    sequence: Mapped[int] = mapped_column(BigInteger)
    size_left: Mapped[Money]
    margin_left: Mapped[Money]
    liquidation_price: Mapped[Money]
    # None where it filled before this was kept.
    entry_price: Mapped[Money | None]
    at: Mapped[Instant]

    __table_args__ = (
        UniqueConstraint("order_id", "number"),
        positive_check("size"),
        positive_check("price"),
        amount_check("fee"),
        finite_check("pnl"),
        positive_check("mark_price"),
        positive_check("bid"),
        positive_check("ask"),
        positive_check("last"),
        amount_check("size_left"),
        amount_check("margin_left"),
        amount_check("liquidation_price"),
        positive_check("entry_price"),
    )


class PaperFunding(Base):
    """One funding of one position at one instant of feed time; `amount` is what it brought the user, in USDC."""

    __tablename__ = "paper_funding"

    id: Mapped[Id]
    position_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("paper_positions.id"))
    instant: Mapped[Instant]
    rate: Mapped[Money]
    size: Mapped[Money]
    mark_price: Mapped[Money]
    amount: Mapped[Money]
    sequence: Mapped[int] = mapped_column(BigInteger)
    margin_left: Mapped[Money]
    liquidation_price: Mapped[Money]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("position_id", "instant"),
        finite_check("rate"),
        positive_check("size"),
        positive_check("mark_price"),
        finite_check("amount"),
        amount_check("margin_left"),
        amount_check("liquidation_price"),
    )


class PaperFundingMark(Base):
    """The last instant of a pair whose funding is booked, the tick it was booked at, and the interval of its count."""

    __tablename__ = "paper_funding_marks"

    pair_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("pairs.id"), primary_key=True, autoincrement=False)
    instant: Mapped[Instant]
    sequence: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[int]
