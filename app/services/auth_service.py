"""Accounts and logins: register, log in, refresh, log out, and who a token belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from loguru import logger

from app.core.brute_force import BruteForceGuard
from app.core.cache import Cache
from app.core.clock import Clock
from app.core.json import decode, encode
from app.core.security import AccessClaims, AccessTokens, PasswordHasher, fingerprint, random_token
from app.domain.channels import SESSION_REVOKED_TOPIC
from app.domain.enums import AuthMethod, FeatureAccessLevel
from app.domain.errors import Conflict, NotFound, Unauthorized
from app.models.auth import Session
from app.models.user import User
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.session_cache import SessionCache

REFRESH_GRACE = timedelta(seconds=10)
TICKET_SECONDS = 30


@dataclass(frozen=True, slots=True)
class SessionLife:
    """How long tokens and sessions live: an access token, a session without and with refreshes."""

    access: timedelta
    idle: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Where a request came from, as a session shows it to its owner."""

    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login gives: both tokens, and the seconds that the access token lives."""

    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class AuthenticatedUser:
    """Who asks: an active user with an open session; `expires_at` is the access token's end."""

    id: int
    email: str
    permissions: tuple[str, ...]
    feature_access_level: FeatureAccessLevel
    is_superuser: bool
    is_sandbox: bool
    session_id: UUID
    expires_at: datetime


class AuthService:
    """Everything about accounts and sessions that needs no outside party."""

    def __init__(
        self,
        *,
        uow: UnitOfWorkFactory,
        clock: Clock,
        cache: Cache,
        hasher: PasswordHasher,
        tokens: AccessTokens,
        life: SessionLife,
        known: SessionCache,
    ) -> None:
        self._uow = uow
        self._clock = clock
        self._cache = cache
        self._hasher = hasher
        self._tokens = tokens
        self._life = life
        self._known = known
        self._guard = BruteForceGuard(cache, clock)

    async def register(self, *, email: str, username: str, password: str, client: ClientInfo) -> TokenPair:
        """Create an account and log it in; Conflict ALREADY_EXISTS names the field that is taken."""
        email = email.lower()
        async with self._uow() as work:
            await _refuse_taken(work, email, username)
        hashed = await self._hasher.hash(password)
        async with self._uow() as work:
            user = await work.users.add_unless_taken(
                email=email,
                username=username,
                hashed_password=hashed,
                auth_method=AuthMethod.EMAIL,
                last_login_at=self._clock.now(),
            )
            if user is None:
                await _refuse_taken(work, email, username)
                raise Conflict(code="ALREADY_EXISTS")
            return await self._open_session(work, user, client)

    async def login(self, *, email: str, password: str, client: ClientInfo) -> TokenPair:
        """Open a session; INVALID_CREDENTIALS tells not whether password or account is wrong."""
        email = email.lower()
        await self._guard.attempt(email)
        async with self._uow() as work:
            user = await work.users.by_email(email)
        hashed = user.hashed_password if user is not None and user.is_active else None
        if not await self._hasher.verify(hashed, password) or user is None or hashed is None:
            raise Unauthorized(code="INVALID_CREDENTIALS")
        await self._guard.success(email)
        newer = await self._hasher.hash(password) if self._hasher.needs_rehash(hashed) else None
        async with self._uow() as work:
            await work.users.note_login(user.id, self._clock.now(), hashed_password=newer)
            return await self._open_session(work, user, client)

    async def refresh(self, refresh_token: str) -> TokenPair:
        """Exchange a refresh token for new tokens.

        A spent one ends its session (REFRESH_TOKEN_REUSED), except right after its exchange, when a client may have
        sent it twice (409 REFRESH_IN_PROGRESS).
        """
        hashed, now = fingerprint(refresh_token), self._clock.now()
        async with self._uow() as work:
            row = await work.sessions.by_refresh_token(hashed)
            if row is None or row.revoked_at is not None or row.expires_at <= now:
                raise Unauthorized("The refresh token is not valid; log in again.")
            if row.refresh_token == hashed:
                return await self._rotate(work, row, now)
            is_last_spent = row.spent_refresh_tokens[-1] == hashed
            if is_last_spent and row.rotated_at is not None and now - row.rotated_at <= REFRESH_GRACE:
                raise Conflict(code="REFRESH_IN_PROGRESS")
            await _revoke(work, row.user_id, row.public_id, "refresh_token_reused")
        await self._known.forget(row.public_id)
        logger.warning("a spent refresh token came back; session {session} was ended", session=row.public_id)
        raise Unauthorized(code="REFRESH_TOKEN_REUSED")

    async def current_user(self, token: str) -> AuthenticatedUser:
        """Who a valid access token belongs to; Unauthorized once its session or account is closed."""
        claims = self._tokens.read(token)
        return await self._authenticated(claims.session_id, claims.user_id, claims.expires_at)

    async def sessions(self, user_id: int) -> Sequence[Session]:
        """A user's open sessions, the newest first."""
        async with self._uow() as work:
            return await work.sessions.open_of(user_id, self._clock.now())

    async def revoke_session(self, user_id: int, session_id: UUID, reason: str) -> None:
        """End a session of a user, and whatever is connected through it; NotFound when it is not theirs or ended."""
        async with self._uow() as work:
            if not await _revoke(work, user_id, session_id, reason):
                raise NotFound
        await self._known.forget(session_id)

    async def websocket_ticket(self, user: AuthenticatedUser) -> str:
        """A ticket that stands once, for 30 seconds, in place of the access token; Unavailable where none is kept."""
        ticket = random_token("mqt_")
        value = {"user_id": user.id, "session_id": user.session_id, "expires_at": user.expires_at}
        await self._cache.add(_ticket_key(ticket), encode(value), ttl_seconds=TICKET_SECONDS)
        return ticket

    async def redeem_ws_ticket(self, ticket: str) -> AuthenticatedUser | None:
        """Who a ticket belongs to; None when it is unknown, used, too old, or its session is closed."""
        kept = await self._cache.pop(_ticket_key(ticket))
        if kept is None:
            return None
        value = decode(kept)
        expires_at = datetime.fromisoformat(value["expires_at"])
        try:
            return await self._authenticated(UUID(value["session_id"]), value["user_id"], expires_at)
        except Unauthorized:
            return None

    async def _authenticated(self, session_id: UUID, user_id: int, expires_at: datetime) -> AuthenticatedUser:
        facts = await self._known.find(session_id)
        if facts is None:
            async with self._uow() as work:
                found = await work.sessions.alive(session_id, self._clock.now())
            facts = None if found is None else await self._known.keep(*found)
        if facts is None or facts["id"] != user_id:
            raise Unauthorized
        return AuthenticatedUser(
            id=user_id,
            email=facts["email"],
            permissions=tuple(facts["permissions"]),
            feature_access_level=FeatureAccessLevel(facts["feature_access_level"]),
            is_superuser=facts["is_superuser"],
            is_sandbox=facts["is_sandbox"],
            session_id=session_id,
            expires_at=expires_at,
        )

    async def _open_session(self, work: UnitOfWork, user: User, client: ClientInfo) -> TokenPair:
        now = self._clock.now()
        session_id, token_id, refresh_token = uuid4(), uuid4().hex, random_token("mqr_")
        await work.sessions.add(
            Session(
                public_id=session_id,
                user_id=user.id,
                token=fingerprint(token_id),
                refresh_token=fingerprint(refresh_token),
                auth_method=user.auth_method,
                ip=client.ip,
                user_agent=client.user_agent,
                last_used_at=now,
                expires_at=now + self._life.idle,
                absolute_expires_at=now + self._life.longest,
            )
        )
        return self._pair(user, session_id, token_id, refresh_token)

    async def _rotate(self, work: UnitOfWork, row: Session, now: datetime) -> TokenPair:
        user = await work.users.get(row.user_id)
        if user is None or not user.is_active:
            raise Unauthorized
        token_id, refresh_token = uuid4().hex, random_token("mqr_")
        await work.sessions.rotate(
            row,
            token=fingerprint(token_id),
            refresh_token=fingerprint(refresh_token),
            now=now,
            expires_at=min(now + self._life.idle, row.absolute_expires_at),
        )
        return self._pair(user, row.public_id, token_id, refresh_token)

    def _pair(self, user: User, session_id: UUID, token_id: str, refresh_token: str) -> TokenPair:
        claims = AccessClaims(
            user_id=user.id,
            email=user.email,
            auth_method=user.auth_method.value,
            permissions=tuple(user.permissions),
            session_id=session_id,
            token_id=token_id,
            expires_at=self._clock.now() + self._life.access,
        )
        return TokenPair(self._tokens.issue(claims), refresh_token, int(self._life.access.total_seconds()))


async def _refuse_taken(work: UnitOfWork, email: str, username: str) -> None:
    if taken := await work.users.taken(email=email, username=username):
        verb = "is" if len(taken) == 1 else "are"
        raise Conflict(f"The {' and the '.join(taken)} {verb} taken.", code="ALREADY_EXISTS", fields=taken)


async def _revoke(work: UnitOfWork, user_id: int, session_id: UUID, reason: str) -> bool:
    is_revoked = await work.sessions.revoke(user_id, session_id, reason)
    if is_revoked:
        work.hint(SESSION_REVOKED_TOPIC, str(session_id).encode())
    return is_revoked


def _ticket_key(ticket: str) -> str:
    return f"ws-ticket:{fingerprint(ticket)}"
