"""The paper venue's money: accounts, and the ledger that every change to them is written in."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, Integer, Numeric, String, and_, func, insert, select
from sqlalchemy import literal as bind

from app.domain.ledger import Booking
from app.models.market import VenueAccount
from app.models.paper import PaperAccount, PaperLedgerEntry
from app.repositories.base import Repository

_AMOUNT = Numeric(38, 18)


class LockedAccount(NamedTuple):
    """An account that nobody else changes until the end of the transaction; `now` is after the lock was had."""

    account: PaperAccount
    now: datetime


class AccountDifference(NamedTuple):
    """An account whose row does not say what its entries sum to; both as (balance, margin) in USDC."""

    account_id: int
    row: tuple[Decimal, Decimal]
    entries: tuple[Decimal, Decimal]


class PaperAccountRepository(Repository[PaperAccount]):
    """Accounts are locked before anything of theirs is read to be changed, several by ascending id."""

    model = PaperAccount

    async def of_user(self, user_id: int, starting_balance: Decimal) -> PaperAccount:
        """A user's account as it is now; it is opened with `starting_balance` when first asked for."""
        query = select(PaperAccount).where(PaperAccount.user_id == user_id)
        return await self.session.scalar(query) or (await self.lock(user_id, starting_balance)).account

    async def lock(self, user_id: int, starting_balance: Decimal) -> LockedAccount:
        """A user's account, locked; it is opened with `starting_balance` when first asked for."""
        locked = await self._lock(user_id)
        if locked is None:
            await self._open(user_id, starting_balance)
            locked = await self._lock(user_id)
        if locked is None:
            raise LookupError(f"the paper account of user {user_id} vanished while it was opened")
        return locked

    async def lock_all(self, ids: Sequence[int]) -> dict[int, int]:
        """Lock accounts; the venue account of each by its id."""
        theirs = and_(VenueAccount.user_id == PaperAccount.user_id, VenueAccount.venue == "paper")
        query = select(PaperAccount.id, VenueAccount.id).join(VenueAccount, theirs).where(PaperAccount.id.in_(ids))
        rows = await self.session.execute(query.order_by(PaperAccount.id).with_for_update(of=PaperAccount))
        return {account_id: venue_account_id for account_id, venue_account_id in rows}

    async def post(self, bookings: Sequence[Booking]) -> None:
        """Write bookings and bring their accounts, which the caller has locked, up to date with them."""
        entries = [(i, booking, entry) for i, booking in enumerate(bookings) for entry in booking.entries]
        if not entries:
            return
        number = select(func.generate_series(0, bind(len(bookings) - 1, Integer)).column_valued("number")).subquery()
        numbered = (
            select(number.c.number, func.nextval("paper_ledger_id_seq").label("booking"))
            .cte()
            .prefix_with("MATERIALIZED")
        )
        row = _rows(
            number=(Integer, [i for i, _, _ in entries]),
            account=(String, [entry.account.value for _, _, entry in entries]),
            account_id=(BigInteger, [b.account_id if e.account.is_users else None for _, b, e in entries]),
            amount=(_AMOUNT, [entry.amount for _, _, entry in entries]),
            reason=(String, [booking.reason.value for _, booking, _ in entries]),
            client_id=(BigInteger, [booking.client_id for _, booking, _ in entries]),
        )
        columns = ["account", "account_id", "amount", "reason", "client_id"]
        source = select(numbered.c.booking, *(row.c[name] for name in columns)).join(
            numbered, numbered.c.number == row.c.number
        )
        await self.session.execute(insert(PaperLedgerEntry).from_select(["booking", *columns], source))
        await self._apply(bookings)
