"""A market that falls in steps, and what one user does before it falls: known ends, whatever dies on the way."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from tests.integration.engine.processes import Server
from tests.replays import PlayedRow, read_rows
from tests.waiting import until

PAIR = "BTCUSDT"
TOP, STEP, WAVES = 60_000, 100, 8
# For what an order may end now that is taken a moment later under another key; NOT_RECEIVED: it was lost on its way.
PASSING = frozenset({"PRICE_STALE", "NOT_RECEIVED"})
# At 1x the market stands still for as long as requests may take; at FAST each wave follows the last by 3 s.
STILL_MS, WAVE_MS, FAST = 400_000, 300_000, 100
# The feed goes on long enough for a close that settles late.
TAIL_MS = 20_000_000


@dataclass(frozen=True)
class Opening:
    """A trade to open, and the state that it must end in."""

    body: Mapping[str, Any]
    end: str


OPENINGS = {
    "stop": Opening({"direction": True, "order_type": "STOP_LOSS", "stop_price": 59850}, "closed"),
    "trailing": Opening({"direction": True, "order_type": "TRAILING_STOP", "trailing_stop_distance": 350}, "closed"),
    "limit": Opening({"direction": True, "order_type": "LIMIT", "price": 59750, "stop_price": 59250}, "closed"),
    "bracket": Opening(
        {"direction": False, "order_type": "OCO", "oco_stop_price": 61000, "oco_take_profit_price": 59450}, "closed"
    ),
    "risky": Opening({"direction": True, "order_type": "MARKET", "leverage": 50}, "liquidated"),
    "kept": Opening({"direction": False, "order_type": "STOP_LOSS", "stop_price": 65000}, "open"),
    "withdrawn": Opening({"direction": True, "order_type": "LIMIT", "price": 50000}, "cancelled"),
    "by hand": Opening({"direction": True, "order_type": "TAKE_PROFIT", "take_profit_price": 70000}, "closed"),
}


def write_market(folder: Path) -> Path:
    """Write the recording of the market; its file."""
    prices = [(at, TOP) for at in range(0, STILL_MS, 250)]
    for wave in range(1, WAVES + 1):
        start = STILL_MS + (wave - 1) * WAVE_MS
        prices += [(at, TOP - wave * STEP) for at in range(start, start + WAVE_MS, 25_000)]
    end = STILL_MS + WAVES * WAVE_MS
    prices += [(at, TOP - WAVES * STEP) for at in range(end, end + TAIL_MS, 50_000)]
    path = folder / "falling.csv"
    rows = "".join(f"{at},{price - Decimal('0.5')},{price + Decimal('0.5')}\n" for at, price in prices)
    path.write_text(f"ts_ms,bid,ask\n{rows}")
    return path


def market_rows(path: Path) -> list[PlayedRow]:
    """The rows of the recording."""
    return read_rows({PAIR: path})


def last_wave(path: Path) -> int:
    """The number of the row with which the last wave begins."""
    bottom = TOP - WAVES * STEP
    return next(row.number for row in market_rows(path) if row.mark == bottom)


class ServerDied(Exception):
    """The server is gone, and the request that was asked of it has no answer."""


@dataclass
class Asked:
    """What became of one opening: its last answer, and the states that its trade may end in."""

    ends: set[str]
    answer: Mapping[str, Any] | None = None
    is_refused: bool = False

    def never_opened(self, answer: httpx2.Response) -> bool:
        """Whether what is asked of its trade is answered so because the venue never heard of the opening."""
        is_failed = _code(answer) == "TRADE_NOT_FOUND" and answer.json()["error"]["details"]["status"] == "failed"
        return is_failed and "failed" in self.ends


@dataclass
class User:
    """Asks for everything in rounds, and again for what was not answered, each under a key of its own."""

    server: Server
    rounds: int = 0
    asked: dict[str, Asked] = field(default_factory=dict)
    _left: list[str] = field(default_factory=list)
    _headers: dict[str, str] = field(default_factory=dict)

    async def carry_on(self) -> None:
        """Finish the round that was begun, or do another one; ServerDied where the server goes away."""
        if not self._left:
            self.rounds += 1
            self._left = list(OPENINGS)
        async with self.server.client() as client:
            if not self._headers:
                await self._sign_in(client)
            while self._left:
                await self._do(client, self._left[0])
                self._left.pop(0)

    async def _sign_in(self, client: httpx2.AsyncClient) -> None:
        account = {"email": "kill@example.com", "username": "killed", "password": "a long enough phrase"}
        answer = await self._ask(client, "POST", "/api/v1/auth/register", None, account)
        if answer.status_code == 409:
            answer = await self._ask(client, "POST", "/api/v1/auth/login", None, account)
        self._headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def _do(self, client: httpx2.AsyncClient, name: str) -> None:
        """Open one trade, and do to it what the scenario wants; every step may have been done before."""
        opening, key = OPENINGS[name], f"{self.rounds}-{name.replace(' ', '-')}"
        asked = self.asked.setdefault(key, Asked({opening.end}))
        body = {"asset": PAIR, "collateral": 50, "leverage": 10, **opening.body}
        answer = await self._ask(client, "POST", "/api/v1/trading/trades", key, body)
        if answer.status_code != 201:
            assert answer.json()["error"]["code"] == "TRADE_EXECUTION_FAILED", answer.text
            asked.is_refused = True
            return
        told = answer.json()
        assert asked.answer is None or asked.answer == told, f"{key} was answered twice, and not alike"
        asked.answer = told
        if told["status"] == "pending" and not await self._is_taken(told["order_id"]):
            asked.ends.add("failed")
        if name == "kept":
            exits = {"trade_id": told["trade_id"], "order_type": "TAKE_PROFIT", "take_profit_price": 50000}
            answer = await self._ask(client, "POST", "/api/v1/trading/orders", f"{key}-exit", exits)
            assert answer.status_code == 201 or asked.never_opened(answer), answer.text
        if name == "withdrawn":
            await until(lambda: self._is_withdrawn(client, asked, told["order_id"]), seconds=60)
        if name == "by hand":
            answer = await self._close(client, asked, told, key)
            status = answer.json()["status"] if answer.status_code == 200 else None
            if status == "closing":
                asked.ends.add("open")
            if status == "cancelled":
                # Nobody had sent the opening yet.
                asked.ends = {"cancelled"}

    async def _close(
        self, client: httpx2.AsyncClient, asked: Asked, told: Mapping[str, Any], key: str
    ) -> httpx2.Response:
        """Close a trade, each time under a new key until the venue has not refused it for what passes."""
        path = f"/api/v1/trading/trades/{told['pair_id']}/{told['trade_index']}"
        tries = count(1)

        async def closed() -> httpx2.Response | None:
            # An entry whose outcome is not known yet can neither be closed nor cancelled.
            answer = await self._ask(client, "DELETE", path, f"{key}-close-{next(tries)}", None, not_yet=("CONFLICT",))
            if _code(answer) == "TRADE_EXECUTION_FAILED" and answer.json()["error"]["details"]["reason"] in PASSING:
                return None
            assert answer.status_code == 200 or asked.never_opened(answer), answer.text
            return answer

        answer = await until(closed, seconds=60)
        assert answer is not None
        return answer

    async def _is_withdrawn(self, client: httpx2.AsyncClient, asked: Asked, order_id: int) -> bool:
        """Ask for the cancel of an order, and whether it rests no longer: that may have been done unanswered."""
        path = f"/api/v1/trading/orders/{order_id}"
        answer = await self._ask(client, "DELETE", path, None, None)
        assert answer.status_code in (200, 409), answer.text
        order = await self._ask(client, "GET", path, None, None)
        return order.json()["status"] in ("cancelled", *(["rejected"] if "failed" in asked.ends else []))

    async def _is_taken(self, order_id: int) -> bool:
        """Whether it is known that the venue has the opening; it may never hear of one that it has not."""
        taken = "SELECT 1 FROM intents WHERE order_id = $1 AND kind = 'open' AND status IN ('resting', 'done')"
        return bool(await self.server.installation.query(taken, order_id))

    async def _ask(
        self,
        client: httpx2.AsyncClient,
        method: str,
        path: str,
        key: str | None,
        body: Mapping[str, Any] | None,
        not_yet: Sequence[str] = (),
    ) -> httpx2.Response:
        """Ask until there is an answer that decides; ServerDied when the server goes away first."""
        headers = {**self._headers, **({"Idempotency-Key": key} if key else {})}
        heard: Counter[str] = Counter()

        async def decided() -> httpx2.Response | None:
            try:
                answer = await client.request(method, path, json=body, headers=headers)
            except httpx2.HTTPError:
                await asyncio.wait_for(self.server.gone(), 60)
                raise ServerDied from None
            if answer.status_code == 500 or _code(answer) == "IDEMPOTENCY_IN_FLIGHT":
                # One request at a time: whoever holds the key is dead. Its last commit may have come after its end,
                # because the database finishes what it was told before it notices that nobody listens.
                await self.server.installation.expire_locks()
            is_open = answer.status_code >= 500 and _code(answer) != "TRADE_EXECUTION_FAILED"
            heard[answer.text] += 1
            return None if is_open or _code(answer) in ("IDEMPOTENCY_IN_FLIGHT", *not_yet) else answer

        try:
            found = await until(decided, seconds=60)
        except AssertionError:
            raise AssertionError(f"{method} {path} was never answered: {heard.most_common(3)}") from None
        assert found is not None
        return found


def _code(answer: httpx2.Response) -> str | None:
    if answer.status_code < 400:
        return None
    code: str | None = answer.json().get("error", {}).get("code")
    return code
