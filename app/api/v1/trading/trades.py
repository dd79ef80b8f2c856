"""Open, preview, read and close trades."""

from decimal import Decimal
from typing import Annotated

from fastapi import Query, Request, Response

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit
from app.api.errors import SIGNED_IN, WITH_BODY, responses
from app.api.idempotency import KEY_ERRORS, IdempotencyKey, Once
from app.api.paging import PageDep
from app.api.parameters import TradeIndex, TradePairId
from app.api.routing import StrictQueryRoute, router
from app.api.v1.trading.orders import order_responses
from app.domain.enums import OrderRole, OrderStatus, TradeStatus
from app.domain.errors import Conflict, NotFound, ProviderTimeout
from app.schemas.base import Fraction
from app.schemas.trading import (
    CloseTradeResponse,
    OpenTradeResponse,
    PreviewResponse,
    Refusal,
    TradeDetail,
    TradeList,
    TradeResponse,
)
from app.schemas.trading_requests import OpenTradeRequest
from app.services.auth_service import AuthenticatedUser
from app.services.trading_service import Placed, Trader, refusal_of

routes = router(prefix="/trading", tag="trading", route_class=StrictQueryRoute)

OPEN_ERRORS = (
    *WITH_BODY,
    "MISSING_FIELD",
    "CONFLICTING_FIELDS",
    "UNSUPPORTED_ASSET",
    "AMBIGUOUS_ASSET",
    "TOO_MANY_DECIMALS",
    "SIZE_BELOW_MINIMUM",
    "SIZE_ABOVE_MAXIMUM",
    "LEVERAGE_OUT_OF_RANGE",
    "STOP_WRONG_SIDE",
    "TAKE_PROFIT_WRONG_SIDE",
    "ACTIVATION_WRONG_SIDE",
    "TRIGGER_PRICE_UNKNOWN",
    "STOP_BEYOND_LIQUIDATION",
    "INSUFFICIENT_BALANCE",
    "SLIPPAGE_EXCEEDED",
    "EXPIRED_REQUEST",
    *SIGNED_IN,
    "FEATURE_NOT_ENABLED",
    "MARKET_CLOSED",
    "POSITION_CONFLICT",
    "LEVERAGE_CONFLICT",
    "LIMIT_EXCEEDED",
    "ALREADY_EXISTS",
    *KEY_ERRORS,
    "RATE_LIMITED",
    "TRADE_EXECUTION_FAILED",
    "PRICE_STALE",
    "TRADING_HALTED",
    "ENGINE_UNAVAILABLE",
    "PROVIDER_TIMEOUT",
)
# What opening would be refused for, a preview tells in its answer.
PREVIEW_ERRORS = (*WITH_BODY, "UNSUPPORTED_ASSET", "AMBIGUOUS_ASSET", *SIGNED_IN, "RATE_LIMITED", "PRICE_STALE")


def trader_of(user: AuthenticatedUser) -> Trader:
    """Who trades, as the services know them."""
    return Trader(user.id, "trade" in user.permissions, user.is_sandbox)


@routes.post(
    "/trades",
    status_code=201,
    response_model=OpenTradeResponse,
    responses=responses(*OPEN_ERRORS),
    dependencies=[rate_limit("trade")],
)
async def open_trade(
    request: Request, body: OpenTradeRequest, container: ContainerDep, user: CurrentUser, key: IdempotencyKey
) -> Response:
    """Open a trade; every exit field given attaches its exit to the new position.

    Answers `success` with the fill when the venue settles in time, else `pending`: the rest comes by event.
    """
    once = Once(request, container, user.id, 201)
    return await once.answer(key, lambda: container.trading.open_trade(trader_of(user), body.to_terms(), key), _opened)


@routes.post("/preview", responses=responses(*PREVIEW_ERRORS), dependencies=[rate_limit("default")])
async def preview(body: OpenTradeRequest, container: ContainerDep, user: CurrentUser) -> PreviewResponse:
    """Answer size, fee, liquidation price and refusals of an opening request, with no effect."""
    seen = await container.trading.preview(trader_of(user), body.to_terms())
    return PreviewResponse(
        pair_id=seen.pair.id,
        pair=seen.pair.symbol,
        provider=seen.venue,
        side=seen.side,
        entry_price=seen.entry_price,
        size=seen.size,
        notional=seen.notional,
        fee=seen.fee,
        margin=seen.margin,
        liquidation_price=seen.liquidation_price,
        free_balance=seen.free_balance,
        refusals=[Refusal(code=r.code, message=r.message, details=dict(r.details)) for r in seen.refusals],
    )


@routes.get("/trades", responses=responses(*SIGNED_IN, "RATE_LIMITED"), dependencies=[rate_limit("default")])
async def list_trades(
    container: ContainerDep,
    user: CurrentUser,
    page: PageDep,
    status: Annotated[list[TradeStatus] | None, Query(max_length=8, description="Only these; may be repeated")] = None,
) -> TradeList:
    """List the caller's trades, newest first."""
    async with container.uow() as work:
        rows = await work.trades.of_user(user.id, statuses=status, before=page.before, limit=page.wanted)
    shown, cursor = page.cut(rows)
    return TradeList(trades=[TradeResponse.model_validate(row) for row in shown], next_cursor=cursor)


@routes.get(
    "/trades/{pair_id}/{index}",
    responses=responses(*SIGNED_IN, "TRADE_NOT_FOUND", "RATE_LIMITED"),
    dependencies=[rate_limit("default")],
)
async def get_trade(pair_id: TradePairId, index: TradeIndex, container: ContainerDep, user: CurrentUser) -> TradeDetail:
    """Answer one trade with its orders, whatever its state."""
    async with container.uow() as work:
        trade = await work.trades.at(user.id, pair_id, index)
        if trade is None:
            raise NotFound(code="TRADE_NOT_FOUND", pair_id=pair_id, trade_index=index)
        orders = await order_responses(work, await work.orders.of_trade(trade.id))
    summary = TradeResponse.model_validate(trade)
    return TradeDetail(**summary.model_dump(), orders=orders)


@routes.delete(
    "/trades/{pair_id}/{index}",
    response_model=CloseTradeResponse,
    responses=responses(
        "SIZE_BELOW_MINIMUM",
        *SIGNED_IN,
        "PAIR_NOT_FOUND",
        "TRADE_NOT_FOUND",
        "TRADE_CLOSING",
        "CONFLICT",
        "MARKET_CLOSED",
        *KEY_ERRORS,
        "RATE_LIMITED",
        "TRADE_EXECUTION_FAILED",
        "PRICE_STALE",
        "TRADING_HALTED",
        "PROVIDER_TIMEOUT",
    ),
    dependencies=[rate_limit("close")],
)
async def close_trade(
    request: Request,
    pair_id: TradePairId,
    index: TradeIndex,
    container: ContainerDep,
    user: CurrentUser,
    key: IdempotencyKey,
    fraction: Annotated[Fraction, Query(description="Part of the open size to close")] = Decimal(1),
) -> Response:
    """Close a trade, whole or in part; one without any fill has its entry cancelled."""
    once = Once(request, container, user.id, 200)
    return await once.answer(
        key, lambda: container.trading.close_trade(trader_of(user), pair_id, index, fraction, key), _closed
    )


async def _opened(placed: Placed) -> OpenTradeResponse:
    order, trade = placed.order, placed.trade
    _raise_unsettled(order.status, placed)
    is_filled = order.status is OrderStatus.FILLED
    return OpenTradeResponse(
        transaction_hash=order.transaction_hash if is_filled else None,
        pair_id=trade.pair_id,
        trade_index=trade.trade_index,
        status="success" if is_filled else "pending",
        order_id=order.id,
        trade_id=trade.id,
        exit_order_ids=[exit_order.id for exit_order in placed.exits],
        entry_price=order.average_price if is_filled else None,
        size=order.filled_quantity if is_filled else None,
        fee=order.fee if is_filled else None,
    )


async def _closed(placed: Placed) -> CloseTradeResponse:
    order, trade = placed.order, placed.trade
    _raise_unsettled(order.status, placed)
    if order.role is OrderRole.ENTRY and order.status is OrderStatus.FILLED:
        raise Conflict("The entry filled before its cancel arrived; close the trade.", order_id=order.id)
    status = "closing"
    if order.role is OrderRole.ENTRY and order.status is OrderStatus.CANCELLED:
        status = "cancelled"
    elif order.status is OrderStatus.FILLED:
        status = "closed" if trade.status is TradeStatus.CLOSED else "partially_closed"
    return CloseTradeResponse(
        transaction_hash=order.transaction_hash,
        status=status,
        order_id=order.id,
        trade_id=trade.id,
        exit_price=order.average_price if order.role is OrderRole.CLOSE else None,
        pnl=placed.pnl,
    )


def _raise_unsettled(status: OrderStatus, placed: Placed) -> None:
    """Raise what a refused order, or one whose outcome is unknown, is answered with."""
    if status is OrderStatus.UNKNOWN:
        raise ProviderTimeout(order_id=placed.order.id, outcome="unknown")
    if status in (OrderStatus.REJECTED, OrderStatus.FAILED):
        trade = placed.trade
        if placed.order.role is OrderRole.CLOSE and trade.status in (TradeStatus.LIQUIDATED, TradeStatus.CLOSED):
            raise NotFound(
                f"The trade had ended before this close: it is {trade.status}.",
                code="TRADE_NOT_FOUND",
                trade_id=trade.id,
                status=trade.status,
                closed_at=trade.closed_at,
            )
        raise refusal_of(placed.order, trade.provider)
