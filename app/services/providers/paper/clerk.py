"""The paper venue's hand: carries out one fill at a time on accounts that are locked."""

from collections.abc import Mapping
from decimal import Decimal

from app.domain import ledger
from app.domain.enums import PaperOrderStatus, PaperPositionStatus, PositionSide
from app.domain.ledger import Booking, LedgerAccount
from app.domain.money import ZERO
from app.domain.positions import Closing, close_at, fee_of, margin_of_part, part_of
from app.models.market import Pair
from app.models.paper import PaperFill, PaperOrder, PaperPosition
from app.repositories.paper_repository import Execution
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper.admission import Refused, check_netting
from app.services.providers.paper.mapping import known
from app.services.providers.paper.rows import Part, Strike, fill_row, filled, grown, opened_position, reduced


class Clerk:
    """Changes orders, positions and money together, each fill at once; `free` is what each account can spend.

    `ended` are the orders that it took off.
    """

    def __init__(self, work: UnitOfWork, free: Mapping[int, Decimal], *, is_netted: bool = False) -> None:
        self._work = work
        self._is_netted = is_netted
        self._free = dict(free)
        self.ended: list[PaperOrder] = []

    def free(self, account_id: int) -> Decimal:
        """What an account can spend now."""
        return self._free[account_id]

    async def post(self, *bookings: Booking) -> None:
        """Write bookings."""
        for booking in bookings:
            self._free[booking.account_id] += booking.change_of(LedgerAccount.BALANCE)
        await self._work.paper_accounts.post(bookings)

    async def netted(self, account_id: int, pair: Pair, side: PositionSide, leverage: int) -> PaperPosition | None:
        """The position that an opening order adds to; None where it opens one. Refused where it conflicts with it."""
        held = await self._work.paper.open_on(account_id, pair.id) if self._is_netted else None
        if held is not None:
            check_netting(held, side, leverage)
        return held

    async def enter(
        self, order: PaperOrder, position: PaperPosition | None, pair: Pair, strike: Strike, size: Decimal
    ) -> Execution:
        """Fill the next part of an opening order of `size`, from what it reserved first; Refused without the fee."""
        collateral = known(order.collateral)
        part = part_of(size, order.filled, order.fill_count, order.parts, pair.size_step)
        is_last = order.filled + part == size
        margin = margin_of_part(collateral, size, order.filled, part)
        fee, taken = self._charge(order, size, margin, fee_of(part, strike.price, pair.taker_fee_rate), is_last=is_last)
        if position is None:
            position = opened_position(order, pair, strike, part, margin)
            await self._work.paper.add_all([position])
        else:
            await self._work.paper.change_position(position, **grown(position, pair, strike, part, margin))
        changes = filled(order, Part(part, fee), strike, is_last=is_last)
        changes = {"reserved": order.reserved - taken, "position_id": position.id, "size": size} | changes
        fill = await self._fill(order, position, Part(part, fee), strike, changes)
        await self.post(ledger.open_position(order.account_id, order.client_id, margin, fee, taken))
        return Execution(order, position, [fill])

    async def leave(self, order: PaperOrder, position: PaperPosition, pair: Pair, strike: Strike) -> Execution:
        """Fill the next part of a reduce-only order, at most what is open; its last fill also where that is all."""
        size = known(order.size)
        part = part_of(size, order.filled, order.fill_count, order.parts, pair.size_step)
        closing = close_at(position, min(part, position.size), strike.price, pair.taker_fee_rate)
        is_last = order.filled + closing.size == size or not closing.size_left
        return await self.close(order, position, closing, strike, is_last=is_last)

    async def close(
        self, order: PaperOrder, position: PaperPosition, closing: Closing, strike: Strike, *, is_last: bool
    ) -> Execution:
        """Carry out a closing of a position by an order; what still works on a position ends with it."""
        part = Part(closing.size, closing.fee, closing.pnl)
        await self._work.paper.change_position(position, **reduced(closing, PaperPositionStatus.CLOSED, strike))
        changes = filled(order, part, strike, is_last=is_last)
        fill = await self._fill(order, position, part, strike, changes)
        await self.post(ledger.close_position(order.account_id, order.client_id, closing))
        if not closing.size_left:
            await self.end_orders_on([position.id])
        return Execution(order, position, [fill])

    async def end_orders_on(self, position_ids: list[int]) -> None:
        """End every order that works on positions that are gone."""
        for order in await self._work.paper.live_orders_on(position_ids) if position_ids else ():
            await self.end(order, Refused("POSITION_NOT_FOUND"))

    async def end(self, order: PaperOrder, why: Refused | None) -> None:
        """Take an order off, and give back what it still reserves: REJECTED where it worked and never filled."""
        if order.reserved:
            await self.post(ledger.release(order.account_id, order.client_id, order.reserved))
        is_refused = why and not order.fill_count and order.status is PaperOrderStatus.WORKING
        status = PaperOrderStatus.REJECTED if is_refused else PaperOrderStatus.CANCELLED
        told = {"reason": why.reason, "details": why.details} if why else {}
        await self._work.paper.change_order(order, status=status, reserved=ZERO, **told)
        self.ended.append(order)

    def _charge(
        self, order: PaperOrder, size: Decimal, margin: Decimal, fee: Decimal, *, is_last: bool
    ) -> tuple[Decimal, Decimal]:
        """The fee of a part, and what of the reservation goes with it; a limit never costs more than it reserved."""
        taken = ZERO
        if order.reserved:
            locked = margin_of_part(known(order.collateral), size, ZERO, order.filled)
            fee_kept = order.reserved - (known(order.collateral) - locked)
            fee = min(fee, fee_kept) if order.limit_price is not None else fee
            taken = order.reserved if is_last else margin + min(fee, fee_kept)
        if margin + fee - taken > self._free[order.account_id]:
            free = self._free[order.account_id]
            raise Refused("INSUFFICIENT_BALANCE", free=free, needed=margin + fee - taken)
        return fee, taken

    async def _fill(
        self, order: PaperOrder, position: PaperPosition, part: Part, strike: Strike, changes: dict[str, object]
    ) -> PaperFill:
        """Write a fill, and the order as it is after it: a new row where it was not written before."""
        fill = fill_row(order.fill_count, part, strike, position)
        fill.position_id = position.id
        if order.id is None:
            for name, value in changes.items():
                setattr(order, name, value)
            await self._work.paper.add(order)
        else:
            await self._work.paper.change_order(order, **changes)
        fill.order_id = order.id
        await self._work.paper.add_all([fill])
        return fill
