"""What can be traded, with an ETag: the list changes rarely."""

import hashlib
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response

from app.api.dependencies import TOKEN_IS_OPTIONAL, ContainerDep, rate_limit
from app.api.errors import SIGNED_IN, responses
from app.api.routing import StrictQueryRoute, router, wants_strings
from app.core.json import encode
from app.domain.enums import Category
from app.models.market import Pair
from app.schemas.pair import PairList

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing has changed since the ETag in If-None-Match."}
}

routes = router(prefix="/trading", tag="trading", route_class=StrictQueryRoute)


@routes.get(
    "/pairs",
    response_model=PairList,
    responses=responses(*SIGNED_IN, "RATE_LIMITED") | NOT_MODIFIED,
    openapi_extra=TOKEN_IS_OPTIONAL,
    dependencies=[rate_limit("price")],
)
async def list_pairs(
    request: Request,
    container: ContainerDep,
    venue: Annotated[str | None, Query(max_length=16, description="Only this venue's")] = None,
    category: Annotated[Category | None, Query(description="Only this asset class")] = None,
    if_none_match: Annotated[str | None, Header(description="ETags of answers that the caller has")] = None,
) -> Response:
    """List what can be traded, and on what terms."""
    pairs = [_facts(pair) for pair in container.directory.listed(venue, category)]
    body = encode({"pairs": pairs}, numbers_as_strings=wants_strings(request))
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    # The middleware's no-store would keep browsers from asking whether their copy still holds.
    headers = {"ETag": etag, "Cache-Control": "public, no-cache", "Vary": "Accept"}
    if _has(if_none_match or "", etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _has(if_none_match: str, etag: str) -> bool:
    """Whether a list of ETags, weak ones too, names ours."""
    named = {text.strip().removeprefix("W/") for text in if_none_match.split(",")}
    return bool(named & {etag, "*"})


def _facts(pair: Pair) -> dict[str, object]:
    own = {name: getattr(pair, name) for name in _COLUMNS}
    return own | {"asset_type": pair.category.code}


_COLUMNS = (
    "id",
    "symbol",
    "base",
    "quote",
    "aliases",
    "category",
    "venue",
    "price_step",
    "size_step",
    "min_leverage",
    "max_leverage",
    "min_collateral",
    "max_collateral",
    "taker_fee_rate",
    "maintenance_margin_rate",
    "price_protect_limit",
    "market_hours",
)
