"""Questions about deposits and the swaps that turn them into USDC."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.domain.enums import DepositStatus, SwapStatus
from app.models.base import Timestamped
from app.models.deposit import Deposit, TokenSwap

_OPEN_DEPOSITS = (DepositStatus.PENDING, DepositStatus.PROCESSING)
_OPEN_SWAPS = (SwapStatus.PENDING, SwapStatus.PROCESSING)


class DepositRepository:
    """Questions about deposits."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def live_of(self, user_id: int) -> Sequence[tuple[Deposit, TokenSwap | None]]:
        """A user's deposits without an end, oldest first, each with its latest swap."""
        of_deposit = select(func.max(TokenSwap.id)).where(TokenSwap.deposit_id == Deposit.id)
        latest = of_deposit.correlate(Deposit).scalar_subquery()
        query = (
            select(Deposit, TokenSwap)
            .outerjoin(TokenSwap, TokenSwap.id == latest)
            .where(Deposit.user_id == user_id, Deposit.status.in_(_OPEN_DEPOSITS))
            .order_by(Deposit.id)
        )
        return [(deposit, swap) for deposit, swap in await self.session.execute(query)]

    async def overdue(self, after: timedelta) -> tuple[int, int]:
        """How many deposits, and how many swaps, have no end and did not change for so long."""
        deposits = select(func.count()).where(Deposit.status.in_(_OPEN_DEPOSITS), _unchanged(Deposit, after))
        swaps = select(func.count()).where(TokenSwap.swap_status.in_(_OPEN_SWAPS), _unchanged(TokenSwap, after))
        return await self.session.scalar(deposits) or 0, await self.session.scalar(swaps) or 0


def _unchanged(model: type[Timestamped], after: timedelta) -> ColumnElement[bool]:
    return model.updated_at < func.clock_timestamp() - after
