"""Questions about login sessions."""

from app.models.auth import Session
from app.repositories.base import Repository


class SessionRepository(Repository[Session]):
    """Questions about sessions."""

    model = Session
