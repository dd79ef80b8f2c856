"""Books what must be done one by one: parts of orders, native exits, fundings, all of one step of one tick."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.enums import OrderSide, PaperOrderStatus, PaperPositionStatus, PositionSide
from app.domain.order_rules import exit_side
from app.models.market import Pair
from app.models.paper import PaperOrder, PaperPosition
from app.repositories.paper_repository import LIVE, Execution
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper.admission import Refused, check_slippage, sized
from app.services.providers.paper.clerk import Clerk
from app.services.providers.paper.mapping import fills_of, known
from app.services.providers.paper.matches import MatchKind, PaperMatch
from app.services.providers.paper.matching import Booked, PairOf
from app.services.providers.paper.rows import Strike
from app.services.providers.paper.terms import PaperTerms


async def book_steps(work: UnitOfWork, matches: Sequence[PaperMatch], pair_of: PairOf, terms: PaperTerms) -> Booked:
    """Book the fills of orders by one step of one tick, in order; one that is booked already is told again."""
    owners = await work.paper_accounts.lock_all(await work.paper.owners([], [match.row_id for match in matches]))
    clerk = Clerk(work, {account_id: owner.free for account_id, owner in owners.items()}, is_netted=terms.netting)
    now = await work.paper_accounts.now()
    booked = Booked(ended=clerk.ended)
    for match in matches:
        # Read anew for each: one before it may have changed the position, or ended the order.
        found = (await work.paper.orders([match.row_id]))[match.row_id]
        done = await _Step(clerk, match, pair_of(match.pair_id), now).take(found)
        booked.told += fills_of(done, owners[done.order.account_id].venue_account_id)
        if done.position is not None and not done.order.reduce_only:
            booked.positions.append(done.position)
        if done.order.status not in LIVE:
            booked.ended.append(done.order)
    return booked


@dataclass(frozen=True, slots=True)
class _Step:
    """One fill of one order at the tick of its match."""

    clerk: Clerk
    match: PaperMatch
    pair: Pair
    now: datetime

    async def take(self, found: Execution) -> Execution:
        """Carry it out, unless it was before; what stands then, with that fill."""
        order, position, fills = found
        if order.fill_count > self.match.number:
            return Execution(order, position, [fills[self.match.number]])
        if order.status not in LIVE or order.fill_count < self.match.number:
            return Execution(order, position)
        try:
            return await (self._leave(order, position) if order.reduce_only else self._enter(order, position))
        except Refused as refusal:
            await self.clerk.end(order, refusal)
            return Execution(order, position)

    async def _enter(self, order: PaperOrder, position: PaperPosition | None) -> Execution:
        if position is None:
            position = await self.clerk.netted(order.account_id, self.pair, _held_side(order), known(order.leverage))
        else:
            _check_open(position)
        strike = self._strike(order)
        size = known(order.size)
        if order.settle_ticks and not order.fill_count:
            size = sized(known(order.collateral), known(order.leverage), strike.price, self.pair)
        return await self.clerk.enter(order, position, self.pair, strike, size)

    async def _leave(self, order: PaperOrder, position: PaperPosition | None) -> Execution:
        held = known(position)
        _check_open(held)
        if self.match.kind is MatchKind.EXIT:
            strike = Strike(self.match.quote_for(exit_side(held.side)), self.match, self.now)
        else:
            strike = self._strike(order)
        return await self.clerk.leave(order, held, self.pair, strike)

    def _strike(self, order: PaperOrder) -> Strike:
        """A limit fills at its own price; a market order at the quote, where that is within its slippage."""
        price = self.match.quote_for(order.side)
        if order.status is PaperOrderStatus.RESTING:
            price = known(order.limit_price)
        else:
            check_slippage(order.side, price, order.reference_price, order.max_slippage)
        return Strike(price, self.match, self.now)


def _held_side(order: PaperOrder) -> PositionSide:
    """The side of what an opening order opens."""
    return PositionSide.LONG if order.side is OrderSide.BUY else PositionSide.SHORT


def _check_open(position: PaperPosition) -> None:
    if position.status is not PaperPositionStatus.OPEN:
        raise Refused("POSITION_NOT_FOUND")
