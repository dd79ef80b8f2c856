"""What is left of the caller's limits."""

import math
from decimal import Decimal

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit, room_of
from app.api.errors import SIGNED_IN, responses
from app.api.routing import StrictQueryRoute, router
from app.bootstrap import Container
from app.domain.limits import Caps, Usage
from app.domain.trading_state import Subject
from app.schemas.control import LimitsResponse, RateRoom, Room, VenueRoom
from app.services.auth_service import AuthenticatedUser

# No pair has it: the state is told that all pairs of a venue share.
NO_PAIR = 0

routes = router(prefix="/limits", tag="limits", route_class=StrictQueryRoute)


@routes.get("", responses=responses(*SIGNED_IN, "RATE_LIMITED"), dependencies=[rate_limit("default")])
async def get_limits(container: ContainerDep, user: CurrentUser) -> LimitsResponse:
    """Answer what the caller may still open at each venue, and how many requests of each class are left."""
    return LimitsResponse(
        venues=[await _venue_room(container, user, venue) for venue in _venues(container, user)],
        rate_limits=[await _rate_room(container, user, name) for name in container.settings.rate_limits],
    )


def _venues(container: Container, user: AuthenticatedUser) -> list[str]:
    if user.is_sandbox:
        return [container.router.venue_of_account(is_sandbox=True)]
    return sorted(container.router.rules.venues)


async def _venue_room(container: Container, user: AuthenticatedUser, venue: str) -> VenueRoom:
    async with container.uow() as work:
        account = await work.venue_accounts.of_user(user.id, venue)
        usage = Usage() if account is None else await work.exposure.usage(account.id)
    ruling = container.states.ruling(Subject(user.id, NO_PAIR, venue))
    caps = container.market.caps(venue)
    return VenueRoom(
        venue=venue,
        state=ruling.state,
        reason=ruling.reason,
        open_trades=_room(caps, usage, "open_trades"),
        open_orders=_room(caps, usage, "open_orders"),
        notional=_room(caps, usage, "notional"),
    )


def _room(caps: Caps, usage: Usage, name: str) -> Room:
    most, current = Decimal(getattr(caps, name)), Decimal(getattr(usage, name))
    if not most:
        return Room(max=None, current=current, left=None)
    return Room(max=most, current=current, left=max(Decimal(0), most - current))


async def _rate_room(container: Container, user: AuthenticatedUser, name: str) -> RateRoom:
    verdict = await room_of(container, name, f"u:{user.id}")
    if verdict is None:
        return RateRoom(name=name, per_minute=0, remaining=None, full_in_seconds=0)
    return RateRoom(
        name=name,
        per_minute=verdict.policy.per_minute,
        remaining=verdict.remaining,
        full_in_seconds=math.ceil(verdict.full_seconds),
    )
