"""The paper venue's market moved by hand, and traders who reach it over HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2

from app.core.clock import Clock
from app.core.json import encode
from app.domain.prices import Market, Tick
from app.services.price_feed_service import PriceFeedService
from app.services.providers.feed import FeedSlice, FeedStart
from tests.factories import Person
from tests.waiting import until

API = "/api/v1"
TRADING = f"{API}/trading"
# However long a test takes, its prices stay fresh.
OPEN = Market(is_open=True, vouched_until=datetime.max.replace(tzinfo=UTC))
BTC = {"asset": "BTC", "direction": True, "collateral": 100, "leverage": 10}


class HandFeed:
    """A feed of the paper venue whose ticks come when a test says so."""

    venue = "paper"
    identity = "moved by hand"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slices: asyncio.Queue[FeedSlice] = asyncio.Queue()
        self._start: FeedStart | None = None
        self._number = 0

    def began_at(self, start: FeedStart) -> datetime:
        return start.now

    async def stream(self, start: FeedStart) -> AsyncGenerator[FeedSlice, None]:
        self._start = start
        yield FeedSlice(markets=dict.fromkeys(start.pair_ids.values(), OPEN))
        while True:
            yield await self._slices.get()

    @property
    def is_running(self) -> bool:
        return self._start is not None

    @property
    def start(self) -> FeedStart:
        assert self._start is not None
        return self._start

    def put(self, symbol: str, quotes: Sequence[tuple[str, ...]], market: Market | None = None) -> int:
        """Emit ticks of (bid, ask) or (bid, ask, last), then the market's new state; the last tick's sequence."""
        pair_id = self.start.pair_ids[symbol]
        ticks = []
        for quote in quotes:
            self._number += 1
            bid, ask, last = [*map(Decimal, quote), None][:3]
            assert bid is not None and ask is not None
            sequence = self.start.base + self._number
            ticks.append(Tick(pair_id, sequence, bid, ask, self._clock.now(), self.venue, last))
        self._slices.put_nowait(FeedSlice(ticks, {pair_id: market} if market else {}))
        return self.start.base + self._number


@dataclass(frozen=True)
class HandMarket:
    """What moves prices: each call returns once the server has seen its ticks."""

    feed: HandFeed
    board: PriceFeedService

    def pair_id(self, symbol: str = "BTCUSDT") -> int:
        return self.feed.start.pair_ids[symbol]

    async def quote(self, *quotes: tuple[str, ...], symbol: str = "BTCUSDT") -> int:
        """Emit ticks, each judged by venue and order engine; the last one's sequence."""
        sequence = self.feed.put(symbol, quotes)
        await self._seen(symbol, sequence)
        return sequence

    async def at(self, mark: int, *, symbol: str = "BTCUSDT") -> int:
        """Bring the price to `mark`, with a spread of one."""
        return await self.quote((f"{mark - 1}.50", f"{mark}.50"), symbol=symbol)

    async def turn(self, symbol: str, market: Market) -> None:
        """Open or close a pair's market."""
        self.feed.put(symbol, (), market)
        await until(lambda: self._market(symbol) == market)

    def _market(self, symbol: str) -> Market:
        quote = self.board.latest(self.pair_id(symbol))
        assert quote is not None
        return quote.market

    async def _seen(self, symbol: str, sequence: int) -> None:
        def has_come() -> bool:
            quote = self.board.latest(self.pair_id(symbol))
            return quote is not None and quote.tick.sequence >= sequence

        await until(has_come)


@dataclass(frozen=True)
class Trader:
    """A person with a client of the server."""

    client: httpx2.AsyncClient
    person: Person

    async def send(
        self, method: str, path: str, body: object = None, *, key: str | None = None, **headers: str
    ) -> httpx2.Response:
        """Ask for something under /trading as this person; `body` goes with all its digits."""
        sent = {**self.person.headers, **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        if body is None:
            return await self.client.request(method, TRADING + path, headers=sent)
        sent["Content-Type"] = "application/json"
        return await self.client.request(method, TRADING + path, content=encode(body), headers=sent)

    async def read(self, path: str) -> dict[str, Any]:
        """The answer of a GET that succeeds."""
        answer = await self.send("GET", path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def exactly(self, path: str) -> dict[str, Any]:
        """The answer of a GET that succeeds, its decimal numbers as strings."""
        answer = await self.send("GET", path, Accept="application/json; numbers=string")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def ask_open(self, **fields: object) -> httpx2.Response:
        """Ask for a 10x long of BTC with 100 USDC, but for what is given."""
        return await self.send("POST", "/trades", {**BTC, **fields})

    async def open(self, **fields: object) -> dict[str, Any]:
        """Open a trade; the answer."""
        answer = await self.ask_open(**fields)
        assert answer.status_code == 201, answer.text
        opened: dict[str, Any] = answer.json()
        return opened

    async def close(self, opened: dict[str, Any], query: str = "", *, key: str | None = None) -> httpx2.Response:
        """Ask for a trade to be closed."""
        return await self.send("DELETE", f"/trades/{opened['pair_id']}/{opened['trade_index']}{query}", key=key)

    async def trade(self, opened: dict[str, Any]) -> dict[str, Any]:
        """A trade with its orders, as it is now."""
        return await self.read(f"/trades/{opened['pair_id']}/{opened['trade_index']}")

    async def order(self, order_id: int) -> dict[str, Any]:
        """An order as it is now."""
        return await self.read(f"/orders/{order_id}")

    async def until_order(self, order_id: int, status: str) -> dict[str, Any]:
        """An order once it has a status."""
        return await self.until_value(order_id, status=status)

    async def until_value(self, order_id: int, **values: object) -> dict[str, Any]:
        """An order once its fields have these values."""

        async def reached() -> dict[str, Any] | None:
            order = await self.order(order_id)
            return order if values.items() <= order.items() else None

        found: dict[str, Any] | None = await until(reached)
        assert found is not None
        return found

    async def until_trade(self, opened: dict[str, Any], status: str) -> dict[str, Any]:
        """A trade once it has a status."""

        async def reached() -> dict[str, Any] | None:
            trade = await self.trade(opened)
            return trade if trade["status"] == status else None

        found: dict[str, Any] | None = await until(reached)
        assert found is not None
        return found

    async def events(self) -> list[str]:
        """The person's log from its beginning: "type" or "type reason"."""
        answer = await self.client.get(f"{API}/events?limit=1000", headers=self.person.headers)
        assert answer.status_code == 200, answer.text
        return [f"{event['type']} {event['data']['reason'] or ''}".strip() for event in answer.json()["events"]]


def refusal(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The details of an error answer in the one envelope."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details", "timestamp", "request_id"}
    assert error["code"] == code, answer.text
    assert error["request_id"] == answer.headers["x-request-id"]
    details: dict[str, Any] = error["details"]
    return details
