"""What the order engine keeps: leases with fencing tokens, each pair's checkpoint, and watermark rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    BigInteger,
    CursorResult,
    Integer,
    Interval,
    Numeric,
    delete,
    func,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeEngine

from app.domain.enums import PositionSide, TriggerBy
from app.domain.prices import Tick
from app.domain.triggers import Activated
from app.models.market import Lease, PriceCheckpoint, WatermarkRow
from app.models.trading import Order
from app.repositories.base import insert_of, values_table


@dataclass(frozen=True, slots=True)
class WatermarkKey:
    """Names one watermark row of a pair."""

    trigger_by: TriggerBy
    price_protect: bool
    side: PositionSide
    from_sequence: int


@dataclass(frozen=True, slots=True)
class EngineState:
    """A pair as of one judged tick, and how its watermark rows changed since the state saved before.

    `activated` are the trailing stops that began since then.
    """

    tick: Tick
    upserts: dict[WatermarkKey, Decimal]
    deletes: list[WatermarkKey]
    activated: Sequence[Activated] = field(default_factory=tuple)


class Saved(NamedTuple):
    """The pairs whose state was written, how many a newer token refused, and the orders that are activated by it.

    A state whose activated order another transaction holds is neither: it is to be saved again.
    """

    written: Collection[int]
    refused: int
    activated: Sequence[int]


_ACTIVATION: Mapping[str, TypeEngine[Any]] = {
    "id": BigInteger(),
    "version": Integer(),
    "sequence": BigInteger(),
    "price": Numeric(38, 18),
}


class EngineStateRepository:
    """Leases, checkpoints and watermark rows."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def take_lease(self, name: str, holder: str, life: timedelta, *, predecessor_is_dead: bool) -> int | None:
        """Take a lease that is free, expired, ours, or whose holder is known to be dead; its token, or None.

        The token grows with each change of holder.
        """
        now = func.clock_timestamp()
        await self.session.execute(
            upsert(Lease).values(name=name, holder=None, token=0, expires_at=now).on_conflict_do_nothing()
        )
        statement = update(Lease).where(Lease.name == name)
        if not predecessor_is_dead:
            statement = statement.where(or_(Lease.expires_at < now, Lease.holder.is_(None), Lease.holder == holder))
        return await self.session.scalar(
            statement.values(holder=holder, token=Lease.token + 1, expires_at=now + life).returning(Lease.token)
        )

    async def renew_lease(self, name: str, token: int, life: timedelta) -> bool:
        """Hold on to a lease; False when another holder has taken it."""
        result = await self.session.execute(
            update(Lease)
            .where(Lease.name == name, Lease.token == token)
            .values(expires_at=func.clock_timestamp() + life)
        )
        return cast(CursorResult[Any], result).rowcount == 1

    async def confirm_lease(self, name: str, token: int) -> bool:
        """Whether a lease is still held under a token; if so nobody takes it before this transaction ends."""
        held = select(Lease.token).where(Lease.name == name, Lease.token == token).with_for_update(read=True)
        return await self.session.scalar(held) is not None

    async def held_among(self, names: Collection[str]) -> set[str]:
        """Those of the leases that somebody holds now."""
        held = select(Lease.name).where(
            Lease.name.in_(names), Lease.holder.is_not(None), Lease.expires_at > func.clock_timestamp()
        )
        return set(await self.session.scalars(held))

    async def time_left(self, names: Collection[str]) -> dict[str, timedelta]:
        """How long each of the leases still lasts, below zero where it is over; of those that somebody held once."""
        left = type_coerce(Lease.expires_at - func.clock_timestamp(), Interval)
        query = select(Lease.name, left).where(Lease.name.in_(names))
        return dict((await self.session.execute(query)).all())

    async def release_lease(self, name: str, token: int) -> None:
        """Let go of a lease, so that another may take it at once."""
        await self.session.execute(
            update(Lease)
            .where(Lease.name == name, Lease.token == token)
            .values(holder=None, expires_at=func.clock_timestamp())
        )

    async def checkpoints(self, pair_ids: Sequence[int]) -> dict[int, PriceCheckpoint]:
        """The checkpoint of each pair that has one."""
        rows = await self.session.scalars(select(PriceCheckpoint).where(PriceCheckpoint.pair_id.in_(pair_ids)))
        return {row.pair_id: row for row in rows}

    async def watermarks(self, pair_ids: Sequence[int]) -> Sequence[WatermarkRow]:
        """The watermark rows of pairs, by pair and sequence."""
        query = select(WatermarkRow).where(WatermarkRow.pair_id.in_(pair_ids))
        return (await self.session.scalars(query.order_by(WatermarkRow.pair_id, WatermarkRow.from_sequence))).all()

    async def save(self, states: Sequence[EngineState], token: int) -> Saved:
        """Write the states of several pairs under a fencing token."""
        locked = await self._lock_orders([one.order_id for state in states for one in state.activated])
        free = [state for state in states if locked.issuperset(one.order_id for one in state.activated)]
        ordered = sorted(free, key=lambda state: state.tick.pair_id)
        if not ordered:
            return Saved((), 0, ())
        written = await self._save_checkpoints([state.tick for state in ordered], token)
        accepted = [state for state in ordered if state.tick.pair_id in written]
        activated = await self._save_activations([one for state in accepted for one in state.activated])
        await self._delete_watermarks(accepted)
        await self._upsert_watermarks(accepted)
        return Saved(written, len(ordered) - len(accepted), activated)

    async def _lock_orders(self, ids: Sequence[int]) -> set[int]:
        """Orders come before checkpoints; the token that is checked with these decides whether they are written.

        Those that nobody else holds.
        """
        if not ids:
            return set()
        query = select(Order.id).where(Order.id.in_(ids)).order_by(Order.id).with_for_update(skip_locked=True)
        return set(await self.session.scalars(query))

    async def _save_activations(self, activated: Sequence[Activated]) -> Sequence[int]:
        """Note where trailing stops began, unless their terms have changed since; also of those that fired since."""
        if not activated:
            return ()
        seen = values_table(_ACTIVATION, [(one.order_id, one.version, one.sequence, one.price) for one in activated])
        statement = update(Order).where(
            Order.id == seen.c.id, Order.version == seen.c.version, Order.activated_sequence.is_(None)
        )
        began = {"activated_sequence": seen.c.sequence, "armed_sequence": seen.c.sequence, "armed_price": seen.c.price}
        written = await self.session.scalars(
            statement.values(began).returning(Order.id), execution_options={"synchronize_session": False}
        )
        return sorted(written)

    async def _save_checkpoints(self, ticks: Sequence[Tick], token: int) -> set[int]:
        rows = [
            {
                "pair_id": tick.pair_id,
                "sequence": tick.sequence,
                "token": token,
                "bid": tick.bid,
                "ask": tick.ask,
                "tick_at": tick.at,
            }
            for tick in ticks
        ]
        insert = insert_of(PriceCheckpoint, rows)
        written = await self.session.scalars(
            insert.on_conflict_do_update(
                index_elements=[PriceCheckpoint.pair_id],
                set_={name: insert.excluded[name] for name in ("sequence", "token", "bid", "ask", "tick_at")},
                where=PriceCheckpoint.token <= token,
            ).returning(PriceCheckpoint.pair_id)
        )
        return set(written)

    async def _delete_watermarks(self, states: Sequence[EngineState]) -> None:
        gone = [
            (state.tick.pair_id, key.trigger_by, key.price_protect, key.side, key.from_sequence)
            for state in states
            for key in state.deletes
        ]
        if gone:
            key = tuple_(
                WatermarkRow.pair_id,
                WatermarkRow.trigger_by,
                WatermarkRow.price_protect,
                WatermarkRow.side,
                WatermarkRow.from_sequence,
            )
            await self.session.execute(delete(WatermarkRow).where(key.in_(gone)))

    async def _upsert_watermarks(self, states: Sequence[EngineState]) -> None:
        rows = [
            {
                "pair_id": state.tick.pair_id,
                "trigger_by": key.trigger_by,
                "price_protect": key.price_protect,
                "side": key.side,
                "from_sequence": key.from_sequence,
                "extreme": extreme,
            }
            for state in states
            for key, extreme in state.upserts.items()
        ]
        if rows:
            insert = upsert(WatermarkRow)
            await self.session.execute(
                insert.on_conflict_do_update(
                    index_elements=["pair_id", "trigger_by", "price_protect", "side", "from_sequence"],
                    set_={"extreme": insert.excluded.extreme},
                ),
                rows,
            )
