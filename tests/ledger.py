"""What must hold of the paper venue's books at any moment."""

from app.repositories.unit_of_work import UnitOfWorkFactory


async def assert_books_balance(uow: UnitOfWorkFactory) -> None:
    """The ledger sums to zero, and each account's row says what its entries sum to."""
    async with uow() as work:
        assert await work.paper_accounts.is_zero()
        assert list(await work.paper_accounts.differences()) == []
