"""The dead man's switch: cancels what rests when its owner no longer reports."""

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit
from app.api.errors import SIGNED_IN, WITH_BODY, responses
from app.api.routing import StrictQueryRoute, router
from app.domain.enums import SwitchScope
from app.models.control import DeadManSwitch
from app.schemas.control import CancelAllAfterRequest, CancelAllAfterResponse

routes = router(prefix="/trading/cancel-all-after", tag="trading", route_class=StrictQueryRoute)


@routes.post("", responses=responses(*WITH_BODY, *SIGNED_IN, "RATE_LIMITED"), dependencies=[rate_limit("default")])
async def cancel_all_after(
    body: CancelAllAfterRequest, container: ContainerDep, user: CurrentUser
) -> CancelAllAfterResponse:
    """Cancel the caller's resting entries after so many seconds, unless this is called again before; 0 disarms.

    It is kept on the database's clock and obeyed after a restart.
    """
    return _told(await container.switches.arm(user.id, body.timeout_seconds, body.scope), body.scope)


@routes.get("", responses=responses(*SIGNED_IN, "RATE_LIMITED"), dependencies=[rate_limit("default")])
async def get_cancel_all_after(container: ContainerDep, user: CurrentUser) -> CancelAllAfterResponse:
    """Tell whether the caller's switch is armed, and when it fires."""
    return _told(await container.switches.of_user(user.id), SwitchScope.ENTRIES)


def _told(switch: DeadManSwitch | None, scope: SwitchScope) -> CancelAllAfterResponse:
    if switch is None:
        return CancelAllAfterResponse(armed=False, fires_at=None, scope=scope, firing=False)
    return CancelAllAfterResponse(
        armed=switch.fires_at is not None,
        fires_at=switch.fires_at,
        scope=switch.scope,
        firing=switch.fired_at is not None,
    )
