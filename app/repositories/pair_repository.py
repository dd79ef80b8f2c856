"""Questions about pairs."""

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.trading import PairListing
from app.models.market import Pair
from app.repositories.base import Repository


class PairRepository(Repository[Pair]):
    """Questions about pairs; a pair is never deleted, so that its trades keep their name."""

    model = Pair

    async def everything(self) -> Sequence[Pair]:
        """Every pair of every venue, by id."""
        return await self.all_of(select(Pair).order_by(Pair.id))

    async def protect_limits(self, pair_ids: Sequence[int]) -> dict[int, Decimal]:
        """How far a mark may be from the last price where exits are protected, as a fraction of it, by pair."""
        rows = await self.session.execute(select(Pair.id, Pair.price_protect_limit).where(Pair.id.in_(pair_ids)))
        return dict(rows.all())

    async def store(self, venue: str, listings: Sequence[PairListing]) -> None:
        """Insert or update the venue's pairs by symbol; those it no longer lists become inactive."""
        gone = update(Pair).where(Pair.venue == venue, Pair.is_active)
        symbols = [listing.symbol for listing in listings]
        await self.session.execute(gone.where(Pair.symbol.not_in(symbols)).values(is_active=False))
        if not listings:
            return
        rows = [asdict(listing) | {"venue": venue, "aliases": list(listing.aliases)} for listing in listings]
        insert = upsert(Pair).values(rows)
        facts = {name: insert.excluded[name] for name in rows[0] if name not in {"venue", "symbol"}}
        await self.session.execute(
            insert.on_conflict_do_update(
                index_elements=[Pair.venue, Pair.symbol],
                set_=facts | {"is_active": True, "updated_at": func.clock_timestamp()},
            )
        )
