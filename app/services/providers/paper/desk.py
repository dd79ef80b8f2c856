"""What the paper venue does with a request while it holds the account."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.domain import ledger
from app.domain.enums import OrderType, PaperPositionStatus
from app.domain.money import ZERO
from app.domain.prices import Quote
from app.domain.trading import CloseParams, ExitParams, TradeParams
from app.models.market import Pair
from app.models.paper import PaperOrder, PaperPosition
from app.repositories.paper_account_repository import LockedAccount
from app.repositories.paper_repository import LIVE, Execution
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper.admission import (
    Opening,
    Refused,
    check_exit,
    check_exit_support,
    fresh,
    in_time,
    plan_closing,
    plan_opening,
)
from app.services.providers.paper.clerk import Clerk
from app.services.providers.paper.mapping import known
from app.services.providers.paper.rows import AnyParams, Strike, closing_order, exit_order, opening_order, refused_order
from app.services.providers.paper.terms import PaperTerms


@dataclass(frozen=True, slots=True)
class Moment:
    """The pair and its quote as this process sees them now; `now` by this process's clock, as the quote's receipt."""

    pair: Pair
    quote: Quote | None
    now: datetime

    @property
    def sequence(self) -> int:
        """The last tick seen; 0 before the first."""
        return self.quote.tick.sequence if self.quote else 0


class Desk:
    """One request on one locked account. A refusal is kept under its client id, like everything that is done."""

    def __init__(self, work: UnitOfWork, locked: LockedAccount, terms: PaperTerms) -> None:
        self._work = work
        self._account_id = locked.account.id
        self._now = locked.now
        self._terms = terms
        self._clerk = Clerk(work, {locked.account.id: locked.account.balance}, is_netted=terms.netting)

    @property
    def ended(self) -> Sequence[PaperOrder]:
        """The orders that this request took off."""
        return self._clerk.ended

    async def find(self, client_id: int) -> Execution | None:
        """What stands under a client id of this account."""
        found = (await self._work.paper.by_client_ids([client_id])).get(client_id)
        return found if found and found.order.account_id == self._account_id else None

    async def open(self, params: TradeParams, moment: Moment) -> Execution:
        """Fill an opening order or its first part, let it rest or work, or refuse it."""
        terms = self._terms
        try:
            in_time(params.not_after, self._now)
            held = await self._clerk.netted(self._account_id, moment.pair, params.side, params.leverage)
            quote = fresh(moment.quote, moment.pair, moment.now)
            free = self._clerk.free(self._account_id)
            opening = plan_opening(params, moment.pair, quote, free, terms.fill_parts)
        except Refused as refusal:
            return await self._refuse(params, moment, refusal)
        order = opening_order(params, self._account_id, opening, moment.sequence, terms)
        waits = opening.is_resting or (terms.settle_ticks and params.order_type is not OrderType.LIMIT)
        return await self._rest(order) if waits else await self._fill(order, held, opening, quote, moment)

    async def close(self, params: CloseParams, position_id: int, moment: Moment) -> Execution:
        """Reduce a position by what is asked, at most by what there is, now or at coming ticks, or refuse to."""
        try:
            in_time(params.not_after, self._now)
            position = await self._open_position(position_id, moment.pair)
            quote = fresh(moment.quote, moment.pair, moment.now)
            price = plan_closing(params, moment.pair, quote)
        except Refused as refusal:
            return await self._refuse(params, moment, refusal)
        size = min(params.size, position.size)
        order = closing_order(params.client_id, position, size, moment.sequence, params, self._terms)
        if self._terms.settle_ticks:
            return Execution(await self._work.paper.add(order), position)
        return await self._clerk.leave(order, position, moment.pair, self._strike(price, quote))

    async def hold(self, params: ExitParams, position_id: int, moment: Moment) -> Execution:
        """Let a native exit rest, or refuse it."""
        try:
            check_exit_support(self._terms)
            in_time(params.not_after, self._now)
            position = await self._open_position(position_id, moment.pair)
            quote = fresh(moment.quote, moment.pair, moment.now)
            check_exit(params, moment.pair, quote.tick.mark)
        except Refused as refusal:
            return await self._refuse(params, moment, refusal)
        order = exit_order(params, position, quote.tick.mark, moment.sequence)
        return Execution(await self._work.paper.add(order), position)

    async def cancel(self, order: PaperOrder) -> None:
        """Take off what is left of an order, and give back what it still reserves."""
        if order.status in LIVE:
            await self._clerk.end(order, None)

    async def _rest(self, order: PaperOrder) -> Execution:
        await self._clerk.post(ledger.reserve(self._account_id, order.client_id, order.reserved))
        return Execution(await self._work.paper.add(order), None)

    async def _fill(
        self, order: PaperOrder, held: PaperPosition | None, opening: Opening, quote: Quote, moment: Moment
    ) -> Execution:
        """Fill an order as it arrives; only one of several parts reserves what is left."""
        if order.parts == 1:
            order.reserved = ZERO
        else:
            await self._clerk.post(ledger.reserve(self._account_id, order.client_id, order.reserved))
        strike = self._strike(opening.price, quote)
        return await self._clerk.enter(order, held, moment.pair, strike, known(order.size))

    def _strike(self, price: Decimal, quote: Quote) -> Strike:
        return Strike(price, quote.tick, self._now)

    async def _open_position(self, position_id: int, pair: Pair) -> PaperPosition:
        position = (await self._work.paper.positions([position_id])).get(position_id)
        is_ours = position is not None and (position.account_id, position.pair_id) == (self._account_id, pair.id)
        if position is None or not is_ours or position.status is not PaperPositionStatus.OPEN:
            raise Refused("POSITION_NOT_FOUND")
        return position

    async def _refuse(self, params: AnyParams, moment: Moment, refusal: Refused) -> Execution:
        order = refused_order(params, self._account_id, moment.sequence, refusal)
        return Execution(await self._work.paper.add(order), None)
