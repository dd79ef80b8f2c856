"""The paper venue's books."""

from app.models.paper import PaperOrder
from app.repositories.base import Repository


class PaperRepository(Repository[PaperOrder]):
    """Accounts, ledger, orders and positions of the paper venue."""

    model = PaperOrder
