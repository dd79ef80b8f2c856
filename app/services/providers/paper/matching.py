"""Books what ticks did: liquidations and fills of resting orders, each in the venue's tables at most once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.domain.enums import PaperOrderStatus, PaperPositionStatus
from app.domain.ledger import Booking, liquidate_position, open_position
from app.domain.money import ZERO
from app.domain.order_rules import exit_side
from app.domain.positions import fee_of, liquidate_at
from app.domain.trading import VenueFill
from app.models.market import Pair
from app.models.paper import PaperPosition
from app.repositories.paper_repository import Execution
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper.books import MatchKind, PaperMatch
from app.services.providers.paper.mapping import fill_of, known
from app.services.providers.paper.rows import Strike, closing_order, filled, opened_position, reduced

type PairOf = Callable[[int], Pair]


@dataclass(frozen=True, slots=True)
class Booked:
    """What came of matches: the fills, in order, and the positions that are new."""

    fills: Sequence[VenueFill]
    opened: Sequence[PaperPosition]


async def book_matches(work: UnitOfWork, matches: Sequence[PaperMatch], pair_of: PairOf) -> Booked:
    """Book matches in order; one that is booked already tells its fill again, one whose row is gone is left out."""
    desk = await _open_desk(work, matches)
    for match in matches:
        if match.kind is MatchKind.LIQUIDATION:
            await desk.liquidate(match, desk.positions[match.row_id])
        else:
            await desk.fill(match, desk.orders[match.row_id], pair_of(match.pair_id))
    await work.paper_accounts.post(desk.bookings)
    fills = [
        fill_of(order, position, desk.venue_accounts[order.account_id])
        for order, position in desk.executions
        if position is not None
    ]
    return Booked(fills, desk.opened)


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


@dataclass(slots=True)
class _Desk:
    """Rows whose accounts are locked, by id, and what is being done to them; `liquidations` are booked already."""

    work: UnitOfWork
    now: datetime
    venue_accounts: Mapping[int, int]
    positions: Mapping[int, PaperPosition]
    orders: Mapping[int, Execution]
    liquidations: Mapping[int, Execution]
    executions: list[Execution] = field(default_factory=list)
    opened: list[PaperPosition] = field(default_factory=list)
    bookings: list[Booking] = field(default_factory=list)

    async def liquidate(self, match: PaperMatch, position: PaperPosition) -> None:
        """Take a position over at the exit quote of the tick, unless it was closed in between."""
        client_id = -position.id
        if position.status is not PaperPositionStatus.OPEN:
            self.executions += [self.liquidations[client_id]] if client_id in self.liquidations else []
            return
        strike = Strike(match.quote_for(exit_side(position.side)), match.mark, match.sequence, self.now)
        closing = liquidate_at(position, strike.price)
        order = await self.work.paper.add(closing_order(client_id, position, closing, strike))
        await self.work.paper.change_position(position, **reduced(closing, PaperPositionStatus.LIQUIDATED, self.now))
        self.bookings.append(liquidate_position(position.account_id, client_id, closing))
        self.executions.append(Execution(order, position))

    async def fill(self, match: PaperMatch, execution: Execution, pair: Pair) -> None:
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
        await self.work.paper.add_position(position)
        fill = filled(strike, fee, ZERO, size, margin)
        await self.work.paper.change_order(order, position_id=position.id, **fill)
        self.opened.append(position)
        self.executions.append(Execution(order, position))
