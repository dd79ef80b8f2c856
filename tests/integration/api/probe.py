"""Routes that exist only in tests: each does one thing that a real route may do or suffer."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Query, Request, Response
from sqlalchemy.exc import DBAPIError

from app.api.dependencies import ContainerDep, OptionalUser, TradingUser, rate_limit
from app.api.paging import PageDep
from app.api.routing import router
from app.domain.enums import OrderSide
from app.domain.errors import ProviderError, Unavailable
from app.schemas.base import Amount, Flag, Fraction, Number, PathId, RequestModel, ResponseModel

probe = router(prefix="/probe", tag="probe")


class Order(RequestModel):
    """A body with every kind of field."""

    collateral: Amount
    side: OrderSide
    reduce_only: Flag = False
    limit: Amount | None = None


class Answer(ResponseModel):
    """Numbers that floats cannot hold."""

    collateral: Number
    limit: Number | None
    side: OrderSide
    at: datetime


@probe.post("/orders/{order_id}", response_model=Answer, status_code=201)
async def order(order_id: PathId, body: Order, request: Request) -> dict[str, Any]:
    """Answer what was asked."""
    request.state.headers["X-Order"] = str(order_id)
    return {**body.model_dump(), "at": datetime(2026, 1, 5, 12, tzinfo=UTC)}


@probe.get("/fraction", response_model=dict[str, Number])
async def fraction(fraction: Annotated[Fraction, Query()]) -> dict[str, Decimal]:
    """Read a decimal of the query."""
    return {"fraction": fraction}


@probe.get("/page", response_model=dict[str, int | None])
async def page(page: PageDep) -> dict[str, int | None]:
    """Tell which page was asked for."""
    return {"limit": page.limit, "before": page.before}


@probe.get("/raw")
async def raw() -> Response:
    """Answer ready bytes."""
    return Response(b"ready", media_type="text/plain")


@probe.get("/broken", response_model=Answer)
async def broken() -> dict[str, str]:
    """Answer what the route does not declare."""
    return {"secret": "a canary"}


@probe.get("/fault", response_model=None)
async def fault() -> None:
    """Fail as nobody foresaw."""
    raise KeyError("a canary")


@probe.get("/database", response_model=None)
async def database() -> None:
    """Lose the database in the middle."""
    raise DBAPIError("SELECT canary", None, OSError("canary"), connection_invalidated=True)


@probe.get("/provider", response_model=None)
async def provider() -> None:
    """Fail as the seed's example does."""
    raise ProviderError(
        "Failed to execute trade", code="TRADE_EXECUTION_FAILED", provider="ostium", reason="Insufficient liquidity"
    )


@probe.get("/full", response_model=None)
async def full() -> None:
    """Be full."""
    raise Unavailable(retry_after=7)


@probe.get("/late")
async def late() -> Response:
    """Fail after the answer has begun."""

    class Halfway(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise KeyError("a canary")

    return Halfway()


@probe.get("/limited", dependencies=[rate_limit("trade")], response_model=dict[str, bool])
async def limited(user: OptionalUser) -> dict[str, bool]:
    """Tell whether somebody is logged in."""
    return {"known": user is not None}


@probe.get("/trade", response_model=dict[str, int])
async def trade(user: TradingUser, container: ContainerDep) -> dict[str, int]:
    """Be for traders only."""
    return {"id": user.id}
