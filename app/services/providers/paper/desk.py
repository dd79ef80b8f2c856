"""What the paper venue does with a request while it holds the account."""

from dataclasses import dataclass
from datetime import datetime

from app.domain import ledger
from app.domain.enums import PaperOrderStatus, PaperPositionStatus
from app.domain.money import ZERO
from app.domain.prices import Quote
from app.domain.trading import CloseParams, TradeParams
from app.models.market import Pair
from app.models.paper import PaperOrder, PaperPosition
from app.repositories.paper_account_repository import LockedAccount
from app.repositories.paper_repository import Execution
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper.admission import Refused, fresh, in_time, plan_closing, plan_opening
from app.services.providers.paper.rows import (
    Strike,
    closing_order,
    filled_order,
    opened_position,
    reduced,
    refused_order,
    resting_order,
)


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

    def __init__(self, work: UnitOfWork, locked: LockedAccount) -> None:
        self._work = work
        self._account_id = locked.account.id
        self._free = locked.account.balance
        self._now = locked.now

    async def find(self, client_id: int) -> Execution | None:
        """What stands under a client id of this account."""
        found = (await self._work.paper.by_client_ids([client_id])).get(client_id)
        return found if found and found.order.account_id == self._account_id else None

    async def open(self, params: TradeParams, moment: Moment) -> Execution:
        """Fill an opening order, let it rest, or refuse it."""
        try:
            in_time(params.not_after, self._now)
            quote = fresh(moment.quote, moment.pair, moment.now)
            opening = plan_opening(params, moment.pair, quote, self._free)
        except Refused as refusal:
            return await self._refuse(params, moment, refusal)
        if opening.is_resting:
            order = resting_order(params, self._account_id, opening, moment.sequence)
            await self._work.paper_accounts.post([ledger.reserve(self._account_id, order.client_id, order.reserved)])
            return Execution(await self._work.paper.add(order), None)
        strike = Strike(opening.price, quote.tick.mark, moment.sequence, self._now)
        order = filled_order(params, self._account_id, opening, strike)
        position = opened_position(order, moment.pair, strike)
        await self._work.paper.add_all([position])
        order.position_id = position.id
        booking = ledger.open_position(self._account_id, order.client_id, params.collateral, opening.fee)
        await self._work.paper_accounts.post([booking])
        return Execution(await self._work.paper.add(order), position)

    async def close(self, params: CloseParams, position_id: int, moment: Moment) -> Execution:
        """Reduce a position by what is asked, at most by what there is, or refuse to."""
        try:
            in_time(params.not_after, self._now)
            position = await self._open_position(position_id, moment.pair)
            quote = fresh(moment.quote, moment.pair, moment.now)
            price, closing = plan_closing(params, position, moment.pair, quote)
        except Refused as refusal:
            return await self._refuse(params, moment, refusal)
        strike = Strike(price, quote.tick.mark, moment.sequence, self._now)
        order = await self._work.paper.add(closing_order(params.client_id, position, closing, strike))
        await self._work.paper.change_position(position, **reduced(closing, PaperPositionStatus.CLOSED, self._now))
        booking = ledger.close_position(self._account_id, order.client_id, closing)
        await self._work.paper_accounts.post([booking])
        return Execution(order, position)

    async def cancel(self, order: PaperOrder) -> None:
        """Take an order off if it rests, and give back what it reserved."""
        if order.status is not PaperOrderStatus.RESTING:
            return
        booking = ledger.release(self._account_id, order.client_id, order.reserved)
        await self._work.paper_accounts.post([booking])
        await self._work.paper.change_order(order, status=PaperOrderStatus.CANCELLED, reserved=ZERO)

    async def _open_position(self, position_id: int, pair: Pair) -> PaperPosition:
        position = (await self._work.paper.positions([position_id])).get(position_id)
        is_ours = position is not None and (position.account_id, position.pair_id) == (self._account_id, pair.id)
        if position is None or not is_ours or position.status is not PaperPositionStatus.OPEN:
            raise Refused("POSITION_NOT_FOUND")
        return position

    async def _refuse(self, params: TradeParams | CloseParams, moment: Moment, refusal: Refused) -> Execution:
        order = refused_order(params, self._account_id, moment.sequence, refusal)
        return Execution(await self._work.paper.add(order), None)
