"""Stand-ins that tests put where the real clock, venue or network would be."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from app.core.database import in_transaction
from app.domain.enums import OrderSide, PositionSide
from app.domain.errors import NotFound, ProviderError, ProviderTimeout, Unavailable
from app.domain.money import credit_usdc, stored
from app.domain.order_rules import entry_side, exit_side
from app.domain.positions import Closing, close_at, fee_of, liquidate_at, liquidation_price, size_of
from app.domain.prices import Price, Tick
from app.domain.trading import (
    AccountRef,
    CloseParams,
    PairListing,
    TradeParams,
    TradeResult,
    VenueBalance,
    VenueCapabilities,
    VenueFill,
    VenueOutcome,
    VenuePosition,
    VenueRef,
)
from app.services.providers.base import BaseTradingProvider


class ManualClock:
    """A clock that moves only when told to; wall and monotonic time move together."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds < 0:
            raise ValueError("time goes forward; use set() to move the wall clock back")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set(self, instant: datetime) -> None:
        """Step the wall clock to an instant, as an administrator would; monotonic time is untouched."""
        self._now = instant


class Act(StrEnum):
    """What a scripted venue does with one request."""

    FILL = "executes it at once"
    ACCEPT = "takes it on; it is executed when the test says so"
    REST = "lets it rest"
    PART = "executes the quantity given; the rest stays"
    PART_ONLY = "executes the quantity given and gives up the rest"
    REJECT = "refuses it for the reason given"
    UNHEARD = "executes it, and its answer is lost"
    NONSENSE = "executes it, and answers what nobody understands"
    LATE = "is silent; the request arrives when the test says so, or never"
    UNSENT = "cannot be reached at all"
    HANG = "answers once `gate` is set, then as FILL"


type Step = Act | tuple[Act, str]


@dataclass
class VenueOrder:
    """An order as the scripted venue knows it."""

    client_id: int
    params: TradeParams | CloseParams
    size: Decimal
    outcome: VenueOutcome = VenueOutcome.ACCEPTED
    reason: str | None = None
    index: str | None = None
    fills: list[VenueFill] = field(default_factory=list)

    @property
    def filled(self) -> Decimal:
        return sum((fill.quantity for fill in self.fills), Decimal(0))

    def result(self) -> TradeResult:
        """The venue's word on it now."""
        is_refused = self.outcome is VenueOutcome.REJECTED
        transaction = None if is_refused else f"0x{self.client_id:064x}"
        return TradeResult(
            self.client_id, self.outcome, transaction, self.index, reason=self.reason, fills=tuple(self.fills)
        )


@dataclass
class Held:
    """A position of the scripted venue."""

    ref: VenueRef
    side: PositionSide
    size: Decimal
    entry_price: Decimal
    margin: Decimal


class ScriptedVenue(BaseTradingProvider):
    """A venue that does with each request what the test wrote down for it, by default FILL at its bid and ask.

    It keeps what it executed: `orders`, `positions` and `fills` are what is true, whatever anybody was told. A call
    inside a transaction, and a client id that comes a second time, fail the test.
    """

    name = "scripted"

    def __init__(self, listing: PairListing, indexes: Iterator[int], *, netting: bool = False) -> None:
        self.capabilities = VenueCapabilities(netting=netting)
        if netting:
            self.name = "netted"
        self.listing = listing
        self.bid = self.ask = self.mark = Decimal(1)
        self.sequence = 0
        self.orders: dict[int, VenueOrder] = {}
        self.positions: dict[str, Held] = {}
        self.fills: list[VenueFill] = []
        self.calls: list[str] = []
        self.gate = asyncio.Event()
        self.after_query: Callable[[], Awaitable[None]] | None = None
        self.late: dict[int, TradeParams | CloseParams] = {}
        self._scripts: dict[str, deque[Step]] = {"open": deque(), "close": deque(), "cancel": deque()}
        self._expected: dict[str, Step] = {}
        self._indexes = indexes

    def will(self, request: str, *steps: Step) -> None:
        """Do these, in order, with the next requests of a kind: open, close or cancel."""
        self._scripts[request].extend(steps)

    def expect(self, request: str, step: Step) -> None:
        """Do this with every request of a kind, until another is expected."""
        self._expected[request] = step

    def expect_nothing(self) -> None:
        """FILL everything again."""
        self._expected.clear()

    def can_fill(self, order: VenueOrder) -> bool:
        """Whether an order can be executed: a close needs its position, and so much of it."""
        if isinstance(order.params, TradeParams):
            return True
        held = self.positions.get(order.params.venue_trade_index)
        return held is not None and held.size >= order.size - order.filled

    def can_arrive(self, client_id: int) -> bool:
        """Whether a late request would find what it is about."""
        params = self.late[client_id]
        return self.can_fill(VenueOrder(client_id, params, self._wanted(params)))

    def see(self, tick: Tick) -> None:
        """Trade at this tick from now on."""
        self.bid, self.ask, self.mark, self.sequence = tick.bid, tick.ask, tick.mark, tick.sequence

    def arrive(self, client_id: int) -> VenueOrder:
        """A late request arrives, in time, and is executed."""
        order = self._known(self.late.pop(client_id))
        self.execute(client_id)
        return order

    def execute(self, client_id: int, quantity: str | None = None) -> VenueFill:
        """Execute the quantity of an order, or all that is left of it."""
        order = self.orders[client_id]
        left = order.size - order.filled
        part = left if quantity is None else Decimal(quantity)
        assert 0 < part <= left, f"{client_id}: {part} of {left}"
        fill = self._enter(order, part) if isinstance(order.params, TradeParams) else self._reduce(order, part)
        fill = replace(fill, is_last=part == left)
        order.fills.append(fill)
        self.fills.append(fill)
        order.outcome = VenueOutcome.FILLED if part == left else VenueOutcome.PARTIALLY_FILLED
        return fill

    def end(self, client_id: int, outcome: VenueOutcome, reason: str | None = None) -> VenueOrder:
        """Cancel or refuse what is left of an order."""
        order = self.orders[client_id]
        order.outcome, order.reason = outcome, reason
        return order

    def liquidate(self, index: str) -> VenueFill:
        """Take a position over at the mark."""
        held = self.positions.pop(index)
        closing = liquidate_at(held, self.mark)
        side = exit_side(held.side)
        fill = self._fill(
            f"liq-{index}-{len(self.fills)}", None, held, index, side, self.mark, closing, is_liquidation=True
        )
        self.fills.append(fill)
        return fill

    def reduce_outside(self, index: str, quantity: str) -> VenueFill:
        """The account's owner reduces a position at the venue, past us."""
        held = self.positions[index]
        price = self.bid if held.side is PositionSide.LONG else self.ask
        closing = close_at(held, Decimal(quantity), price, self.listing.taker_fee_rate)
        held.size, held.margin = closing.size_left, closing.margin_left
        if not held.size:
            del self.positions[index]
        fill = self._fill(f"out-{index}-{len(self.fills)}", None, held, index, exit_side(held.side), price, closing)
        self.fills.append(fill)
        return fill

    async def get_pairs(self) -> list[PairListing]:
        return [self.listing]

    async def get_price(self, asset: str, quote: str) -> Price:
        raise NotFound(code="PAIR_NOT_FOUND", pair=asset + quote)

    async def open_trade(self, trade_params: TradeParams) -> TradeResult:
        return await self._request("open", trade_params)

    async def close_trade(self, pair_id: int, index: str, params: CloseParams) -> TradeResult:
        assert (pair_id, index) == (params.ref.pair_id, params.venue_trade_index)
        return await self._request("close", params)

    async def cancel_order(self, ref: VenueRef, client_id: int) -> TradeResult:
        step, argument = self._next("cancel", client_id)
        if step is Act.HANG:
            await self.gate.wait()
        order = self.orders[client_id]
        match step:
            case Act.UNSENT:
                raise Unavailable(code="PROVIDER_UNAVAILABLE")
            case Act.LATE:
                raise ProviderTimeout
            case Act.REJECT:
                return TradeResult(client_id, VenueOutcome.REJECTED, reason=argument)
            case Act.ACCEPT:
                return TradeResult(client_id, VenueOutcome.ACCEPTED)
            case Act.UNHEARD:
                self._cancel(order)
                raise ProviderTimeout
            case _:
                self._cancel(order)
                return order.result()

    async def query(self, ref: VenueRef, client_id: int) -> TradeResult | None:
        self._assert_outside("query")
        order = self.orders.get(client_id)
        answer = order.result() if order else None
        if self.after_query is not None:
            await self.after_query()
        return answer

    async def open_positions(self, refs: Sequence[VenueRef]) -> list[VenuePosition]:
        self._assert_outside("open_positions")
        return [
            VenuePosition(
                held.ref.venue_account_id,
                index,
                held.ref.pair_id,
                held.side,
                held.size,
                held.entry_price,
                held.margin,
                self._liquidation(held),
            )
            for index, held in self.positions.items()
            if held.ref in refs
        ]

    async def fills_since(self, ref: VenueRef, since: datetime) -> list[VenueFill]:
        self._assert_outside("fills_since")
        return [fill for fill in self.fills if fill.venue_account_id == ref.venue_account_id and fill.at >= since]

    async def balance(self, account: AccountRef) -> VenueBalance:
        return VenueBalance(Decimal(10_000), Decimal(0))

    async def ping(self) -> None:
        return

    async def _request(self, kind: str, params: TradeParams | CloseParams) -> TradeResult:
        step, argument = self._next(kind, params.client_id)
        assert params.client_id not in self.orders.keys() | self.late.keys(), f"{params.client_id} was sent twice"
        match step:
            case Act.UNSENT:
                raise Unavailable(code="PROVIDER_UNAVAILABLE")
            case Act.LATE:
                self.late[params.client_id] = params
                raise ProviderTimeout
            case Act.HANG:
                await self.gate.wait()
        order = self._known(params)
        if params.not_after < datetime.now(UTC):
            return self.end(params.client_id, VenueOutcome.REJECTED, "EXPIRED_REQUEST").result()
        if not self.can_fill(order):
            return self.end(params.client_id, VenueOutcome.REJECTED, "POSITION_NOT_FOUND").result()
        self._act(order, step, argument)
        match step:
            case Act.UNHEARD:
                raise ProviderTimeout
            case Act.NONSENSE:
                raise ProviderError
        return order.result()

    def _act(self, order: VenueOrder, step: Act, argument: str | None) -> None:
        match step:
            case Act.ACCEPT:
                return
            case Act.REJECT:
                self.end(order.client_id, VenueOutcome.REJECTED, argument)
            case Act.REST:
                order.outcome = VenueOutcome.RESTING
            case Act.PART | Act.PART_ONLY if argument is not None and Decimal(argument) < order.size:
                self.execute(order.client_id, argument)
                if step is Act.PART_ONLY:
                    self.end(order.client_id, VenueOutcome.CANCELLED)
            case _:
                self.execute(order.client_id)

    def _next(self, kind: str, client_id: int) -> tuple[Act, str | None]:
        self._assert_outside(kind)
        self.calls.append(f"{kind} {client_id}")
        steps = self._scripts[kind]
        step = steps.popleft() if steps else self._expected.get(kind, Act.FILL)
        return step if isinstance(step, tuple) else (step, None)

    @staticmethod
    def _assert_outside(what: str) -> None:
        assert not in_transaction.get(), f"the venue was asked to {what} inside a database transaction"

    def _known(self, params: TradeParams | CloseParams) -> VenueOrder:
        order = self.orders[params.client_id] = VenueOrder(params.client_id, params, self._wanted(params))
        return order

    @staticmethod
    def _cancel(order: VenueOrder) -> None:
        if order.outcome is not VenueOutcome.FILLED:
            order.outcome = VenueOutcome.CANCELLED

    def _wanted(self, params: TradeParams | CloseParams) -> Decimal:
        if isinstance(params, CloseParams):
            return params.size
        return size_of(params.collateral, params.leverage, self._entry_price(params), self.listing.size_step)

    def _entry_price(self, params: TradeParams) -> Decimal:
        return params.price or (self.ask if params.side is PositionSide.LONG else self.bid)

    def _enter(self, order: VenueOrder, part: Decimal) -> VenueFill:
        params = order.params
        assert isinstance(params, TradeParams)
        price = self._entry_price(params)
        netted = next((i for i, held in self.positions.items() if held.ref == params.ref), None)
        if self.capabilities.netting and netted is not None:
            assert self.positions[netted].side is params.side, "a netting venue holds one side"
            order.index = order.index or netted
        order.index = order.index or str(next(self._indexes))
        held = self.positions.get(order.index) or Held(params.ref, params.side, Decimal(0), price, Decimal(0))
        held.entry_price = stored((held.entry_price * held.size + price * part) / (held.size + part))
        held.size += part
        held.margin += credit_usdc(params.collateral * part / order.size)
        self.positions[order.index] = held
        fee = fee_of(part, price, self.listing.taker_fee_rate)
        closing = Closing(part, Decimal(0), Decimal(0), fee, Decimal(0), held.size, held.margin)
        number = len(order.fills)
        return self._fill(
            f"{order.client_id}-{number}", order.client_id, held, order.index, entry_side(params.side), price, closing
        )

    def _reduce(self, order: VenueOrder, part: Decimal) -> VenueFill:
        params = order.params
        assert isinstance(params, CloseParams)
        order.index = params.venue_trade_index
        held = self.positions[order.index]
        price = self.bid if held.side is PositionSide.LONG else self.ask
        closing = close_at(held, part, price, self.listing.taker_fee_rate)
        held.size, held.margin = closing.size_left, closing.margin_left
        if not held.size:
            del self.positions[order.index]
        number = len(order.fills)
        return self._fill(
            f"{order.client_id}-{number}", order.client_id, held, order.index, exit_side(held.side), price, closing
        )

    def _fill(
        self,
        fill_id: str,
        client_id: int | None,
        held: Held,
        index: str,
        side: OrderSide,
        price: Decimal,
        closing: Closing,
        *,
        is_liquidation: bool = False,
    ) -> VenueFill:
        return VenueFill(
            fill_id=fill_id,
            client_id=client_id,
            venue_account_id=held.ref.venue_account_id,
            venue_trade_index=index,
            side=side,
            quantity=closing.size,
            price=price,
            fee=closing.fee,
            pnl=closing.pnl,
            is_close=side is exit_side(held.side),
            sequence=self.sequence,
            mark_price=self.mark,
            at=datetime.now(UTC),
            size_left=closing.size_left,
            margin_left=closing.margin_left,
            liquidation_price=self._liquidation(held),
            is_liquidation=is_liquidation,
            entry_price=held.entry_price,
        )

    def _liquidation(self, held: Held) -> Decimal:
        if not held.size:
            return Decimal(0)
        return liquidation_price(
            held.side, held.size, held.entry_price, held.margin, self.listing.maintenance_margin_rate
        )
