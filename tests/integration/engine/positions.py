"""Recorded markets to live through, and protected positions opened in them over HTTP."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from tests.integration.engine.processes import Server
from tests.replays import PlayedRow, played_rows, replay_setting

DECIMALS = {"BTCUSDT": 2, "EURUSD": 5, "XAUUSD": 3}
PASSED = ("STOP_WRONG_SIDE", "TAKE_PROFIT_WRONG_SIDE")


@dataclass(frozen=True)
class Recorded:
    """A recording: played at `speed` while positions are opened, then at `full_speed`."""

    symbols: tuple[str, ...]
    speed: int
    full_speed: int
    folder: Path

    @property
    def rows(self) -> list[PlayedRow]:
        return played_rows(self.folder, self.symbols)

    @property
    def settings(self) -> Mapping[str, str]:
        return {"PAPER_FEED": "replay", "PAPER_REPLAY": ",".join(replay_setting(self.folder, self.symbols))}


# The files last five minutes (BTC) and most of a day.
BTC = partial(Recorded, ("BTCUSDT",), 1, 20)
FOREX_AND_GOLD = partial(Recorded, ("EURUSD", "XAUUSD"), 10, 2_400)


async def open_positions(server: Server, symbols: Sequence[str], count: int, choice: random.Random) -> None:
    """Open positions with stops, targets and trailing stops on the pairs, while prices move."""
    async with server.client() as client:
        account = {"email": "kill@example.com", "username": "killed", "password": "a long enough phrase"}
        token = (await client.post("/api/v1/auth/register", json=account)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        opened = tried = 0
        while opened < count:
            body = await random_request(client, choice.choice(symbols), choice)
            tried += 1
            answer = await client.post(
                "/api/v1/trading/trades", json=body, headers={**headers, "Idempotency-Key": f"open-{tried}"}
            )
            # The price may have passed a level meanwhile.
            assert answer.status_code == 201 or answer.json()["error"]["code"] in PASSED, answer.text
            opened += answer.status_code == 201


async def random_request(client: httpx2.AsyncClient, pair: str, choice: random.Random) -> dict[str, Any]:
    """The body that opens a protected trade near the present price."""
    price = (await client.get(f"/api/v1/prices/{pair}")).json()["price"]
    is_long = choice.random() < 0.5
    gap = price * choice.uniform(0.0005, 0.004) * (1 if is_long else -1)
    stop, target = round(price - gap, DECIMALS[pair]), round(price + gap, DECIMALS[pair])
    levels = choice.choice(
        [
            {"order_type": "STOP_LOSS", "stop_price": stop},
            {"order_type": "TAKE_PROFIT", "take_profit_price": target},
            {"order_type": "TRAILING_STOP", "trailing_stop_percentage": round(choice.uniform(0.05, 0.4), 2)},
            {"order_type": "OCO", "oco_stop_price": stop, "oco_take_profit_price": target},
        ]
    )
    return {"asset": pair, "direction": is_long, "collateral": 50, "leverage": 10, **levels}
