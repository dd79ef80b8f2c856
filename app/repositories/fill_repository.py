"""Questions about fills."""

from app.models.trading import Fill
from app.repositories.base import Repository


class FillRepository(Repository[Fill]):
    """Questions about fills."""

    model = Fill
