"""Accounts by email and password: register, log in, refresh."""

from app.api.dependencies import ClientInfoDep, ContainerDep, address_rate_limit
from app.api.errors import WITH_BODY, responses
from app.api.routing import router
from app.schemas.auth.requests import LoginRequest, RefreshRequest, RegisterRequest
from app.schemas.auth.responses import Tokens
from app.services.auth_service import TokenPair

email = router(prefix="/auth", tag="auth")


@email.post(
    "/register",
    status_code=201,
    response_model=Tokens,
    dependencies=[address_rate_limit("register")],
    responses=responses(*WITH_BODY, "ALREADY_EXISTS", "RATE_LIMITED"),
)
async def register(body: RegisterRequest, client: ClientInfoDep, container: ContainerDep) -> TokenPair:
    """Create an account and log it in."""
    return await container.auth.register(
        email=body.email, username=body.username, password=body.password, client=client
    )


@email.post(
    "/login",
    response_model=Tokens,
    dependencies=[address_rate_limit("login")],
    responses=responses(*WITH_BODY, "INVALID_CREDENTIALS", "RATE_LIMITED"),
)
async def login(body: LoginRequest, client: ClientInfoDep, container: ContainerDep) -> TokenPair:
    """Log in; the answer is the same for a wrong password and an unknown account."""
    return await container.auth.login(email=body.email, password=body.password, client=client)


@email.post(
    "/refresh",
    response_model=Tokens,
    dependencies=[address_rate_limit("refresh")],
    responses=responses(*WITH_BODY, "UNAUTHORIZED", "REFRESH_TOKEN_REUSED", "REFRESH_IN_PROGRESS", "RATE_LIMITED"),
)
async def refresh(body: RefreshRequest, container: ContainerDep) -> TokenPair:
    """Exchange a refresh token for a new pair; each is good once, and a second use ends its session."""
    return await container.auth.refresh(body.refresh_token)
