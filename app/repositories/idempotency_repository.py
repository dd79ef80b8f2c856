"""Records of idempotent requests."""

from app.models.event import IdempotencyRecord
from app.repositories.base import Repository


class IdempotencyRepository(Repository[IdempotencyRecord]):
    """Claim a key, bind it to an order, store its answer."""

    model = IdempotencyRecord
