"""Trading states: read and set by administrators, audited."""

from typing import Annotated

from fastapi import Path

from app.api.dependencies import AdminUser, ContainerDep, rate_limit
from app.api.errors import SIGNED_IN, WITH_BODY, responses
from app.api.routing import StrictQueryRoute, router
from app.domain.enums import StateScope
from app.schemas.base import SafeStr
from app.schemas.control import (
    SetTradingStateRequest,
    TradingStateChangeResponse,
    TradingStateList,
    TradingStateResponse,
)

SHOWN_CHANGES = 100

routes = router(prefix="/admin/trading-states", tag="admin", route_class=StrictQueryRoute)


@routes.get("", responses=responses(*SIGNED_IN, "FORBIDDEN", "RATE_LIMITED"), dependencies=[rate_limit("admin")])
async def list_trading_states(container: ContainerDep, user: AdminUser) -> TradingStateList:
    """List every state that was ever set, and the latest changes."""
    async with container.uow() as work:
        rows = await work.trading_states.all()
        changes = await work.trading_states.changes(before=None, limit=SHOWN_CHANGES)
    return TradingStateList(
        states=[TradingStateResponse.model_validate(row) for row in rows],
        changes=[TradingStateChangeResponse.model_validate(change) for change in changes],
    )


@routes.put(
    "/{scope}/{key}",
    responses=responses(*WITH_BODY, *SIGNED_IN, "FORBIDDEN", "NOT_FOUND", "RATE_LIMITED"),
    dependencies=[rate_limit("admin")],
)
async def set_trading_state(
    scope: Annotated[StateScope, Path(description="What it is about; `key` says which")],
    key: Annotated[
        SafeStr, Path(min_length=1, max_length=32, description="`all`, a venue's name, a pair's or a user's id")
    ],
    body: SetTradingStateRequest,
    container: ContainerDep,
    user: AdminUser,
) -> TradingStateResponse:
    """Halt, reduce or release trading of everything, a venue, a pair or a user; it counts at once."""
    row = await container.states.set_state(scope, key, body.state, body.reason, f"user {user.id}")
    return TradingStateResponse.model_validate(row)
