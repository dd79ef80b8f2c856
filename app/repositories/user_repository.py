"""Questions about users."""

from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.models.user import User
from app.repositories.base import Repository


class UserRepository(Repository[User]):
    """Questions about users; emails and usernames are unique whatever their case."""

    model = User

    async def by_email(self, email: str) -> User | None:
        """The user with this email."""
        return await self.session.scalar(select(User).where(func.lower(User.email) == email.lower()))

    async def taken(self, *, email: str, username: str) -> list[str]:
        """Which of "email" and "username" somebody has already."""
        is_same = or_(func.lower(User.email) == email.lower(), func.lower(User.username) == username.lower())
        found = await self.all_of(select(User).where(is_same))
        return [
            name
            for name, value in (("email", email), ("username", username))
            if any(getattr(user, name).lower() == value.lower() for user in found)
        ]

    async def add_unless_taken(self, **values: object) -> User | None:
        """Insert a user; None when email or username is somebody's, also of one who came at the same instant."""
        statement = insert(User).values(**values).on_conflict_do_nothing().returning(User)
        return await self.session.scalar(statement)

    async def note_login(self, user_id: int, at: datetime, *, hashed_password: str | None = None) -> None:
        """Keep when a user last logged in, and the hash by newer parameters where there is one."""
        values: dict[str, object] = {"last_login_at": at}
        if hashed_password is not None:
            values["hashed_password"] = hashed_password
        await self.session.execute(update(User).where(User.id == user_id).values(**values))

    async def promote(self, email: str) -> bool:
        """Make an administrator of the user with this email; False where there is none."""
        statement = update(User).where(func.lower(User.email) == email.lower()).values(is_superuser=True)
        return await self.session.scalar(statement.returning(User.id)) is not None
