"""`marqetfi seed`: a demo user with a few trades on the paper venue. Run again, it finds what is there."""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import ApiClient, Document, api_client, default_url, is_loopback
from app.cli.console import say, screen, write_json
from app.cli.credentials import CredentialStore
from app.cli.environment import load_settings
from app.cli.failure import Failure
from app.cli.options import AsJson, Url
from app.cli.serving import serving

EMAIL = "demo@example.com"
USERNAME = "demo"
KNOWN_PHRASE = "paper-trading-demo"
PRICE_SECONDS = 10.0
PAUSE_SECONDS = 0.1
# What a venue or a feed may have against a trade without anything being wrong with us.
EXCUSES = frozenset({"MARKET_CLOSED", "PRICE_STALE", "INSUFFICIENT_BALANCE", "UNSUPPORTED_ASSET"})


@dataclass(frozen=True, slots=True)
class DemoTrade:
    """A trade of the demo user; levels are factors of the price at the time."""

    name: str
    asset: str
    is_long: bool
    collateral: int
    leverage: int
    levels: tuple[tuple[str, str], ...] = ()
    trailing_per_cent: str | None = None
    is_closed: bool = False

    def body(self, price: Decimal, step: Decimal) -> Document:
        """The request that opens it."""
        body: Document = {
            "asset": self.asset,
            "direction": self.is_long,
            "collateral": self.collateral,
            "leverage": self.leverage,
            "client_order_id": self.name,
        }
        for field, factor in self.levels:
            steps = (price * Decimal(factor) / step).to_integral_value(ROUND_HALF_EVEN)
            body[field] = f"{steps * step:f}"
        if self.trailing_per_cent is not None:
            body["trailing_stop_percentage"] = self.trailing_per_cent
        body["order_type"] = "LIMIT" if "price" in body else "MARKET"
        return body


DEMO_TRADES = (
    DemoTrade("demo-trailing", "BTCUSDT", True, 500, 10, trailing_per_cent="1"),
    DemoTrade("demo-oco", "ETHUSDT", False, 250, 5, (("oco_stop_price", "1.03"), ("oco_take_profit_price", "0.96"))),
    DemoTrade("demo-bracket", "EURUSD", True, 1000, 20, (("stop_price", "0.995"), ("take_profit_price", "1.005"))),
    DemoTrade("demo-closed", "SOLUSDT", True, 200, 3, is_closed=True),
    DemoTrade("demo-limit", "BTCUSDT", True, 300, 5, (("price", "0.95"),)),
)


def seed(
    password: Annotated[
        str | None, typer.Option(help="The demo user's password; needed where others can reach the server.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a demo user with a few trades."""
    target = url or default_url()
    if password is None and not is_loopback(target):
        raise typer.BadParameter(f"choose a --password: {target} is not this machine")
    if url is not None or _answers(target):
        done = _plant(target, password or KNOWN_PHRASE)
    else:
        done = asyncio.run(_plant_offline(password or KNOWN_PHRASE))
    if as_json:
        write_json(done)
        return
    for name, state in done["trades"].items():
        screen().print(Text(f"{name:<14} {state}"))
    login = Text.assemble(
        "Log in: marqetfi login --email ", (EMAIL, "bold"), "  password: ", (done["password"], "bold")
    )
    screen().print(login, soft_wrap=True)


def _answers(url: str) -> bool:
    with api_client(url) as client:
        try:
            client.health()
        except Failure as failure:
            if failure.code != "SERVER_UNREACHABLE":
                raise
            return False
    return True


async def _plant_offline(password: str) -> Document:
    """Plant in a server of our own, which runs for as long as that takes."""
    settings = load_settings()
    if settings.is_production:
        raise Failure("REFUSED", "ENVIRONMENT=production: no demo user with a known password is made here.")
    say(Text("No server runs here; starting one for the length of this command.", style="dim"))
    async with serving(settings) as url:
        return await asyncio.to_thread(_plant, url, password)


def _plant(url: str, password: str) -> Document:
    """Make what is missing of the demo user and its trades; what was found or made, by name."""
    with tempfile.TemporaryDirectory() as folder, api_client(url, CredentialStore(Path(folder))) as client:
        _log_in(client, password)
        orders = client.get("/trading/orders", {"limit": 200}).data["orders"]
        there = {order["client_order_id"] for order in orders}
        steps = {pair["symbol"]: Decimal(pair["price_step"]) for pair in client.get("/trading/pairs").data["pairs"]}
        missing = [trade for trade in DEMO_TRADES if trade.name not in there]
        prices = _prices(client, {trade.asset for trade in missing} & steps.keys())
        trades = {trade.name: "was there" for trade in DEMO_TRADES if trade.name in there}
        for trade in missing:
            if trade.asset in prices:
                trades[trade.name] = _open(client, trade, prices[trade.asset], steps[trade.asset])
            else:
                trades[trade.name] = f"left out: {trade.asset} has no price"
    return {"email": EMAIL, "password": password, "trades": trades}


def _log_in(client: ApiClient, password: str) -> None:
    try:
        client.authenticate("/auth/login", {"email": EMAIL, "password": password}, EMAIL)
    except Failure as failure:
        if failure.code != "INVALID_CREDENTIALS":
            raise
        body = {"email": EMAIL, "username": USERNAME, "password": password}
        try:
            client.authenticate("/auth/register", body, EMAIL)
        except Failure as taken:
            if taken.code != "ALREADY_EXISTS":
                raise
            hint = "Give its --password."
            raise Failure("INVALID_CREDENTIALS", f"{EMAIL} exists with another password.", hint=hint) from None


def _prices(client: ApiClient, symbols: set[str]) -> dict[str, Decimal]:
    """The prices of symbols, once they have one; of a server that has just started, in a moment."""
    deadline = time.monotonic() + PRICE_SECONDS
    prices: dict[str, Decimal] = {}
    while symbols - prices.keys() and time.monotonic() < deadline:
        answer = client.get("/prices", {"pairs": ",".join(sorted(symbols))}).data
        prices = {price["pair"]: Decimal(price["price"]) for price in answer["prices"] if price["market_open"]}
        if symbols - prices.keys():
            time.sleep(PAUSE_SECONDS)
    return prices


def _open(client: ApiClient, trade: DemoTrade, price: Decimal, step: Decimal) -> str:
    """Open a trade, and close it where it is to be a closed one; what became of it."""
    try:
        opened = client.once("POST", "/trading/trades", body=trade.body(price, step)).data
        if not trade.is_closed:
            return "rests" if opened["status"] == "pending" else "opened"
        closed = client.once("DELETE", f"/trading/trades/{opened['pair_id']}/{opened['trade_index']}").data
    except Failure as failure:
        if failure.code not in EXCUSES:
            raise
        return f"left out: {failure.code}"
    return f"opened, and {closed['status']}"
