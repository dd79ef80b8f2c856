"""Questions about fills."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Table, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.models.trading import Fill
from app.repositories.base import Repository


class FillRepository(Repository[Fill]):
    """Questions about fills."""

    model = Fill

    async def add_once(self, **values: Any) -> bool:
        """Write a fill unless it is booked already, by its venue's id; whether it was new."""
        # What else has changed is written together at the end.
        with self.session.no_autoflush:
            return await self.session.scalar(_ADD_ONCE, values) is not None

    async def is_booked(self, venue_account_id: int, venue_fill_id: str) -> bool:
        """Whether a fill is booked, whole or in shares (`<id>#<trade>`)."""
        query = select(Fill.id).where(
            Fill.venue_account_id == venue_account_id,
            or_(
                Fill.venue_fill_id == venue_fill_id,
                Fill.venue_fill_id.startswith(f"{venue_fill_id}#", autoescape=True),
            ),
        )
        return await self.session.scalar(query.limit(1)) is not None

    async def filled_since(self, order_id: int, since: datetime | None) -> Decimal:
        """What of an order was booked as filled since an instant, or ever; in base units."""
        query = select(func.coalesce(func.sum(Fill.quantity), 0)).where(Fill.order_id == order_id)
        if since is not None:
            query = query.where(Fill.created_at >= since)
        return Decimal(await self.session.scalar(query) or 0)

    async def realised_by(self, order_id: int) -> Decimal | None:
        """The PnL of what an order has closed, before fees, in USDC; None where nothing of it has filled."""
        return await self.session.scalar(select(func.sum(Fill.pnl)).where(Fill.order_id == order_id))

    async def of_trade(self, trade_id: int) -> Sequence[Fill]:
        """Every execution of a trade, oldest first."""
        return await self.all_of(select(Fill).where(Fill.trade_id == trade_id).order_by(Fill.id))

    async def of_user(self, user_id: int, since: datetime) -> Sequence[Fill]:
        """A user's executions since an instant, oldest first."""
        return await self.all_of(
            select(Fill).where(Fill.user_id == user_id, Fill.created_at >= since).order_by(Fill.id)
        )


# Made once: making a statement costs more than sending it.
_ADD_ONCE = (
    upsert(cast(Table, Fill.__table__))
    .on_conflict_do_nothing(index_elements=[Fill.venue_account_id, Fill.venue_fill_id])
    .returning(Fill.id)
)
