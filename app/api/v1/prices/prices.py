"""Prices: one, many, and candles."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path, Query, Request, Response
from pydantic import AwareDatetime

from app.api.dependencies import TOKEN_IS_OPTIONAL, ContainerDep, OptionalUser, rate_limit
from app.api.errors import SIGNED_IN, responses
from app.api.parameters import PairText
from app.api.routing import StrictQueryRoute, router, wants_strings
from app.bootstrap import Container
from app.core.json import encode
from app.domain.candles import CandleInterval, window
from app.domain.errors import InvalidRequest
from app.models.market import Pair
from app.schemas.price import CandleList, CandleResponse, PairName, PriceError, PriceList, PriceResponse
from app.services.auth_service import AuthenticatedUser
from app.services.price_board import no_price_yet

MOST_PAIRS = 100
MOST_CANDLES = 1000
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

routes = router(prefix="/prices", tag="prices", route_class=StrictQueryRoute)
price_limit = rate_limit("price")

UseCache = Annotated[
    bool, Query(description="Whether a price kept for up to 30 s will do where this process has seen none yet")
]


@routes.get(
    "",
    responses=responses(*SIGNED_IN, "RATE_LIMITED"),
    openapi_extra=TOKEN_IS_OPTIONAL,
    dependencies=[price_limit],
)
async def list_prices(
    container: ContainerDep,
    user: OptionalUser,
    pairs: Annotated[
        str, Query(max_length=4200, description="Up to 100 pairs, separated by commas", examples=["BTCUSDT,EURUSD"])
    ],
    use_cache: UseCache = True,
) -> PriceList:
    """Answer the prices of several pairs; those that are unknown or have no price yet are told beside them."""
    names = list(dict.fromkeys(name for part in pairs.split(",") if (name := part.strip())))
    if not 0 < len(names) <= MOST_PAIRS:
        wrong = {"field": "query.pairs", "code": "pairs_count", "message": f"Name 1 to {MOST_PAIRS} pairs"}
        raise InvalidRequest(errors=[wrong])
    is_sandbox = user is not None and user.is_sandbox
    answer = PriceList(prices=[], errors=[])
    for name in names:
        venue = await container.router.route_for_asset(name, sandbox=is_sandbox)
        # Looking for names like it, as a single request does, would take long for a hundred.
        found = container.directory.find(name, venue)
        if len(found) != 1:
            answer.errors.append(PriceError(pair=name, code="PAIR_NOT_FOUND"))
        elif container.board.latest(found[0].id) is not None:
            answer.prices.append(PriceResponse.model_validate(container.board.price(found[0])))
        elif use_cache and (kept := await container.price_cache.find(found[0])) is not None:
            answer.prices.append(PriceResponse.model_validate(kept))
        else:
            answer.errors.append(PriceError(pair=name, code="PRICE_STALE"))
    return answer


@routes.get(
    "/{pair}/candles",
    responses=responses("PAIR_NOT_FOUND", *SIGNED_IN, "RATE_LIMITED"),
    openapi_extra=TOKEN_IS_OPTIONAL,
    dependencies=[price_limit],
)
async def list_candles(
    container: ContainerDep,
    user: OptionalUser,
    pair: PairText,
    interval: Annotated[CandleInterval, Query(description="How long each candle is")] = CandleInterval.ONE_MINUTE,
    start: Annotated[AwareDatetime | None, Query(description="From the candle that holds this instant on")] = None,
    end: Annotated[AwareDatetime | None, Query(description="Before this instant")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_CANDLES, description="Candles at most, empty ones counted")] = 100,
) -> CandleList:
    """Answer a pair's candles of the mark price: forward from `start` where it is given, else the latest."""
    if start is not None and end is not None and start > end:
        wrong = {"field": "query.start", "code": "start_after_end", "message": "Name a start that is before the end"}
        raise InvalidRequest(errors=[wrong])
    found = await _routed(container, user, pair)
    first, last = window(interval, _bounded(start), _bounded(end), limit, container.clock.now())
    async with container.read_uow() as work:
        bars = await work.candles.bars(found.id, interval, first, last)
    candles = [CandleResponse.model_validate(bar) for bar in bars]
    return CandleList(pair=found.symbol, interval=interval, candles=candles)


@routes.get(
    "/{pair}",
    response_model=PriceResponse,
    responses=responses("PAIR_NOT_FOUND", "PRICE_STALE", *SIGNED_IN, "RATE_LIMITED"),
    openapi_extra=TOKEN_IS_OPTIONAL,
    dependencies=[price_limit],
)
async def get_price(
    request: Request,
    container: ContainerDep,
    user: OptionalUser,
    pair: PairText,
    use_cache: UseCache = True,
) -> Response:
    """Answer the last price of a pair, stale or not, from the venue that the pair routes to."""
    found = await _routed(container, user, pair)
    body = container.ready_prices.body(found, numbers_as_strings=wants_strings(request))
    if body is None:
        kept = await container.price_cache.find(found) if use_cache else None
        if kept is None:
            raise no_price_yet(found)
        shape = PriceResponse.model_validate(kept)
        body = encode(shape.model_dump(), numbers_as_strings=wants_strings(request))
    return Response(body, media_type="application/json")


@routes.get("/{base}/{quote}", include_in_schema=False, response_model=PriceResponse, dependencies=[price_limit])
async def get_price_of_base_and_quote(
    request: Request,
    container: ContainerDep,
    user: OptionalUser,
    base: Annotated[PairName, Path()],
    quote: Annotated[PairName, Path()],
    use_cache: UseCache = True,
) -> Response:
    """Answer the price of BTC/USD, which is how people write a pair, slash and all."""
    return await get_price(request, container, user, f"{base}/{quote}", use_cache)


def _bounded(instant: datetime | None) -> datetime | None:
    """An instant in UTC within the years that candles can have."""
    return None if instant is None else min(max(instant, EARLIEST), LATEST).astimezone(UTC)


async def _routed(container: Container, user: AuthenticatedUser | None, text: str) -> Pair:
    return await container.ready_prices.find(text, sandbox=user is not None and user.is_sandbox)
