"""Books what ticks did: liquidations and fills of resting orders, each in the venue's tables at most once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.domain.enums import PaperOrderStatus, PaperPositionStatus
from app.domain.ledger import Booking, liquidate_position, open_position
from app.domain.money import ZERO
from app.domain.order_rules import exit_side
from app.domain.positions import fee_of, liquidate_at
from app.domain.trading import VenueFill
from app.models.market import Pair
from app.models.paper import PaperOrder, PaperPosition
from app.repositories.paper_repository import Execution
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper.books import MatchKind, PaperMatch
from app.services.providers.paper.mapping import fill_of, known
from app.services.providers.paper.rows import Strike, closing_order, filled, opened_position

type PairOf = Callable[[int], Pair]


@dataclass(frozen=True, slots=True)
class Booked:
    """What came of matches: the fills, in order, and the positions that orders opened."""

    fills: Sequence[VenueFill]
    opened: Sequence[PaperPosition]


async def book_matches(work: UnitOfWork, matches: Sequence[PaperMatch], pair_of: PairOf) -> Booked:
    """Book matches in order; one that is booked already tells its fill again, one whose row is gone is left out."""
    desk = await _open_desk(work, matches)
    for match in _first_of_each_row(matches):
        if match.kind is MatchKind.LIQUIDATION:
            desk.liquidate(match, desk.positions[match.row_id])
        else:
            desk.fill(match, desk.orders[match.row_id], pair_of(match.pair_id))
    await desk.write()
    fills = [
        fill_of(order, position, desk.venue_accounts[order.account_id])
        for order, position in desk.executions
        if position is not None
    ]
    # Those booked by an earlier try too: its caller may never have heard of them.
    return Booked(fills, [position for order, position in desk.executions if position and not order.reduce_only])


def _first_of_each_row(matches: Sequence[PaperMatch]) -> Iterable[PaperMatch]:
    firsts: dict[tuple[MatchKind, int], PaperMatch] = {}
    for match in matches:
        firsts.setdefault((match.kind, match.row_id), match)
    return firsts.values()


async def _open_desk(work: UnitOfWork, matches: Sequence[PaperMatch]) -> "_Desk":
    """Lock the accounts, and only then read what is theirs."""
    position_ids, order_ids = (
        [match.row_id for match in matches if match.kind is kind]
        for kind in (MatchKind.LIQUIDATION, MatchKind.LIMIT_FILL)
    )
    owners = await work.paper.owners(position_ids, order_ids)
    venue_accounts = await work.paper_accounts.lock_all(owners)
    return _Desk(
        work=work,
        now=await work.paper_accounts.now(),
        venue_accounts=venue_accounts,
        positions=await work.paper.positions(position_ids),
        orders=await work.paper.orders(order_ids),
        liquidations=await work.paper.by_client_ids([-row_id for row_id in position_ids]),
    )


@dataclass(frozen=True, slots=True)
class _Filling:
    """A resting order that fills, the position it opens, and what it is changed to."""

    order: PaperOrder
    position: PaperPosition
    changes: Mapping[str, object]


@dataclass(slots=True)
class _Desk:
    """Rows whose accounts are locked, by id, and what is to be done to them; `liquidations` are booked already."""

    work: UnitOfWork
    now: datetime
    venue_accounts: Mapping[int, int]
    positions: Mapping[int, PaperPosition]
    orders: Mapping[int, Execution]
    liquidations: Mapping[int, Execution]
    executions: list[Execution] = field(default_factory=list)
    fillings: list[_Filling] = field(default_factory=list)
    liquidating: list[PaperOrder] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    bookings: list[Booking] = field(default_factory=list)

    def liquidate(self, match: PaperMatch, position: PaperPosition) -> None:
        """Take a position over at the exit quote of the tick, unless it was closed in between."""
        client_id = -position.id
        if position.status is not PaperPositionStatus.OPEN:
            self.executions += [self.liquidations[client_id]] if client_id in self.liquidations else []
            return
        strike = Strike(match.quote_for(exit_side(position.side)), match.mark, match.sequence, self.now)
        closing = liquidate_at(position, strike.price)
        order = closing_order(client_id, position, closing, strike)
        self.liquidating.append(order)
        self.ended.append(position.id)
        self.bookings.append(liquidate_position(position.account_id, client_id, closing))
        self.executions.append(Execution(order, position))

    def fill(self, match: PaperMatch, execution: Execution, pair: Pair) -> None:
        """Fill a resting order at its own price, unless it was cancelled in between."""
        order = execution.order
        if order.status is not PaperOrderStatus.RESTING:
            self.executions += [execution] if order.status is PaperOrderStatus.FILLED else []
            return
        size, margin = known(order.size), known(order.collateral)
        strike = Strike(known(order.limit_price), match.mark, match.sequence, self.now)
        # The fee was reserved at the rate of that day: it never becomes more.
        fee = min(fee_of(size, strike.price, pair.taker_fee_rate), order.reserved - margin)
        self.bookings.append(open_position(order.account_id, order.client_id, margin, fee, order.reserved))
        position = opened_position(order, pair, strike)
        self.fillings.append(_Filling(order, position, filled(strike, fee, ZERO, size, margin)))
        self.executions.append(Execution(order, position))

    async def write(self) -> None:
        """Write all of it, in as few statements as it takes."""
        await self.work.paper.add_all([filling.position for filling in self.fillings])
        for filling in self.fillings:
            await self.work.paper.change_order(filling.order, position_id=filling.position.id, **filling.changes)
        await self.work.paper.add_all(self.liquidating)
        await self.work.paper.end_positions(self.ended, PaperPositionStatus.LIQUIDATED, self.now)
        await self.work.paper_accounts.post(self.bookings)
