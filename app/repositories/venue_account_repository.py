"""Questions about users' accounts at venues."""

from sqlalchemy import BigInteger, bindparam, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.models.market import VenueAccount
from app.models.user import User
from app.repositories.base import Repository


class VenueAccountRepository(Repository[VenueAccount]):
    """Questions about venue accounts."""

    model = VenueAccount

    async def get_for_update(self, row_id: int) -> VenueAccount | None:
        """The account as it is now, locked until the end of the transaction.

        FOR NO KEY UPDATE: rows that name the account may be written meanwhile. Else a close, which holds its trade and
        writes an intent, would wait for who holds the account and wants the trade: each for the other.
        """
        return await self.session.get(VenueAccount, row_id, with_for_update={"key_share": True}, populate_existing=True)

    async def lock_all_of(self, user_id: int) -> bool:
        """Lock every account of a user, and let no other be made; False where one was made meanwhile.

        After True, every order of the user is committed, or will be written after this transaction.
        """
        mine = select(VenueAccount.id).where(VenueAccount.user_id == user_id).order_by(VenueAccount.id)
        held = (await self.session.scalars(mine.with_for_update(key_share=True))).all()
        # An account that is being made cannot be seen yet, but whoever makes it keeps its user from being locked.
        await self.session.execute(select(User.id).where(User.id == user_id).with_for_update())
        return (await self.session.scalars(mine)).all() == held

    async def of_user(self, user_id: int, venue: str) -> VenueAccount | None:
        """A user's account at a venue."""
        return await self.session.scalar(
            select(VenueAccount).where(VenueAccount.user_id == user_id, VenueAccount.venue == venue)
        )

    async def ensure(self, user_id: int, venue: str) -> VenueAccount:
        """A user's account at a venue, made when there is none."""
        existing = await self.of_user(user_id, venue)
        if existing is not None:
            return existing
        row = upsert(VenueAccount).values(user_id=user_id, venue=venue)
        await self.session.execute(row.on_conflict_do_nothing(index_elements=["user_id", "venue"]))
        made = await self.of_user(user_id, venue)
        if made is None:
            raise LookupError(f"venue account of user {user_id} at {venue} vanished")
        return made

    async def ensure_locked(self, user_id: int, venue: str) -> VenueAccount:
        """A user's account at a venue, made when there is none, locked: its user's requests run one by one."""
        locked = await self.session.scalar(_LOCKED, {"user_id": user_id, "venue": venue})
        if locked is not None:
            return locked
        account = await self.ensure(user_id, venue)
        return await self.get_for_update(account.id) or account


# Made once: making a statement costs more than sending it.
_LOCKED = (
    select(VenueAccount)
    .where(VenueAccount.user_id == bindparam("user_id", type_=BigInteger()), VenueAccount.venue == bindparam("venue"))
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)
