"""Positions, the portfolio, and starting over on paper."""

from decimal import Decimal

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit
from app.api.errors import SIGNED_IN, responses
from app.api.routing import StrictQueryRoute, router
from app.bootstrap import Container
from app.domain.errors import Conflict
from app.domain.lifecycle import LIVE_ORDER
from app.domain.money import ZERO
from app.domain.positions import roi_of, unrealised_pnl
from app.domain.routing import SANDBOX_VENUE
from app.models.trading import Position, Trade
from app.schemas.trading import PortfolioResponse, PositionList, PositionResponse

routes = router(prefix="/trading", tag="trading", route_class=StrictQueryRoute)


READ_ERRORS = responses(*SIGNED_IN, "RATE_LIMITED")


@routes.get("/positions", responses=READ_ERRORS, dependencies=[rate_limit("default")])
async def list_positions(container: ContainerDep, user: CurrentUser) -> PositionList:
    """List the caller's open positions at the current mark."""
    async with container.uow() as work:
        held = await work.positions.open_with_trades(user.id)
        exits = await work.orders.exit_ids([trade.id for _, trade in held], LIVE_ORDER)
    return PositionList(
        positions=[_position(container, position, trade, exits.get(trade.id, [])) for position, trade in held]
    )


@routes.get("/portfolio", responses=READ_ERRORS, dependencies=[rate_limit("default")])
async def portfolio(container: ContainerDep, user: CurrentUser) -> PortfolioResponse:
    """Answer the caller's money, equity and realised results at the venue that the account trades on."""
    venue = container.router.venue_of_account(is_sandbox=user.is_sandbox)
    balance = await container.market.venue_balance(user.id, venue)
    async with container.uow() as work:
        held = await work.positions.open_for(user.id)
        realised = await work.trades.realised(user.id, venue)
    valued = [pnl for position in held if (pnl := _pnl(container, position)) is not None]
    unrealised = sum(valued, ZERO)
    return PortfolioResponse(
        provider=venue,
        balance=balance.free,
        margin=balance.locked,
        unrealized_pnl=unrealised,
        equity=balance.free + balance.locked + unrealised,
        realized_pnl=realised.pnl,
        fees=realised.fees,
        funding=realised.funding,
        open_positions=len(held),
        unpriced_positions=len(held) - len(valued),
    )


@routes.post(
    "/paper/reset", responses=responses(*SIGNED_IN, "CONFLICT", "RATE_LIMITED"), dependencies=[rate_limit("trade")]
)
async def reset_paper(container: ContainerDep, user: CurrentUser) -> PortfolioResponse:
    """Bring the caller's paper account back to its starting balance; refused while anything is open."""
    async with container.uow() as work:
        if await work.trades.has_unfinished(user.id, SANDBOX_VENUE):
            raise Conflict("Close every paper trade and cancel every resting order first.")
    await container.reset_paper(user.id)
    return await portfolio(container, user)


def _mark(container: Container, pair_id: int) -> Decimal | None:
    quote = container.board.latest(pair_id)
    return None if quote is None else quote.tick.mark


def _pnl(container: Container, position: Position) -> Decimal | None:
    mark = _mark(container, position.pair_id)
    return None if mark is None else unrealised_pnl(position.side, position.size, position.entry_price, mark)


def _position(container: Container, position: Position, trade: Trade, exit_ids: list[int]) -> PositionResponse:
    pnl = _pnl(container, position)
    return PositionResponse(
        id=position.id,
        trade_id=position.trade_id,
        pair_id=position.pair_id,
        trade_index=trade.trade_index,
        pair=container.directory.by_id(position.pair_id).symbol,
        provider=position.provider,
        asset=position.asset,
        side=position.side,
        size=position.size,
        entry_price=position.entry_price,
        current_price=_mark(container, position.pair_id),
        unrealized_pnl=pnl,
        roi=None if pnl is None else roi_of(pnl, position.margin),
        liquidation_price=position.liquidation_price,
        margin=position.margin,
        funding=trade.funding,
        leverage=position.leverage,
        exit_order_ids=exit_ids,
        created_at=position.created_at,
        updated_at=position.updated_at,
    )
