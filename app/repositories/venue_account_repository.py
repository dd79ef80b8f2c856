"""Questions about users' accounts at venues."""

from app.models.market import VenueAccount
from app.repositories.base import Repository


class VenueAccountRepository(Repository[VenueAccount]):
    """Questions about venue accounts."""

    model = VenueAccount
