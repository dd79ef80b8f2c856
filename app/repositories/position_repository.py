"""Questions about positions."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, bindparam, select

from app.models.trading import Order, Position, Trade
from app.repositories.base import Repository


class Held(NamedTuple):
    """What a position shows of its venue's: margin in USDC, entry price in quote units."""

    margin: Decimal
    entry_price: Decimal


class PositionRepository(Repository[Position]):
    """Questions about positions."""

    model = Position

    async def of_trade(self, trade_id: int) -> Position | None:
        """The position of a trade, locked, as this unit of work has left it; its trade is locked already."""
        # What has changed of other rows is written together at the end.
        with self.session.no_autoflush:
            return await self.session.scalar(_OF_TRADE, {"trade_id": trade_id})

    async def held(self, trade_ids: Sequence[int]) -> dict[int, Held]:
        """What each trade's position shows, by trade."""
        query = select(Position.trade_id, Position.margin, Position.entry_price)
        rows = (await self.session.execute(query.where(Position.trade_id.in_(trade_ids)))).all()
        return {trade_id: Held(margin, entry_price) for trade_id, margin, entry_price in rows}

    async def open_for(self, user_id: int) -> Sequence[Position]:
        """A user's open positions, oldest first."""
        query = select(Position).where(Position.user_id == user_id, Position.is_open)
        return await self.all_of(query.order_by(Position.id))

    async def open_with_trades(self, user_id: int) -> list[tuple[Position, Trade]]:
        """A user's open positions with their trades, oldest first."""
        query = (
            select(Position, Trade)
            .join(Trade, Trade.id == Position.trade_id)
            .where(Position.user_id == user_id, Position.is_open)
            .order_by(Position.id)
        )
        return [(position, trade) for position, trade in await self.session.execute(query)]

    async def liquidation_prices(self, order_ids: Sequence[int]) -> dict[int, tuple[int, Decimal | None]]:
        """The trade that each order is about, and the liquidation price of its position, by order id."""
        query = select(Order.id, Position.trade_id, Position.liquidation_price)
        query = query.join(Position, Position.trade_id == Order.trade_id).where(Order.id.in_(order_ids))
        return {order_id: (trade_id, level) for order_id, trade_id, level in await self.session.execute(query)}


# Made once: making a statement costs more than sending it.
_OF_TRADE = select(Position).where(Position.trade_id == bindparam("trade_id", type_=BigInteger())).with_for_update()
