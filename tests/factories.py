"""Rows and people that tests start from."""

import itertools
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

from app.bootstrap import Container
from app.domain.enums import OrderType
from app.domain.order_terms import OpenTerms
from app.services.auth_service import ClientInfo

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
