"""Questions about users."""

from app.models.user import User
from app.repositories.base import Repository


class UserRepository(Repository[User]):
    """Questions about users."""

    model = User
