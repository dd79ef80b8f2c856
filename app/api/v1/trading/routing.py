"""Why an asset trades where it does."""

from typing import Annotated

from fastapi import Query

from app.api.dependencies import TOKEN_IS_OPTIONAL, ContainerDep, OptionalUser, rate_limit
from app.api.errors import SIGNED_IN, responses
from app.api.routing import StrictQueryRoute, router
from app.schemas.base import SafeStr
from app.schemas.pair import RouteResponse

routes = router(prefix="/routing", tag="routing", route_class=StrictQueryRoute)


@routes.get(
    "/explain",
    responses=responses("UNSUPPORTED_ASSET", "AMBIGUOUS_ASSET", *SIGNED_IN, "RATE_LIMITED"),
    openapi_extra=TOKEN_IS_OPTIONAL,
    dependencies=[rate_limit("price")],
)
async def explain_route(
    container: ContainerDep,
    user: OptionalUser,
    asset: Annotated[SafeStr, Query(min_length=1, max_length=40, description="A base or a symbol")],
) -> RouteResponse:
    """Tell which venue serves an asset for the caller, and which rule decided it."""
    route = container.router.explain(asset, sandbox=user is not None and user.is_sandbox)
    pair = container.directory.resolve_asset(asset, route.venue)
    return RouteResponse(
        asset=asset,
        pair_id=pair.id,
        symbol=pair.symbol,
        category=pair.category,
        venue=route.venue,
        reason=route.reason,
        rule=route.rule,
    )
