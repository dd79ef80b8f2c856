"""Where price feeds start: each venue's base of sequences, and the highest sequence ever used."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, union_all
from sqlalchemy.dialects.postgresql import insert as upsert

from app.models.market import FeedState, Pair, PriceCheckpoint
from app.models.paper import PaperOrder, PaperPosition
from app.models.trading import Order
from app.repositories.base import Repository


class CheckpointRepository(Repository[PriceCheckpoint]):
    """Feed states, and the sequences that a feed which starts anew must stay above."""

    model = PriceCheckpoint

    async def feed_state(self, venue: str) -> FeedState | None:
        """How the venue's feed was last started, locked against another start."""
        return await self.session.get(FeedState, venue, with_for_update=True)

    async def save_feed_state(self, venue: str, identity: str, base: int, started_at: datetime) -> None:
        """Note how the venue's feed is started now."""
        insert = upsert(FeedState).values(venue=venue, identity=identity, base=base, started_at=started_at)
        facts = {name: insert.excluded[name] for name in ("identity", "base", "started_at")}
        await self.session.execute(insert.on_conflict_do_update(index_elements=[FeedState.venue], set_=facts))

    async def highest_sequence(self, venue: str) -> int:
        """The highest sequence that checkpoints and orders remember of the venue's pairs; 0 where none does."""
        used = [
            (PriceCheckpoint.pair_id, PriceCheckpoint.sequence),
            (Order.pair_id, Order.armed_sequence),
            (PaperPosition.pair_id, PaperPosition.armed_sequence),
            (PaperOrder.pair_id, PaperOrder.armed_sequence),
            (PaperOrder.pair_id, PaperOrder.fill_sequence),
        ]
        highest: Sequence[int | None] = (
            await self.session.scalars(
                union_all(
                    *(
                        select(func.max(sequence)).where(pair_id == Pair.id, Pair.venue == venue)
                        for pair_id, sequence in used
                    )
                )
            )
        ).all()
        return max((sequence for sequence in highest if sequence is not None), default=0)
