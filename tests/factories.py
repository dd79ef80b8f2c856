"""Rows and people that tests start from."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

from app.bootstrap import Container
from app.core.database import Database
from app.domain.enums import (
    IntentKind,
    IntentStatus,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    TradeStatus,
)
from app.domain.order_terms import OpenTerms
from app.models.market import Pair
from app.models.trading import Intent, Order, Trade
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.auth_service import ClientInfo

# A loaded machine makes rows wait longer for each other than a user would.
PATIENCE_SECONDS = 60.0
PASSWORD = "a long enough phrase"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Person:
    """A registered user, logged in."""

    id: int
    email: str
    username: str
    password: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates a request."""
        return {"Authorization": f"Bearer {self.access_token}"}


async def create_person(container: Container, *, password: str = PASSWORD) -> Person:
    """Register somebody new."""
    name = f"user{next(_numbers)}-{uuid4().hex[:8]}"
    email = f"{name}@example.com"
    pair = await container.auth.register(email=email, username=name, password=password, client=ClientInfo())
    user = await container.auth.current_user(pair.access_token)
    return Person(user.id, email, name, password, pair.access_token, pair.refresh_token)


def open_terms(**values: Any) -> OpenTerms:
    """A request to open a 10x long of BTC at market with 100 USDC, but for what is given."""
    base: dict[str, Any] = {
        "asset": "BTC",
        "is_long": True,
        "collateral": Decimal(100),
        "leverage": 10,
        "order_type": OrderType.MARKET,
    }
    return OpenTerms(**(base | values))


@asynccontextmanager
async def patient_uow(container: Container, url: str) -> AsyncIterator[UnitOfWorkFactory]:
    """Units of work on a pool of their own that wait for locks as long as it takes."""
    database = Database(
        url,
        application_name="patient",
        pool_size=30,
        pool_timeout=PATIENCE_SECONDS,
        statement_timeout_seconds=PATIENCE_SECONDS,
        lock_timeout_seconds=PATIENCE_SECONDS,
        idle_in_transaction_timeout_seconds=PATIENCE_SECONDS,
    )
    try:
        yield partial(UnitOfWork, database, container.broadcast)
    finally:
        await database.aclose()


async def create_trade(work: UnitOfWork, user_id: int, pair: Pair, **values: Any) -> Trade:
    """An open 10x long of 100 USDC, but for what is given."""
    account = await work.venue_accounts.ensure(user_id, pair.venue)
    base: dict[str, Any] = {
        "user_id": user_id,
        "venue_account_id": account.id,
        "provider": pair.venue,
        "asset": pair.base,
        "asset_type": pair.category.code,
        "pair_id": pair.id,
        "trade_index": await work.trades.next_index(account.id, pair.id),
        "direction": True,
        "collateral": Decimal(100),
        "leverage": 10,
        "size": Decimal(1),
        "fees": Decimal(0),
        "entry_price": Decimal(1000),
        "status": TradeStatus.OPEN,
    }
    return await work.trades.add(Trade(**(base | values)))


async def create_order(work: UnitOfWork, trade: Trade, **values: Any) -> Order:
    """A waiting stop-loss of a trade, but for what is given."""
    base: dict[str, Any] = {
        "user_id": trade.user_id,
        "trade_id": trade.id,
        "pair_id": trade.pair_id,
        "provider": trade.provider,
        "asset": trade.asset,
        "role": OrderRole.EXIT,
        "order_type": OrderType.STOP_LOSS,
        "side": OrderSide.SELL,
        "reduce_only": True,
        "quantity": trade.size,
        "stop_price": Decimal(950),
        "status": OrderStatus.PENDING,
        "armed_sequence": 1,
        "armed_price": Decimal(1000),
    }
    return await work.orders.add(Order(**(base | values)))


async def create_intent(work: UnitOfWork, order: Order, trade: Trade, **values: Any) -> Intent:
    """A close that nobody has sent, but for what is given."""
    base: dict[str, Any] = {
        "order_id": order.id,
        "trade_id": trade.id,
        "attempt": 0,
        "kind": IntentKind.CLOSE,
        "provider": trade.provider,
        "venue_account_id": trade.venue_account_id,
        "pair_id": trade.pair_id,
        "payload": {},
        "status": IntentStatus.NEW,
    }
    return await work.intents.add(Intent(**(base | values)))
