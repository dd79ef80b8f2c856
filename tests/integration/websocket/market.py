"""A market that tests move by hand, and trades in it that are written as trading writes them."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from decimal import Decimal

from app.domain.enums import Category, OrderRole, OrderSide, OrderStatus, OrderType, PositionSide, TradeStatus
from app.domain.events import Event, EventType, order_event, position_event, trade_event
from app.domain.prices import Market, Tick
from app.domain.trading import PairListing
from app.models.market import Pair
from app.models.trading import Order, Position, Trade
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.schemas.event_catalogue import CATALOGUE
from app.services.pair_directory import PairDirectory
from app.services.providers.feed import FeedSlice, FeedStart

VENUE = "paper"


def listing(symbol: str, base: str, *aliases: str) -> PairListing:
    """A pair with plain terms."""
    return PairListing(
        venue_pair_id=symbol,
        symbol=symbol,
        base=base,
        quote="USD",
        category=Category.CRYPTO,
        price_step=Decimal("0.01"),
        size_step=Decimal("0.0001"),
        min_leverage=1,
        max_leverage=50,
        min_collateral=Decimal(1),
        max_collateral=Decimal(1_000_000),
        taker_fee_rate=Decimal("0.0005"),
        maintenance_margin_rate=Decimal("0.01"),
        aliases=aliases,
    )


LISTINGS = [listing("BTCUSDT", "BTC"), listing("ETHUSDT", "ETH"), listing("SOLUSDT", "SOL")]


class HandFeed:
    """A feed whose ticks come when a test says so."""

    venue = VENUE
    identity = "moved by hand"

    def __init__(self) -> None:
        self._slices: asyncio.Queue[FeedSlice] = asyncio.Queue()
        self._start: FeedStart | None = None
        self._number = 0

    def began_at(self, start: FeedStart) -> datetime:
        return start.now

    async def stream(self, start: FeedStart) -> AsyncGenerator[FeedSlice, None]:
        self._start = start
        yield FeedSlice(markets={pair_id: Market(is_open=True) for pair_id in start.pair_ids.values()})
        while True:
            yield await self._slices.get()

    @property
    def is_running(self) -> bool:
        return self._start is not None

    def quote(self, symbol: str, *bids: str) -> None:
        """Emit ticks of a pair, each one unit of price wide, all at once."""
        assert self._start is not None
        pair_id, base = self._start.pair_ids[symbol], self._start.base
        ticks = []
        for bid in map(Decimal, bids):
            self._number += 1
            ticks.append(Tick(pair_id, base + self._number, bid, bid + 1, datetime.now(UTC), VENUE))
        self._slices.put_nowait(FeedSlice(ticks))


class Desk:
    """Writes what trading would write: rows and their events, in one transaction."""

    def __init__(self, uow: UnitOfWorkFactory, directory: PairDirectory) -> None:
        self.uow = uow
        self._directory = directory

    def pair(self, symbol: str) -> Pair:
        return self._directory.resolve_pair(symbol, VENUE)

    async def open_trade(
        self, user_id: int, symbol: str = "BTCUSDT", *, entry: str = "50000", size: str = "0.1"
    ) -> Trade:
        """A long that has just been filled, with its position and a waiting stop."""
        pair = self.pair(symbol)
        async with self.uow() as work:
            account = await work.venue_accounts.ensure(user_id, VENUE)
            trade = await work.trades.add(
                Trade(
                    user_id=user_id,
                    venue_account_id=account.id,
                    provider=VENUE,
                    asset=pair.base,
                    asset_type=0,
                    pair_id=pair.id,
                    trade_index=await work.trades.next_index(account.id, pair.id),
                    direction=True,
                    collateral=Decimal(500),
                    leverage=10,
                    entry_price=Decimal(entry),
                    size=Decimal(size),
                    status=TradeStatus.OPEN,
                    transaction_hash="0xabc",
                )
            )
            position = await work.positions.add(
                Position(
                    user_id=user_id,
                    trade_id=trade.id,
                    pair_id=pair.id,
                    provider=VENUE,
                    asset=pair.base,
                    side=PositionSide.LONG,
                    size=Decimal(size),
                    entry_price=Decimal(entry),
                    liquidation_price=Decimal(40000),
                    margin=Decimal(500),
                    leverage=10,
                    is_open=True,
                )
            )
            order = await work.orders.add(
                Order(
                    user_id=user_id,
                    trade_id=trade.id,
                    pair_id=pair.id,
                    provider=VENUE,
                    asset=pair.base,
                    role=OrderRole.EXIT,
                    order_type=OrderType.STOP_LOSS,
                    side=OrderSide.SELL,
                    reduce_only=True,
                    quantity=Decimal(size),
                    stop_price=Decimal(45000),
                    status=OrderStatus.PENDING,
                )
            )
            work.emit(
                trade_event(EventType.TRADE_EXECUTED, trade),
                position_event(position, "opened"),
                order_event(EventType.ORDER_CREATED, order),
            )
        return trade

    async def note(self, user_id: int, *, times: int = 1, **changes: object) -> None:
        """Write events that need no rows: `data.trade_index` counts up from 0."""
        async with self.uow() as work:
            for number in range(times):
                data = CATALOGUE[EventType.TRADE_UPDATED].example | {"trade_id": 0, "trade_index": number, **changes}
                work.emit(Event(user_id, EventType.TRADE_UPDATED, data))
