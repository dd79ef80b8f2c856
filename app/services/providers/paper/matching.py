"""Books what ticks did: liquidations, fills and fundings, each in the venue's tables at most once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.domain.enums import PaperOrderStatus, PaperPositionStatus
from app.domain.ledger import Booking, liquidate_position, open_position
from app.domain.money import ZERO
from app.domain.order_rules import exit_side
from app.domain.positions import fee_of, liquidate_at
from app.domain.trading import VenueFill, VenueFunding
from app.models.market import Pair
from app.models.paper import PaperFill, PaperOrder, PaperPosition
from app.repositories.paper_account_repository import Owner
from app.repositories.paper_repository import Execution
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper.clerk import Clerk
from app.services.providers.paper.mapping import fills_of, known
from app.services.providers.paper.matches import ORDER_KINDS, MatchKind, PaperMatch
from app.services.providers.paper.rows import Part, Strike, closing_order, fill_row, filled, opened_position

type PairOf = Callable[[int], Pair]


@dataclass(slots=True)
class Booked:
    """What came of matches, in order: what to tell, positions to watch from now on, and orders that are over."""

    told: list[VenueFill | VenueFunding] = field(default_factory=list)
    positions: list[PaperPosition] = field(default_factory=list)
    ended: list[PaperOrder] = field(default_factory=list)


async def book_matches(work: UnitOfWork, matches: Sequence[PaperMatch], pair_of: PairOf) -> Booked:
    """Book liquidations and limits that fill at once, in order and together.

    One that is booked already tells its fill again, one whose row is gone is left out.
    """
    desk = await _open_desk(work, matches)
    for match in _first_of_each_row(matches):
        if match.kind is MatchKind.LIQUIDATION:
            desk.liquidate(match, desk.positions[match.row_id])
        else:
            desk.fill(match, desk.orders[match.row_id], pair_of(match.pair_id))
    await desk.write()
    booked = Booked(ended=desk.clerk.ended, positions=desk.stale)
    for execution in desk.executions:
        order, position = execution.order, execution.position
        booked.told += fills_of(execution, desk.owners[order.account_id].venue_account_id)
        # Those booked by an earlier try too: its caller may never have heard of them.
        if position is not None and not order.reduce_only:
            booked.positions.append(position)
    return booked


def _first_of_each_row(matches: Sequence[PaperMatch]) -> Iterable[PaperMatch]:
    firsts: dict[tuple[MatchKind, int], PaperMatch] = {}
    for match in matches:
        firsts.setdefault((match.kind, match.row_id), match)
    return firsts.values()


async def _open_desk(work: UnitOfWork, matches: Sequence[PaperMatch]) -> "_Desk":
    """Lock the accounts, and only then read what is theirs."""
    position_ids = [match.row_id for match in matches if match.kind is MatchKind.LIQUIDATION]
    order_ids = [match.row_id for match in matches if match.kind in ORDER_KINDS]
    owners = await work.paper_accounts.lock_all(await work.paper.owners(position_ids, order_ids))
    return _Desk(
        work=work,
        now=await work.paper_accounts.now(),
        owners=owners,
        clerk=Clerk(work, {account_id: owner.free for account_id, owner in owners.items()}),
        positions=await work.paper.positions(position_ids),
        orders=await work.paper.orders(order_ids),
        liquidations=await work.paper.by_client_ids([-row_id for row_id in position_ids]),
    )


@dataclass(slots=True)
class _Filling:
    """An order that fills, the position it opens or ends, its fill, and what the order is changed to."""

    order: PaperOrder
    position: PaperPosition
    fill: PaperFill
    changes: Mapping[str, object]


@dataclass(slots=True)
class _Desk:
    """Rows whose accounts are locked, by id, and what is to be done to them; `liquidations` are booked already.

    `stale` are positions that live on, since what matched them was not their last liquidation price.
    """

    work: UnitOfWork
    now: datetime
    owners: Mapping[int, Owner]
    clerk: Clerk
    positions: Mapping[int, PaperPosition]
    orders: Mapping[int, Execution]
    liquidations: Mapping[int, Execution]
    executions: list[Execution] = field(default_factory=list)
    fillings: list[_Filling] = field(default_factory=list)
    liquidating: list[_Filling] = field(default_factory=list)
    bookings: list[Booking] = field(default_factory=list)
    stale: list[PaperPosition] = field(default_factory=list)

    def liquidate(self, match: PaperMatch, position: PaperPosition) -> None:
        """Take a position over at the exit quote of the tick, unless it was closed in between."""
        client_id = -position.id
        if position.status is not PaperPositionStatus.OPEN:
            self.executions += [self.liquidations[client_id]] if client_id in self.liquidations else []
            return
        if match.version != position.version:
            self.stale.append(position)
            return
        strike = Strike(match.quote_for(exit_side(position.side)), match, self.now)
        closing = liquidate_at(position, strike.price)
        order = closing_order(client_id, position, closing.size, strike.tick.sequence)
        part = Part(closing.size, closing.fee, closing.pnl)
        changes = filled(order, part, strike, is_last=True)
        for name, value in changes.items():
            setattr(order, name, value)
        fill = fill_row(0, part, strike, position)
        fill.size_left = fill.margin_left = fill.liquidation_price = ZERO
        self.liquidating.append(_Filling(order, position, fill, changes))
        self.bookings.append(liquidate_position(position.account_id, client_id, closing))
        self.executions.append(Execution(order, position, [fill]))

    def fill(self, match: PaperMatch, execution: Execution, pair: Pair) -> None:
        """Fill a resting order at its own price, unless it was cancelled in between."""
        order = execution.order
        if order.status is not PaperOrderStatus.RESTING:
            self.executions += [execution] if order.status is PaperOrderStatus.FILLED else []
            return
        size, margin = known(order.size), known(order.collateral)
        strike = Strike(known(order.limit_price), match, self.now)
        # The fee was reserved at the rate of that day: it never becomes more.
        fee = min(fee_of(size, strike.price, pair.taker_fee_rate), order.reserved - margin)
        self.bookings.append(open_position(order.account_id, order.client_id, margin, fee, order.reserved))
        position = opened_position(order, pair, strike, size, margin)
        part = Part(size, fee)
        fill = fill_row(0, part, strike, position)
        self.fillings.append(_Filling(order, position, fill, filled(order, part, strike, is_last=True)))
        self.executions.append(Execution(order, position, [fill]))

    async def write(self) -> None:
        """Write all of it, in as few statements as it takes."""
        await self.work.paper.add_all([filling.position for filling in self.fillings])
        for filling in self.fillings:
            await self.work.paper.change_order(filling.order, position_id=filling.position.id, **filling.changes)
        await self.work.paper.add_all([filling.order for filling in self.liquidating])
        for filling in (*self.liquidating, *self.fillings):
            filling.fill.order_id, filling.fill.position_id = filling.order.id, filling.position.id
        await self.work.paper.add_all([execution.fills[0] for execution in self.executions])
        ends = [(filling.position.id, filling.order.armed_sequence) for filling in self.liquidating]
        await self.work.paper.end_positions(ends, PaperPositionStatus.LIQUIDATED, self.now)
        await self.clerk.post(*self.bookings)
        await self.clerk.end_orders_on([position_id for position_id, _ in ends])
