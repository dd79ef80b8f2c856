"""Attach, read, amend and cancel orders."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query, Request, Response

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit
from app.api.errors import SIGNED_IN, WITH_BODY, responses
from app.api.idempotency import KEY_ERRORS, IdempotencyKey, Once
from app.api.paging import PageDep
from app.api.parameters import OrderId
from app.api.routing import StrictQueryRoute, router
from app.domain.enums import OrderStatus
from app.domain.errors import InvalidRequest, NotFound
from app.domain.order_terms import single_exit
from app.models.trading import Order
from app.repositories.unit_of_work import UnitOfWork
from app.schemas.base import PathId
from app.schemas.trading import OrderList, OrderResponse
from app.schemas.trading_requests import AmendOrderRequest, AttachOrderRequest
from app.services.live_stops import live_stops
from app.services.trading_service import Placed

routes = router(prefix="/trading/orders", tag="orders", route_class=StrictQueryRoute)

LEVEL_ERRORS = (
    *WITH_BODY,
    "MISSING_FIELD",
    "CONFLICTING_FIELDS",
    "TOO_MANY_DECIMALS",
    "STOP_WRONG_SIDE",
    "TAKE_PROFIT_WRONG_SIDE",
    "ACTIVATION_WRONG_SIDE",
    "TRIGGER_PRICE_UNKNOWN",
    "STOP_BEYOND_LIQUIDATION",
    *SIGNED_IN,
    "RATE_LIMITED",
    "PRICE_STALE",
)


async def order_responses(work: UnitOfWork, orders: Sequence[Order]) -> list[OrderResponse]:
    """Orders as they are answered: trailing stops that wait show where they stand durably."""
    stops = await live_stops(work, orders)
    shown = []
    for order in orders:
        answer = OrderResponse.model_validate(order)
        stop = stops.get(order.id)
        if stop is not None:
            answer = answer.model_copy(update={"stop_price": stop.stop_price, "watermark": stop.watermark})
        shown.append(answer)
    return shown


@routes.post(
    "",
    status_code=201,
    response_model=OrderResponse,
    responses=responses(
        *LEVEL_ERRORS, "PAIR_NOT_FOUND", "TRADE_NOT_FOUND", "ALREADY_EXISTS", "LIMIT_EXCEEDED", *KEY_ERRORS
    ),
    dependencies=[rate_limit("trade")],
)
async def attach_order(
    request: Request, body: AttachOrderRequest, container: ContainerDep, user: CurrentUser, key: IdempotencyKey
) -> Response:
    """Attach a protective order to a trade."""

    async def attach() -> Placed:
        exit_terms = single_exit(body.order_type, body.exits())
        pair_id, trade_index = await _trade_named(body, container, user.id)
        order = await container.exits.attach(user.id, pair_id, trade_index, exit_terms, body.client_order_id, key)
        return await container.trading.placed(user.id, order.id)

    async def tell(placed: Placed) -> OrderResponse:
        return await _one(container, placed.order)

    return await Once(request, container, user.id, 201).answer(key, attach, tell)


@routes.get("", responses=responses(*SIGNED_IN, "RATE_LIMITED"), dependencies=[rate_limit("default")])
async def list_orders(
    container: ContainerDep,
    user: CurrentUser,
    page: PageDep,
    status: Annotated[list[OrderStatus] | None, Query(max_length=16, description="Only these; may be repeated")] = None,
    trade_id: Annotated[PathId | None, Query(description="Only those of the trade with this id")] = None,
) -> OrderList:
    """List the caller's orders, newest first."""
    async with container.uow() as work:
        rows = await work.orders.of_user(
            user.id, statuses=status, trade_id=trade_id, before=page.before, limit=page.wanted
        )
        shown, cursor = page.cut(rows)
        answers = await order_responses(work, shown)
    return OrderList(orders=answers, next_cursor=cursor)


@routes.get(
    "/{order_id}", responses=responses(*SIGNED_IN, "NOT_FOUND", "RATE_LIMITED"), dependencies=[rate_limit("default")]
)
async def get_order(order_id: OrderId, container: ContainerDep, user: CurrentUser) -> OrderResponse:
    """Answer one order."""
    async with container.uow() as work:
        order = await work.orders.owned(user.id, order_id)
        if order is None:
            raise NotFound(order_id=order_id)
        return (await order_responses(work, [order]))[0]


@routes.patch(
    "/{order_id}",
    responses=responses(*LEVEL_ERRORS, "NOT_FOUND", "CONFLICT"),
    dependencies=[rate_limit("default")],
)
async def amend_order(
    order_id: OrderId, body: AmendOrderRequest, container: ContainerDep, user: CurrentUser
) -> OrderResponse:
    """Change terms of an exit that has not fired; it is armed anew at the present price."""
    return await _one(container, await container.exits.amend(user.id, order_id, body.changes()))


@routes.delete(
    "/{order_id}",
    responses=responses(*SIGNED_IN, "NOT_FOUND", "CONFLICT", "RATE_LIMITED", "TRADING_HALTED", "PROVIDER_TIMEOUT"),
    dependencies=[rate_limit("close")],
)
async def cancel_order(order_id: OrderId, container: ContainerDep, user: CurrentUser) -> OrderResponse:
    """Cancel an exit that has not fired, or a resting entry."""
    return await _one(container, await container.exits.cancel(user.id, order_id))


async def _one(container: ContainerDep, order: Order) -> OrderResponse:
    async with container.uow() as work:
        return (await order_responses(work, [order]))[0]


async def _trade_named(body: AttachOrderRequest, container: ContainerDep, user_id: int) -> tuple[int, int]:
    """The (pair id, index) of the trade that a request names in one of two ways."""
    by_index = body.pair_id is not None and body.trade_index is not None
    if body.trade_id is not None and not (body.pair_id or body.trade_index is not None):
        async with container.uow() as work:
            trade = await work.trades.owned(user_id, body.trade_id)
        if trade is None:
            raise NotFound(code="TRADE_NOT_FOUND", trade_id=body.trade_id)
        return trade.pair_id, trade.trade_index
    if body.trade_id is None and by_index and body.pair_id is not None and body.trade_index is not None:
        return body.pair_id, body.trade_index
    raise InvalidRequest(
        "Name the trade by trade_id, or by pair_id and trade_index.",
        code="MISSING_FIELD" if body.trade_id is None else "CONFLICTING_FIELDS",
        fields=["trade_id", "pair_id", "trade_index"],
    )
