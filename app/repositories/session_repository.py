"""Questions about login sessions."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, bindparam, func, or_, select, update

from app.models.auth import Session
from app.models.user import User
from app.repositories.base import Repository

MOST_SPENT = 1000


class SessionRepository(Repository[Session]):
    """Questions about sessions; tokens are given as their hashes."""

    model = Session

    async def alive(self, public_id: UUID, now: datetime) -> tuple[Session, User] | None:
        """A session that is neither revoked nor over, with its active user."""
        row = (await self.session.execute(_ALIVE, {"public_id": public_id, "now": now})).first()
        return None if row is None else (row[0], row[1])

    async def alive_among(self, public_ids: Collection[UUID], now: datetime) -> set[UUID]:
        """Those of the sessions that are neither revoked nor over, of active users."""
        query = (
            select(Session.public_id)
            .join(User, User.id == Session.user_id)
            .where(
                Session.public_id.in_(public_ids),
                Session.revoked_at.is_(None),
                Session.expires_at > now,
                User.is_active,
            )
        )
        return set(await self.session.scalars(query))

    async def by_refresh_token(self, hashed: str) -> Session | None:
        """The session that has or had this refresh token, locked."""
        query = select(Session).where(
            or_(Session.refresh_token == hashed, Session.spent_refresh_tokens.contains([hashed]))
        )
        return await self.session.scalar(query.with_for_update())

    async def rotate(
        self, row: Session, *, token: str, refresh_token: str, now: datetime, expires_at: datetime
    ) -> None:
        """Exchange the tokens of a locked session; the old refresh token is remembered as spent."""
        spent = [*row.spent_refresh_tokens, row.refresh_token][-MOST_SPENT:]
        statement = update(Session).where(Session.id == row.id, Session.refresh_token == row.refresh_token)
        await self.session.execute(
            statement.values(
                token=token,
                refresh_token=refresh_token,
                spent_refresh_tokens=spent,
                rotated_at=now,
                last_used_at=now,
                expires_at=expires_at,
            )
        )

    async def open_of(self, user_id: int, now: datetime) -> Sequence[Session]:
        """A user's sessions that can still be used, the newest first."""
        query = select(Session).where(
            Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > now
        )
        return await self.all_of(query.order_by(Session.id.desc()))

    async def revoke(self, user_id: int, public_id: UUID, reason: str) -> bool:
        """End one session of a user; False when there is none that can be ended."""
        statement = (
            update(Session)
            .where(Session.user_id == user_id, Session.public_id == public_id, Session.revoked_at.is_(None))
            .values(revoked_at=func.clock_timestamp(), revoke_reason=reason)
        )
        return cast(CursorResult[Any], await self.session.execute(statement)).rowcount == 1


# Made once: making a statement costs more than sending it.
_ALIVE = (
    select(Session, User)
    .join(User, User.id == Session.user_id)
    .where(
        Session.public_id == bindparam("public_id"),
        Session.revoked_at.is_(None),
        Session.expires_at > bindparam("now"),
        User.is_active,
    )
)
