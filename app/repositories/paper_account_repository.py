"""The paper venue's money: accounts, and the ledger that every change to them is written in."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Insert,
    Integer,
    Numeric,
    String,
    Table,
    and_,
    bindparam,
    column,
    func,
    insert,
    select,
    update,
)
from sqlalchemy import (
    Sequence as NumberSequence,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.types import TypeEngine

from app.domain.ledger import Booking, Entry, LedgerAccount, deposit
from app.domain.money import ZERO
from app.models.market import VenueAccount
from app.models.paper import PaperAccount, PaperLedgerEntry, PaperOrder, PaperPosition
from app.repositories.base import Repository

_ENTRY: Mapping[str, TypeEngine[Any]] = {
    "number": Integer(),
    "account": String(),
    "account_id": BigInteger(),
    "amount": Numeric(38, 18),
    "reason": String(),
    "client_id": BigInteger(),
}
_BOOKING_NUMBER = NumberSequence("paper_ledger_id_seq").next_value()


class LockedAccount(NamedTuple):
    """An account that nobody else changes until the transaction ends; `now` was read after the lock was had."""

    account: PaperAccount
    now: datetime


class Owner(NamedTuple):
    """A locked account as fills and fundings see it: the venue account that it is ours by, and its free USDC."""

    venue_account_id: int
    free: Decimal


class AccountDifference(NamedTuple):
    """An account whose row does not say what its ledger entries sum to, or what is open and rests; all in USDC."""

    account_id: int
    balance: Decimal
    margin: Decimal
    balance_entries: Decimal
    margin_entries: Decimal
    margin_in_use: Decimal


class PaperAccountRepository(Repository[PaperAccount]):
    """Accounts are locked before anything of theirs is read to be changed, several by ascending id."""

    model = PaperAccount

    async def of_user(self, user_id: int, starting_balance: Decimal) -> PaperAccount:
        """A user's account as it is now; it is opened with `starting_balance` when first asked for."""
        query = select(PaperAccount).where(PaperAccount.user_id == user_id)
        return await self.session.scalar(query) or (await self.lock(user_id, starting_balance)).account

    async def id_of(self, user_id: int) -> int | None:
        """The id of a user's account; None before it is first asked for."""
        return await self.session.scalar(select(PaperAccount.id).where(PaperAccount.user_id == user_id))

    async def lock(self, user_id: int, starting_balance: Decimal) -> LockedAccount:
        """A user's account, locked; it is opened with `starting_balance` when first asked for."""
        locked = await self._lock(user_id)
        if locked is None:
            await self._open(user_id, starting_balance)
            locked = await self._lock(user_id)
        if locked is None:
            raise LookupError(f"the paper account of user {user_id} vanished while it was opened")
        return locked

    async def lock_all(self, ids: Sequence[int]) -> dict[int, Owner]:
        """Lock accounts by ascending id; answers who has each, by its id."""
        theirs = and_(VenueAccount.user_id == PaperAccount.user_id, VenueAccount.venue == "paper")
        query = select(PaperAccount.id, VenueAccount.id, PaperAccount.balance).join(VenueAccount, theirs)
        query = query.where(PaperAccount.id.in_(ids)).order_by(PaperAccount.id).with_for_update(of=PaperAccount)
        return {row[0]: Owner(row[1], row[2]) for row in await self.session.execute(query)}

    async def now(self) -> datetime:
        """The database's clock."""
        now: datetime = (await self.session.execute(select(func.clock_timestamp()))).scalar_one()
        return now

    async def post(self, bookings: Sequence[Booking]) -> None:
        """Write bookings, and bring the rows of their accounts, which the caller has locked, up to date with them."""
        entries = [
            (number, entry.account.value, _owner(booking, entry), entry.amount, booking.reason.value, booking.client_id)
            for number, booking in enumerate(bookings)
            for entry in booking.entries
        ]
        if not entries:
            return
        columns = zip(_ENTRY, zip(*entries, strict=True), strict=True)
        given = {name: list(values) for name, values in columns}
        await self.session.execute(_POST, {**given, "last_number": len(bookings) - 1})

    async def is_zero(self) -> bool:
        """Whether all entries sum to zero, and those of each booking do."""
        per_booking = select(PaperLedgerEntry.booking).group_by(PaperLedgerEntry.booking)
        unbalanced = per_booking.having(func.sum(PaperLedgerEntry.amount) != 0).limit(1)
        return await self.session.scalar(unbalanced) is None

    async def differences(self) -> Sequence[AccountDifference]:
        """The accounts whose rows do not agree with the rest of the books: none, unless somebody wrote by hand."""
        entries = PaperLedgerEntry
        balance = _total(entries.amount, entries.account_id, entries.account == LedgerAccount.BALANCE.value)
        margin = _total(entries.amount, entries.account_id, entries.account == LedgerAccount.MARGIN.value)
        in_use = _total(PaperPosition.margin, PaperPosition.account_id) + _total(
            PaperOrder.reserved, PaperOrder.account_id
        )
        query = (
            select(PaperAccount.id, PaperAccount.balance, PaperAccount.margin, balance, margin, in_use)
            .where(
                (PaperAccount.balance != balance) | (PaperAccount.margin != margin) | (PaperAccount.margin != in_use)
            )
            .order_by(PaperAccount.id)
        )
        return [AccountDifference(*row) for row in await self.session.execute(query)]

    async def _lock(self, user_id: int) -> LockedAccount | None:
        row = (await self.session.execute(_LOCK, {"user_id": user_id})).one_or_none()
        return LockedAccount(row[0], row[1]) if row else None

    async def _open(self, user_id: int, starting_balance: Decimal) -> None:
        """Whoever inserts the row books its money; whoever comes second waits for them, and finds both."""
        opening = upsert(PaperAccount).values(user_id=user_id, balance=ZERO, margin=ZERO)
        account_id = await self.session.scalar(opening.on_conflict_do_nothing().returning(PaperAccount.id))
        if account_id is not None:
            await self.post([deposit(account_id, starting_balance)])


def _owner(booking: Booking, entry: Entry) -> int | None:
    return booking.account_id if entry.account.is_users else None


def _post() -> Insert:
    """Write entries, each booking under a new number, and add what they sum to to the rows of their accounts."""
    series = func.generate_series(0, bindparam("last_number", type_=Integer()))
    number = series.table_valued(column("number", Integer())).render_derived()
    numbered = select(number.c.number, _BOOKING_NUMBER.label("booking")).cte("numbered").prefix_with("MATERIALIZED")
    arrays = (bindparam(name, type_=ARRAY(kind)) for name, kind in _ENTRY.items())
    given = func.unnest(*arrays).table_valued(*(column(name, kind) for name, kind in _ENTRY.items()))
    entry = select(given.render_derived()).cte("entry")
    balance, margin = (
        func.coalesce(func.sum(entry.c.amount).filter(entry.c.account == account.value), ZERO)
        for account in (LedgerAccount.BALANCE, LedgerAccount.MARGIN)
    )
    sums = select(entry.c.account_id, balance.label("balance"), margin.label("margin"))
    change = sums.where(entry.c.account_id.is_not(None)).group_by(entry.c.account_id).subquery("change")
    accounts = cast(Table, PaperAccount.__table__)
    changed = update(accounts).where(accounts.c.id == change.c.account_id)
    changed = changed.values(balance=accounts.c.balance + change.c.balance, margin=accounts.c.margin + change.c.margin)
    columns = [name for name in _ENTRY if name != "number"]
    rows = select(numbered.c.booking, *(entry.c[name] for name in columns))
    rows = rows.join(entry, numbered.c.number == entry.c.number)
    written = insert(cast(Table, PaperLedgerEntry.__table__)).from_select(["booking", *columns], rows)
    return written.add_cte(changed.cte("changed"))


def _total(amount: InstrumentedAttribute[Decimal], account_id: Any, *which: ColumnElement[bool]) -> Any:
    """What an account's rows of a table sum to, 0 where it has none."""
    total = select(func.coalesce(func.sum(amount), ZERO)).where(account_id == PaperAccount.id, *which)
    return total.scalar_subquery()


# Made once: making a statement costs more than sending it.
_POST = _post()
# The clock is read outside the locking part, and so not before the lock was had.
_LOCKING = select(PaperAccount).where(PaperAccount.user_id == bindparam("user_id", type_=BigInteger()))
_LOCK = select(
    aliased(PaperAccount, _LOCKING.with_for_update().cte().prefix_with("MATERIALIZED")), func.clock_timestamp()
).execution_options(populate_existing=True)
