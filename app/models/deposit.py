"""Deposits and the swaps that turn them into USDC on Arbitrum."""

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.enums import DepositStatus, SwapStatus
from app.models.base import Base, Id, Instant, Money, StoredEnum, Timestamped, enum_check, positive_check


class Deposit(Base, Timestamped):
    """Tokens that a user brings in; a transaction hash counts once per chain."""

    __tablename__ = "deposits"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"), index=True)
    token_address: Mapped[str] = mapped_column(String(64))
    token_symbol: Mapped[str] = mapped_column(String(32))
    chain: Mapped[str] = mapped_column(String(32))
    amount: Mapped[Money]
    status: Mapped[DepositStatus] = mapped_column(StoredEnum(DepositStatus))
    stage: Mapped[str | None] = mapped_column(String(32))
    provider: Mapped[str] = mapped_column(String(16))
    transaction_hash: Mapped[str | None] = mapped_column(String(80))

    __table_args__ = (
        UniqueConstraint("chain", "transaction_hash"),
        enum_check("status", DepositStatus),
        positive_check("amount"),
    )


class TokenSwap(Base, Timestamped):
    """One conversion of a deposit, always to USDC on Arbitrum."""

    __tablename__ = "token_swaps"

    id: Mapped[Id]
    deposit_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("deposits.id"), index=True)
    from_token: Mapped[str] = mapped_column(String(64))
    to_token: Mapped[str] = mapped_column(String(64))
    from_chain: Mapped[str] = mapped_column(String(32))
    to_chain: Mapped[str] = mapped_column(String(32))
    amount: Mapped[Money]
    swap_provider: Mapped[str] = mapped_column(String(16))
    swap_status: Mapped[SwapStatus] = mapped_column(StoredEnum(SwapStatus))
    swap_transaction_hash: Mapped[str | None] = mapped_column(String(80))
    estimated_output: Mapped[Money | None]
    actual_output: Mapped[Money | None]
    error_message: Mapped[str | None] = mapped_column(String(255))
    completed_at: Mapped[Instant | None]

    __table_args__ = (
        enum_check("swap_status", SwapStatus),
        positive_check("amount"),
        positive_check("estimated_output"),
        positive_check("actual_output"),
    )
