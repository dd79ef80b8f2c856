"""What simulated users ask for, and what they were answered."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from app.domain.enums import OrderRole, OrderStatus, OrderType, SwitchScope, TriggerBy
from app.domain.errors import MarqetError
from app.domain.lifecycle import OPEN_TRADE, UNFILLED_TRADE
from app.domain.order_terms import ExitChanges, ExitTerms, OpenTerms
from app.models.market import Pair
from app.models.trading import Order, Trade
from app.services.trading_service import Trader
from tests.simulation.process import Crashed, SimulatedProcess

WAITS = (OrderStatus.PENDING, OrderStatus.WAITING)
type Run = Callable[[SimulatedProcess], Awaitable[object]]


class Market(Protocol):
    """What users see of the world."""

    unanswered: list["Command"]
    prices: dict[int, Decimal]


@dataclass
class Command:
    """Something a user asks for, again and again until it is answered."""

    name: str
    run: Run

    def bind(self, market: Market, process: SimulatedProcess) -> Callable[[], Awaitable[None]]:
        """The command, asked of a process; it waits for another try where that one dies."""

        async def ask() -> None:
            try:
                await self.run(process)
            except MarqetError:
                return
            except Crashed:
                market.unanswered.append(self)
                raise

        return ask


@dataclass
class SimulatedUser:
    """One user; `asked` are the openings that were sent, `answered` the order ids by client_order_id."""

    id: int
    pairs: Sequence[Pair]
    asked: dict[str, OpenTerms] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)

    @property
    def trader(self) -> Trader:
        return Trader(self.id, may_trade=True, is_sandbox=False)

    def command(self, chance: random.Random, market: Market) -> Command:
        """Something to ask for."""
        rest = [self._close] * 2 + [self._attach, self._amend, self._cancel, self._switch]
        make = chance.choice([self._open] * 5 + rest)
        return make(chance, market)

    def _open(self, chance: random.Random, market: Market) -> Command:
        pair = chance.choice(self.pairs)
        price = market.prices[pair.id]
        is_long = chance.random() < 0.5
        is_limit = chance.random() < 0.25
        limit = _beside(price, pair, chance, up=not is_long) if is_limit else None
        name = f"c{self.id}-{len(self.asked)}"
        terms = OpenTerms(
            asset=pair.symbol,
            is_long=is_long,
            collateral=Decimal(chance.choice([20, 50, 100])),
            leverage=chance.choice([2, 10, 50]),
            order_type=OrderType.LIMIT if is_limit else OrderType.MARKET,
            price=limit,
            client_order_id=name,
            **_levels(chance, pair, limit or price, is_long=is_long),
        )
        self.asked[name] = terms

        async def run(process: SimulatedProcess) -> None:
            placed = await process.trading.open_trade(self.trader, terms, None)
            assert self.answered.setdefault(name, placed.order.id) == placed.order.id, f"{name} is two orders"

        return Command("open", run)

    def _close(self, chance: random.Random, market: Market) -> Command:
        draw, fraction = chance.random(), chance.choice([Decimal(1), Decimal(1), Decimal("0.5")])

        async def run(process: SimulatedProcess) -> None:
            trade = await self._some_trade(process, draw)
            if trade is not None:
                await process.trading.close_trade(self.trader, trade.pair_id, trade.trade_index, fraction, None)

        return Command("close", run)

    def _attach(self, chance: random.Random, market: Market) -> Command:
        draw, seed = chance.random(), chance.randrange(1 << 30)

        async def run(process: SimulatedProcess) -> None:
            trade = await self._some_trade(process, draw)
            if trade is None:
                return
            pair = process.directory.by_id(trade.pair_id)
            again = random.Random(seed)
            levels = _levels(again, pair, market.prices[pair.id], is_long=trade.direction, must=True)
            kind = _kind(levels)
            own = {name: value for name, value in levels.items() if name in (*_FIELDS[kind], *_BESIDE)}
            await process.exits.attach(self.id, pair.id, trade.trade_index, ExitTerms(order_type=kind, **own), None)

        return Command("attach", run)

    def _amend(self, chance: random.Random, market: Market) -> Command:
        draw, seed = chance.random(), chance.randrange(1 << 30)

        async def run(process: SimulatedProcess) -> None:
            order = await self._some_order(process, draw, OrderRole.EXIT)
            if order is None:
                return
            pair = process.directory.by_id(order.pair_id)
            again, is_long = random.Random(seed), order.side.value == "sell"
            price = market.prices[pair.id]
            values: dict[str, Any] = {}
            for name in _FIELDS[order.order_type]:
                if name == "trailing_stop_percentage":
                    continue
                if name == "trailing_stop_distance":
                    values[name] = _distance(price, pair, again)
                else:
                    values[name] = _beside(price, pair, again, up=is_long is ("take_profit" in name))
            await process.exits.amend(self.id, order.id, ExitChanges(**values))

        return Command("amend", run)

    def _cancel(self, chance: random.Random, market: Market) -> Command:
        draw = chance.random()
        role = chance.choice([OrderRole.EXIT, OrderRole.ENTRY])

        async def run(process: SimulatedProcess) -> None:
            order = await self._some_order(process, draw, role)
            if order is not None:
                await process.exits.cancel(self.id, order.id)

        return Command(f"cancel {role}", run)

    def _switch(self, chance: random.Random, market: Market) -> Command:
        seconds, scope = chance.choice([0, 5, 30]), chance.choice(list(SwitchScope))

        async def run(process: SimulatedProcess) -> None:
            await process.switches.arm(self.id, seconds, scope)

        return Command("switch", run)

    async def _some_trade(self, process: SimulatedProcess, draw: float) -> Trade | None:
        async with process.uow() as work:
            trades = await work.trades.of_user(
                self.id, statuses=[*sorted(OPEN_TRADE), *sorted(UNFILLED_TRADE)], before=None, limit=50
            )
        return trades[int(draw * len(trades))] if trades else None

    async def _some_order(self, process: SimulatedProcess, draw: float, role: OrderRole) -> Order | None:
        async with process.uow() as work:
            rows = await work.orders.of_user(self.id, statuses=WAITS, trade_id=None, before=None, limit=100)
        orders = [row for row in rows if row.role is role]
        return orders[int(draw * len(orders))] if orders else None


_FIELDS: dict[OrderType, tuple[str, ...]] = {
    OrderType.STOP_LOSS: ("stop_price",),
    OrderType.TAKE_PROFIT: ("take_profit_price",),
    OrderType.TRAILING_STOP: ("trailing_stop_distance", "trailing_stop_percentage"),
    OrderType.OCO: ("oco_stop_price", "oco_take_profit_price"),
}


_BESIDE = ("activation_price", "trigger_by")


def _kind(levels: dict[str, Any]) -> OrderType:
    return next(kind for kind, names in _FIELDS.items() if any(name in levels for name in names))


def _levels(chance: random.Random, pair: Pair, price: Decimal, *, is_long: bool, must: bool = False) -> dict[str, Any]:
    """The fields of some exits that make sense around a price."""
    kind = chance.choice(
        ["stop", "both", "oco", "trailing", "percentage", "stop and trailing", *([] if must else [""])]
    )
    levels: dict[str, Any] = {}
    if kind in ("stop", "both", "stop and trailing"):
        levels["stop_price"] = _beside(price, pair, chance, up=not is_long)
    if kind == "both":
        levels["take_profit_price"] = _beside(price, pair, chance, up=is_long)
    if kind == "oco":
        levels["oco_stop_price"] = _beside(price, pair, chance, up=not is_long)
        levels["oco_take_profit_price"] = _beside(price, pair, chance, up=is_long)
    if kind in ("trailing", "stop and trailing"):
        levels["trailing_stop_distance"] = _distance(price, pair, chance)
    if kind == "percentage":
        levels["trailing_stop_percentage"] = Decimal(chance.choice(["0.1", "0.25", "0.5"]))
        if chance.random() < 0.4:
            levels["activation_price"] = _beside(price, pair, chance, up=is_long)
    if levels and chance.random() < 0.3:
        levels["trigger_by"] = chance.choice(list(TriggerBy))
    return levels


def _distance(price: Decimal, pair: Pair, chance: random.Random) -> Decimal:
    return pair.price_step * max(1, int(price * Decimal(chance.choice(["0.001", "0.003", "0.006"])) / pair.price_step))


def _beside(price: Decimal, pair: Pair, chance: random.Random, *, up: bool) -> Decimal:
    distance = _distance(price, pair, chance)
    return price + distance if up else price - distance
