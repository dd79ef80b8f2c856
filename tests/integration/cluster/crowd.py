"""Users of a cluster under fire: who trades, who reads along, and how each goes on when a process or server dies."""

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.waiting import back_off, until

PAIR = "BTCUSDT"
MIDDLE, SWING, SWING_ROWS, ROWS, ROW_MS = 60_000, 240, 120, 40_000, 250
CHANNELS = ("trades", "positions", "deposits")
# Answers of a cluster that cannot just now; everything else is final.
NOT_NOW = {429, 500, 502, 503, 504}
NOT_YET = {"IDEMPOTENCY_IN_FLIGHT", "CONFLICT"}
PATIENCE_SECONDS = 120.0
PASSWORD = "a long enough phrase"


def write_market(folder: Path) -> Path:
    """Write a recording that swings up and down, so that every stop is reached sooner or later; its file."""
    path = folder / "swinging.csv"
    with path.open("w") as file:
        file.write("ts_ms,bid,ask\n")
        for row in range(ROWS):
            turn, step = divmod(row, SWING_ROWS)
            share = Decimal(step) / SWING_ROWS
            price = MIDDLE + SWING * (share if turn % 2 == 0 else 1 - share)
            file.write(f"{row * ROW_MS},{price - Decimal('0.5'):.2f},{price + Decimal('0.5'):.2f}\n")
    return path


@dataclass(repr=False)
class Trader:
    """A user who opens trades with exits, closes some by hand, and asks again until there is an answer."""

    number: int
    urls: Sequence[str]
    choice: random.Random
    user_id: int = 0
    token: str = ""
    opened: set[int] = field(default_factory=set)
    _keys: "count[int]" = field(default_factory=count)

    async def sign_in(self) -> None:
        """Register; or log in, where the answer to that was lost."""
        account = {"email": f"t{self.number}@example.com", "username": f"trader{self.number}", "password": PASSWORD}
        answer = await self.ask("POST", "/api/v1/auth/register", account)
        if answer.status_code == httpx2.codes.CONFLICT:
            answer = await self.ask("POST", "/api/v1/auth/login", account)
        assert answer.is_success, answer.text
        self.token = answer.json()["access_token"]
        self.user_id = (await self.ask("GET", "/api/v1/auth/me", None)).json()["id"]

    async def trade(self, is_over: asyncio.Event) -> None:
        """Open one trade after the other until told that it is over."""
        while not is_over.is_set():
            told = await self._opened()
            if told is not None and self.choice.random() < 0.3:
                await self.ask("DELETE", f"/api/v1/trading/trades/{told['pair_id']}/{told['trade_index']}", None)

    async def _opened(self) -> Mapping[str, Any] | None:
        """A new trade; None where the venue would not have it."""
        is_long = self.choice.random() < 0.5
        ahead = 1 if is_long else -1
        exits = self.choice.choice(
            (
                {"order_type": "TRAILING_STOP", "trailing_stop_distance": 60},
                {
                    "order_type": "OCO",
                    "oco_stop_price": MIDDLE + SWING / 2 - ahead * 300,
                    "oco_take_profit_price": MIDDLE + SWING / 2 + ahead * 200,
                },
                {"order_type": "MARKET"},
            )
        )
        body = {"asset": PAIR, "direction": is_long, "collateral": 20, "leverage": 5, **exits}
        answer = await self.ask("POST", "/api/v1/trading/trades", body)
        if answer.status_code != httpx2.codes.CREATED:
            assert answer.status_code < httpx2.codes.INTERNAL_SERVER_ERROR or _code(answer) == "TRADE_EXECUTION_FAILED"
            return None
        told: dict[str, Any] = answer.json()
        assert told["trade_id"] not in self.opened, "two requests were answered with one trade"
        self.opened.add(told["trade_id"])
        return told

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx2.Response:
        """Ask one API after the other, under one key, until an answer decides."""
        headers = {"Idempotency-Key": f"{self.number}-{next(self._keys)}"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        heard: Counter[str] = Counter()

        async def decided() -> httpx2.Response | None:
            url = self.choice.choice(self.urls) + path
            try:
                async with httpx2.AsyncClient(trust_env=False, timeout=15) as client:
                    answer = await client.request(method, url, json=body, headers=headers)
            except httpx2.HTTPError as error:
                heard[type(error).__name__] += 1
            else:
                if not is_open(answer):
                    return answer
                heard[f"{answer.status_code} {_code(answer)}"] += 1
            await back_off()
            return None

        try:
            found = await until(decided, seconds=PATIENCE_SECONDS)
        except AssertionError:
            raise AssertionError(f"{method} {path} was never answered: {heard.most_common(5)}") from None
        assert found is not None
        return found


def is_open(answer: httpx2.Response) -> bool:
    """Whether an answer decides nothing: the same may be asked again."""
    code = _code(answer)
    return code in NOT_YET or (answer.status_code in NOT_NOW and code != "TRADE_EXECUTION_FAILED")


def _code(answer: httpx2.Response) -> str | None:
    if answer.is_success:
        return None
    code: str | None = answer.json().get("error", {}).get("code")
    return code


@dataclass(repr=False)
class Reader:
    """A WebSocket client that resumes where it was; `told` are the sequences of each channel, as they came."""

    trader: Trader
    urls: Sequence[str]
    choice: random.Random
    told: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    connections: int = 0
    prices: int = 0
    snapshots: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def sequences(self) -> list[int]:
        """What all channels told, in the order of the log."""
        return sorted(sequence for channel in self.told.values() for sequence in channel)

    async def read(self) -> None:
        """Read until cancelled, over whichever API answers."""
        while True:
            url = self.choice.choice(self.urls).replace("http", "ws", 1) + "/ws"
            try:
                headers = {"Authorization": f"Bearer {self.trader.token}"}
                async with connect(url, additional_headers=headers, proxy=None, compression=None) as connection:
                    self.connections += 1
                    await self._follow(connection)
            except (OSError, TimeoutError, WebSocketException):
                await back_off()

    async def _follow(self, connection: ClientConnection) -> None:
        """Subscribe to everything since what is known, and read until the connection ends."""
        for channel in CHANNELS:
            data = {"since": self.told[channel][-1] if self.told[channel] else 0}
            await connection.send(json.dumps({"type": "subscribe", "channel": channel, "data": data}))
        await connection.send(json.dumps({"type": "subscribe", "channel": "prices", "data": {"pairs": [PAIR]}}))
        async for text in connection:
            frame = json.loads(text)
            if frame["type"] == "error":
                # It cannot just now: what was asked for is asked for again, on another connection.
                self.errors.append(f"{frame['channel']}: {frame['data']['code']}")
                return
            self._take(frame)

    def _take(self, frame: Mapping[str, Any]) -> None:
        if frame["type"] == "subscribed" and frame["channel"] != "prices" and not frame["data"]["recovered"]:
            self.snapshots += 1
        if frame["type"] == "price_update":
            self.prices += 1
        elif "sequence" in frame:
            self.told[frame["channel"]].append(frame["sequence"])
