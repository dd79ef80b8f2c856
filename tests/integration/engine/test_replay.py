"""The recorded BTC, EURUSD and gold files, played whole with 500 protected positions, against the oracle."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import pytest_asyncio
from sqlalchemy import text

from app.bootstrap import Container
from app.config.settings import Settings
from app.core.supervision import Supervisor
from app.domain.enums import OrderType
from app.domain.order_terms import OpenTerms
from app.domain.prices import STALE_AFTER
from app.models.market import Pair
from app.services.trading_service import Trader
from tests.conftest import MakeSettings
from tests.factories import create_person
from tests.ledger import assert_books_balance
from tests.replays import Expected, exit_of, expected_end, marks_of, played_rows, replay_setting
from tests.waiting import until

pytestmark = pytest.mark.recorded

POSITIONS = 500
# Positions are opened in groups, each when so many rows have been played; BTC's file is short.
GROUPS = [
    1,
    300,
    700,
    1200,
    1800,
    2300,
    2600,
    3500,
    6000,
    9000,
    14000,
    18000,
    22000,
    27000,
    31000,
    34000,
    37000,
    39000,
    40000,
    41000,
]


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings, recorded_data: Path) -> Settings:
    return make_settings(
        paper_feed="replay",
        paper_replay=replay_setting(recorded_data),
        paper_replay_speed=1_000_000,
        paper_starting_balance=10_000_000,
    )


class Opener:
    """Opens random protected positions while the feed waits."""

    def __init__(self, container: Container, traders: Sequence[Trader], seed: int) -> None:
        self.container = container
        self.traders = traders
        self.random = random.Random(seed)
        self.played = 0
        self.groups = list(GROUPS)
        self.opened = 0

    async def gate(self) -> None:
        """Hold the feed while the groups that are due are opened."""
        while self.groups and self.played >= self.groups[0]:
            self.groups.pop(0)
            for _ in range(POSITIONS // len(GROUPS)):
                await self._open()

    async def _open(self) -> None:
        board, directory = self.container.board, self.container.directory
        symbols = [
            symbol
            for symbol in ("BTCUSDT", "EURUSD", "XAUUSD")
            if (quote := board.latest(directory.resolve_pair(symbol, "paper").id)) and quote.market.is_open
        ]
        pair = directory.resolve_pair(self.random.choice(symbols), "paper")
        terms = self._terms(pair)
        placed = await self.container.trading.open_trade(self.random.choice(self.traders), terms, None)
        assert placed.order.status == "filled", placed.order.reason
        self.opened += 1

    def _terms(self, pair: Pair) -> OpenTerms:
        is_long = self.random.random() < 0.5
        order_type = self.random.choice(
            [OrderType.STOP_LOSS, OrderType.TAKE_PROFIT, OrderType.TRAILING_STOP, OrderType.OCO, OrderType.MARKET]
        )
        is_risky = order_type is OrderType.TAKE_PROFIT
        quote = self.container.board.latest(pair.id)
        assert quote is not None
        levels: dict[str, Any] = self._levels(order_type, quote.tick.mark, 1 if is_long else -1, pair.price_step)
        return OpenTerms(
            asset=pair.symbol,
            is_long=is_long,
            collateral=Decimal(self.random.randrange(20, 200)),
            leverage=pair.max_leverage if is_risky else min(20, pair.max_leverage),
            order_type=order_type,
            **levels,
        )

    def _levels(self, order_type: OrderType, mark: Decimal, sign: int, step: Decimal) -> dict[str, Decimal]:
        below = _on_grid(mark - sign * self._gap(mark), step)
        above = _on_grid(mark + sign * self._gap(mark), step)
        match order_type:
            case OrderType.STOP_LOSS:
                return {"stop_price": below}
            case OrderType.TAKE_PROFIT:
                return {"take_profit_price": above}
            case OrderType.OCO:
                return {"oco_stop_price": below, "oco_take_profit_price": above}
            case OrderType.TRAILING_STOP if self.random.random() < 0.5:
                return {"trailing_stop_distance": max(step, _on_grid(self._gap(mark), step))}
            case OrderType.TRAILING_STOP:
                return {"trailing_stop_percentage": Decimal(self.random.randrange(2, 40)) / 100}
        distance = max(step, _on_grid(self._gap(mark), step))
        return {"stop_price": below, "take_profit_price": above, "trailing_stop_distance": distance}

    def _gap(self, mark: Decimal) -> Decimal:
        return mark * Decimal(self.random.randrange(30, 400)) / 100_000


def _on_grid(price: Decimal, step: Decimal) -> Decimal:
    return (price / step).to_integral_value() * step


@pytest_asyncio.fixture(scope="module")
async def replayed(container: Container) -> AsyncIterator[Container]:
    """The container after the whole replay, with everything settled."""
    traders = [Trader((await create_person(container)).id, may_trade=True, is_sandbox=False) for _ in range(5)]
    opener = Opener(container, traders, seed=20240809)

    def count(_: object) -> None:
        opener.played += 1

    container.board.subscribe(count)
    container.board.add_gate(opener.gate)
    supervisor = Supervisor(container.loops)
    # Everything was due at the start: from then on the feed is behind, which is not what is tested here.
    with mock.patch.dict(STALE_AFTER, dict.fromkeys(STALE_AFTER, timedelta(hours=1))):
        supervisor.start()
        try:
            await until(lambda: opener.opened == POSITIONS and _is_over(container), seconds=240)
            await until(lambda: _is_settled(container), seconds=60)
            yield container
        finally:
            await supervisor.stop()


def _is_over(container: Container) -> bool:
    quotes = [container.board.latest(pair.id) for pair in container.directory.listed()]
    return all(not quote.market.is_open for quote in quotes if quote is not None)


async def _is_settled(container: Container) -> bool:
    if not container.monitor.is_idle:
        return False
    moving = "SELECT count(*) FROM trades WHERE status NOT IN ('open', 'closed', 'liquidated')"
    latched = "SELECT count(*) FROM orders WHERE status = 'pending' AND latched_sequence IS NOT NULL"
    found = await rows_of(container, moving) + await rows_of(container, latched)
    return all(row["count"] == 0 for row in found)


async def rows_of(container: Container, query: str) -> list[dict[str, Any]]:
    async with container.database.session() as session:
        return [dict(row) for row in (await session.execute(text(query))).mappings()]


async def test_every_trigger_is_the_oracles(replayed: Container, recorded_data: Path) -> None:
    rows = played_rows(recorded_data)
    base = (await rows_of(replayed, "SELECT base FROM feed_states"))[0]["base"]
    trades = await rows_of(replayed, "SELECT t.*, p.symbol FROM trades t JOIN pairs p ON p.id = t.pair_id")
    exits = await rows_of(replayed, "SELECT * FROM orders WHERE role = 'exit' ORDER BY id")
    positions = {str(row["id"]): row for row in await rows_of(replayed, "SELECT * FROM paper_positions")}
    ticks = {symbol: marks_of(rows, symbol, base) for symbol in {trade["symbol"] for trade in trades}}
    ends = set()
    for trade in trades:
        mine = [row for row in exits if row["trade_id"] == trade["id"]]
        expected = expected_end(
            positions[trade["venue_trade_index"]], [exit_of(row) for row in mine], ticks[trade["symbol"]]
        )
        _compare(trade, mine, expected)
        ends.add(expected.fired.leg if expected.fired else expected.liquidated_at and "liquidation")
    assert len(trades) == POSITIONS
    assert ends == {"stop", "take_profit", "trailing", "liquidation", None}


def _compare(trade: Mapping[str, Any], exits: Sequence[Mapping[str, Any]], expected: Expected) -> None:
    triggered = [row for row in exits if row["trigger_sequence"] is not None and row["latched_sequence"] is None]
    if expected.fired is None:
        assert triggered == []
        assert trade["status"] == ("open" if expected.liquidated_at is None else "liquidated")
        assert {row["status"] for row in exits} == {"pending" if trade["status"] == "open" else "cancelled"}
        return
    fired = expected.fired
    if trade["status"] == "open":
        # The close arrived when the market had closed: the crossing was let go, and no later tick came.
        released = {row["id"]: row["released_sequence"] for row in exits if row["released_sequence"] is not None}
        assert released[expected.order_id] >= fired.sequence
        return
    assert [row["id"] for row in triggered] == [expected.order_id]
    row = triggered[0]
    assert (row["trigger_sequence"], row["trigger_price"], row["triggered_leg"]) == (
        fired.sequence,
        fired.price,
        fired.leg,
    )
    assert fired.leg == "take_profit" or row["stop_price"] == fired.stop
    assert row["watermark"] == fired.watermark
    # A close that is on its way can be overtaken by the liquidation of its position.
    assert trade["status"] == "closed" or (trade["status"] == "liquidated" and expected.liquidated_at is not None)


async def test_money_is_conserved_and_every_position_accounted_for(replayed: Container) -> None:
    await assert_books_balance(replayed.uow)
    open_trades = {
        row["venue_trade_index"] for row in await rows_of(replayed, "SELECT * FROM trades WHERE status = 'open'")
    }
    held = {str(row["id"]) for row in await rows_of(replayed, "SELECT * FROM paper_positions WHERE status = 'open'")}
    assert open_trades == held
    unequal = """
        SELECT t.id FROM trades t JOIN fills f ON f.trade_id = t.id
        GROUP BY t.id HAVING sum(CASE WHEN f.is_close THEN -f.quantity ELSE f.quantity END) <> t.size
    """
    assert await rows_of(replayed, unequal) == []
