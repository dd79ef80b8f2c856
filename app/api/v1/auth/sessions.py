"""The caller's account and sessions: who am I, where am I logged in, log out, WebSocket tickets."""

from app.api.dependencies import ContainerDep, CurrentUser, rate_limit
from app.api.errors import SIGNED_IN, responses
from app.api.parameters import SessionId
from app.api.routing import StrictQueryRoute, router
from app.domain.errors import Unauthorized
from app.schemas.auth.responses import SessionAnswer, SessionList, Ticket
from app.schemas.user import UserAnswer
from app.services.auth_service import TICKET_SECONDS

sessions = router(prefix="/auth", tag="auth", route_class=StrictQueryRoute)


ERRORS = responses(*SIGNED_IN, "RATE_LIMITED")
COUNTED = [rate_limit("default")]


@sessions.get("/me", response_model=UserAnswer, responses=ERRORS, dependencies=COUNTED)
async def me(user: CurrentUser, container: ContainerDep) -> UserAnswer:
    """Read the account."""
    async with container.uow() as work:
        row = await work.users.get(user.id)
    if row is None:
        raise Unauthorized
    return UserAnswer.model_validate(row)


@sessions.post("/logout", status_code=204, responses=ERRORS, dependencies=COUNTED)
async def logout(user: CurrentUser, container: ContainerDep) -> None:
    """End the session of the access token; its WebSockets are closed."""
    await container.auth.revoke_session(user.id, user.session_id, "logout")


@sessions.get("/sessions", response_model=SessionList, responses=ERRORS, dependencies=COUNTED)
async def list_sessions(user: CurrentUser, container: ContainerDep) -> SessionList:
    """List where the account is logged in."""
    rows = await container.auth.sessions(user.id)
    return SessionList(
        sessions=[
            SessionAnswer(
                id=row.public_id,
                auth_method=row.auth_method,
                ip=row.ip,
                user_agent=row.user_agent,
                created_at=row.created_at,
                last_used_at=row.last_used_at,
                expires_at=row.expires_at,
                is_current=row.public_id == user.session_id,
            )
            for row in rows
        ]
    )


@sessions.delete(
    "/sessions/{session_id}",
    status_code=204,
    responses=responses("NOT_FOUND") | ERRORS,
    dependencies=COUNTED,
)
async def revoke_session(session_id: SessionId, user: CurrentUser, container: ContainerDep) -> None:
    """End one of the account's sessions."""
    await container.auth.revoke_session(user.id, session_id, "revoked")


@sessions.post(
    "/ws-ticket",
    response_model=Ticket,
    responses=ERRORS,
    dependencies=[rate_limit("ticket")],
)
async def websocket_ticket(user: CurrentUser, container: ContainerDep) -> Ticket:
    """Get a ticket for `/ws?ticket=`, where a browser cannot set the Authorization header."""
    return Ticket(ticket=await container.auth.websocket_ticket(user), expires_in=TICKET_SECONDS)
