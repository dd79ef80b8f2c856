"""Books the funding of a pair: every instant that is due at a tick, for every position that was open before it."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.enums import PaperPositionStatus
from app.domain.ledger import Booking, LedgerAccount, pay_funding, split_funding
from app.domain.money import ZERO
from app.domain.positions import funding_of, liquidation_price
from app.models.market import Pair, PriceCheckpoint
from app.models.paper import PaperFunding, PaperFundingMark, PaperPosition
from app.repositories.paper_account_repository import Owner
from app.repositories.unit_of_work import UnitOfWork
from app.services.providers.paper import mapping
from app.services.providers.paper.books import instant_before
from app.services.providers.paper.mapping import known
from app.services.providers.paper.matches import PaperMatch
from app.services.providers.paper.matching import Booked
from app.services.providers.paper.terms import PaperTerms


async def book_funding(work: UnitOfWork, match: PaperMatch, pair: Pair, terms: PaperTerms) -> Booked:
    """Book the instants after the pair's last one up to the match's, all at the match's mark; none a second time.

    The accounts are locked before the pair's mark; the first match ever only writes that.
    """
    last = known(match.instant)
    owners = await work.paper_accounts.lock_all(await work.paper_funding.owners_open_before(pair.id, match.sequence))
    if await work.paper_funding.begin(pair.id, last, match.sequence, terms.funding_seconds):
        return Booked()
    mark = await work.paper_funding.locked_mark(pair.id)
    instants = list(_instants(mark.instant, last, terms.funding_seconds))
    if not instants:
        return Booked()
    mark.instant, mark.sequence = last, match.sequence
    desk = _Desk(work, match, pair, terms, owners)
    for held in await work.paper_funding.open_before(list(owners), pair.id, match.sequence):
        await desk.fund(held.position, held.size, instants)
    return await desk.write()


async def funded_until(work: UnitOfWork, pair_ids: Sequence[int], seconds: int) -> dict[int, datetime]:
    """The last instant of each pair that is booked, or that this interval (0: none) does not ask for.

    What passed under another interval is not paid for by this one: its count goes on from the last tick judged.
    """
    judged = await work.engine_state.checkpoints(pair_ids)
    marks = await work.paper_funding.marks(pair_ids)
    for mark in marks:
        if mark.seconds != seconds:
            _count_by(mark, seconds, judged.get(mark.pair_id))
    return {mark.pair_id: mark.instant for mark in marks}


def _count_by(mark: PaperFundingMark, seconds: int, judged: PriceCheckpoint | None) -> None:
    if seconds:
        seen = mark.instant if judged is None else max(mark.instant, judged.tick_at)
        mark.instant = instant_before(seen, timedelta(seconds=seconds))
    mark.seconds = seconds


def _instants(after: datetime, until: datetime, seconds: int) -> Iterator[datetime]:
    """The instants after one, up to and with another."""
    instant = after + timedelta(seconds=seconds)
    while instant <= until:
        yield instant
        instant += timedelta(seconds=seconds)


class _Desk:
    """Positions whose accounts are locked, funded one after the other at one mark."""

    def __init__(
        self, work: UnitOfWork, match: PaperMatch, pair: Pair, terms: PaperTerms, owners: dict[int, Owner]
    ) -> None:
        self._work = work
        self._match = match
        self._pair = pair
        self._rate = terms.funding_rate
        self._owners = owners
        self._free = {account_id: owner.free for account_id, owner in owners.items()}
        self._fundings: list[tuple[int, PaperFunding]] = []
        self._bookings: list[Booking] = []
        self._changed: list[PaperPosition] = []

    async def fund(self, position: PaperPosition, size: Decimal, instants: list[datetime]) -> None:
        """Fund a position that had `size` at each of the instants; margin that it pays with moves its liquidation."""
        is_open = position.status is PaperPositionStatus.OPEN
        before = margin = position.margin if is_open else ZERO
        level = position.liquidation_price if is_open else ZERO
        amount = funding_of(position.side, size, self._match.mark, self._rate)
        for instant in instants:
            split = split_funding(amount, self._free[position.account_id], margin)
            booking = pay_funding(position.account_id, amount, split)
            self._free[position.account_id] += booking.change_of(LedgerAccount.BALANCE)
            self._bookings.append(booking)
            if split.margin:
                margin += split.margin
                level = self._level(position, margin)
            self._fundings.append((position.account_id, self._row(position, size, instant, amount, margin, level)))
        if margin != before:
            changes = {"margin": margin, "liquidation_price": level, "version": position.version + 1}
            # The tick that it paid at may liquidate it now, unless it has grown since.
            armed = {"armed_sequence": max(position.armed_sequence, self._match.sequence - 1)}
            await self._work.paper.change_position(position, **changes, **armed)
            self._changed.append(position)

    async def write(self) -> Booked:
        """Write what was paid."""
        await self._work.paper_funding.add_all([funding for _, funding in self._fundings])
        await self._work.paper_accounts.post([booking for booking in self._bookings if booking.entries])
        told = [
            mapping.funding_of(funding, self._owners[account_id].venue_account_id)
            for account_id, funding in self._fundings
        ]
        return Booked(told=[*told], positions=self._changed)

    def _level(self, position: PaperPosition, margin: Decimal) -> Decimal:
        rate = self._pair.maintenance_margin_rate
        return liquidation_price(position.side, position.size, position.entry_price, margin, rate)

    def _row(
        self,
        position: PaperPosition,
        size: Decimal,
        instant: datetime,
        amount: Decimal,
        margin: Decimal,
        level: Decimal,
    ) -> PaperFunding:
        return PaperFunding(
            position_id=position.id,
            instant=instant,
            rate=self._rate,
            size=size,
            mark_price=self._match.mark,
            amount=amount,
            sequence=self._match.sequence,
            margin_left=margin,
            liquidation_price=level,
        )
