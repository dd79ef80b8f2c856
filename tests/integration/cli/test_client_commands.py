"""The client commands against a real server: what a trader does from a terminal."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from rich.live import Live

from app.bootstrap import Container
from app.cli import account, price_watch
from app.cli.client import ApiClient, Document
from tests.integration.cli.terminal import PHRASE, Ask, Run, failure
from tests.waiting import until


async def test_sessions(run: Run, ask: Ask, trader: str) -> None:
    assert trader in (await run("whoami")).stdout
    assert (await ask("whoami"))["email"] == trader
    assert "Logged out" in (await run("logout")).stdout
    assert (await failure(run, "whoami"))["code"] == "NOT_LOGGED_IN"
    login = ("login", "--email", trader, "--password-stdin")
    wrong = await run(*login, stdin="wrong phrase\n", code=1)
    assert "INVALID_CREDENTIALS" in wrong.stderr
    assert "Logged in" in (await run(*login, stdin=f"{PHRASE}\n")).stdout
    assert (await ask("whoami"))["email"] == trader


async def test_an_email_that_is_taken(run: Run, trader: str) -> None:
    words = ("register", "--email", trader, "--username", "someone-else", "--password-stdin")
    assert (await failure(run, *words, stdin=f"{PHRASE}\n"))["details"]["fields"] == ["email"]


async def test_a_session_that_was_ended_elsewhere(run: Run, ask: Ask, trader: str, container: Container) -> None:
    me = (await ask("whoami"))["id"]
    for session in await container.auth.sessions(me):
        await container.auth.revoke_session(me, session.public_id, "revoked")
    assert (await failure(run, "positions"))["code"] == "UNAUTHORIZED"
    assert "Logged out" in (await run("logout")).stdout


async def test_public_answers_need_no_login(run: Run, ask: Ask) -> None:
    assert "EURUSD" in (await run("pairs")).stdout
    assert {pair["category"] for pair in (await ask("pairs", "--category", "forex"))["pairs"]} == {"forex"}
    shown = await run("prices", "get", "BTC", "NOPE", "ETH", code=1)
    assert "BTCUSDT" in shown.stdout
    assert "ETHUSDT" in shown.stdout
    assert "NOPE: PAIR_NOT_FOUND" in shown.stderr
    told = json.loads((await run("prices", "get", "BTC", "NOPE", "--json", code=1)).stdout)
    assert [error["code"] for error in told["errors"]] == ["PAIR_NOT_FOUND"]
    assert (await ask("prices", "get", "BTC"))["prices"][0]["pair"] == "BTCUSDT"
    assert (await failure(run, "prices", "get", "NOPE"))["code"] == "PAIR_NOT_FOUND"


async def test_watching_prices_once(run: Run, trader: str) -> None:
    shown = await run("prices", "watch", "BTC", "EURUSD", "NOPE", "--once")
    assert "BTCUSDT" in shown.stdout
    assert "EURUSD" in shown.stdout
    assert "not known: NOPE" in shown.stderr
    lines = (await run("prices", "watch", "BTC", "ETH", "--once", "--json")).stdout.splitlines()
    assert {json.loads(line)["pair"] for line in lines} == {"BTCUSDT", "ETHUSDT"}
    assert (await failure(run, "prices", "watch", "NOPE", "--once"))["code"] == "PAIR_NOT_FOUND"


async def test_a_trade_from_its_preview_to_its_close(run: Run, ask: Ask, trader: str) -> None:
    order = ("trade", "open", "BTC", "--long", "--collateral", "100", "--leverage", "10", "--trailing", "5%")
    assert (await ask(*order, "--preview"))["refusals"] == []
    assert "liquidation price" in (await run(*order, "--preview")).stdout
    assert (await ask("positions"))["positions"] == []
    opened = await run(*order, "--stop", "60000")
    assert "Opened." in opened.stdout
    assert "exit orders  #" in opened.stdout
    (position,) = (await ask("positions"))["positions"]
    assert position["leverage"] == 10
    assert len(position["exit_order_ids"]) == 2
    shown_positions = (await run("positions")).stdout
    assert "BTCUSDT" in shown_positions
    exits = ", ".join(f"#{number}" for number in position["exit_order_ids"])
    assert exits in shown_positions
    part = await ask("trade", "close", "BTC", "--fraction", "50%")
    assert part["status"] == "partially_closed"
    assert "Closed." in (await run("trade", "close", str(position["trade_id"]))).stdout
    shown = await ask("trade", "show", str(position["trade_id"]))
    assert shown["status"] == "closed"
    assert {order["status"] for order in shown["orders"]} == {"filled", "cancelled"}
    assert "closed" in (await run("trade", "list", "--status", "closed")).stdout
    again = await failure(run, "trade", "close", str(position["pair_id"]), str(position["trade_index"]))
    assert again["code"] == "TRADE_NOT_FOUND"


async def test_a_refusal_says_what_to_do(run: Run, trader: str) -> None:
    order = ("trade", "open", "BTC", "--short", "--collateral", "100")
    told = await run(*order, "--leverage", "500", code=1)
    assert "error: LEVERAGE_OUT_OF_RANGE" in told.stderr
    assert "from 1 to 50" in told.stderr
    assert "hint: marqetfi pairs" in told.stderr
    assert (await failure(run, *order, "--collateral", "1000000"))["code"] == "INSUFFICIENT_BALANCE"
    assert (await failure(run, "trade", "open", "NOPE", "--long", "--collateral", "1"))["code"] == "UNSUPPORTED_ASSET"
    unknown = await run("trade", "open", "SOLLUSDT", "--long", "--collateral", "1", code=1)
    assert "details." not in unknown.stderr
    assert unknown.stderr.count("SOLUSDT") == 1
    bare = await run("trade", "open", "QQQQQQQQ", "--long", "--collateral", "1", code=1)
    assert "near" not in bare.stderr


async def test_a_trade_that_could_be_several(run: Run, ask: Ask, trader: str) -> None:
    order = ("trade", "open", "BTC", "--long", "--collateral", "20")
    ids = [(await ask(*order))["trade_id"] for _ in range(2)]
    told = await run("trade", "close", "BTC", code=1)
    assert "error: TRADE_AMBIGUOUS You have 2 open positions in BTC: trades" in told.stderr
    assert all(str(trade_id) in told.stderr for trade_id in ids)
    assert (await failure(run, "order", "attach", "BTC", "--stop", "1"))["details"]["trade_ids"] == ids


async def test_orders_are_attached_amended_and_cancelled(run: Run, ask: Ask, trader: str) -> None:
    opened = await ask("trade", "open", "ETH", "--long", "--collateral", "50", "--leverage", "2")
    attach = ("order", "attach", "ETH")
    stop = await ask(*attach, "--stop", "2000")
    assert (stop["order_type"], stop["trade_id"]) == ("STOP_LOSS", opened["trade_id"])
    assert (await ask(*attach, "--take-profit", "9000"))["order_type"] == "TAKE_PROFIT"
    assert (await ask(*attach, "--trailing", "300"))["order_type"] == "TRAILING_STOP"
    assert (await ask(*attach, "--oco-stop", "1900", "--oco-take-profit", "9900"))["order_type"] == "OCO"
    amended = await run("order", "amend", str(stop["id"]), "--stop", "2100")
    assert "2,100" in amended.stdout
    assert (await ask("order", "show", str(stop["id"])))["stop_price"] == 2100
    assert "Cancelled." in (await run("order", "cancel", str(stop["id"]))).stdout
    pending = (await ask("orders", "--status", "pending", "--trade-id", str(opened["trade_id"])))["orders"]
    assert {order["order_type"] for order in pending} == {"TAKE_PROFIT", "TRAILING_STOP", "OCO"}
    assert "trails by 300" in (await run("orders")).stdout


async def test_pages(run: Run, ask: Ask, trader: str) -> None:
    for price in ("50000", "50001"):
        resting = await run("trade", "open", "BTC", "--long", "--collateral", "10", "--limit", price)
        assert "Accepted" in resting.stdout
    first = await run("orders", "--limit", "1")
    assert "50,001" in first.stdout
    cursor = first.stdout.split("--cursor ")[1].split()[0]
    second = (await ask("orders", "--limit", "1", "--cursor", cursor))["orders"]
    assert [order["price"] for order in second] == [50000]
    assert len((await ask("trade", "list", "--limit", "2"))["trades"]) == 2


async def latest_events(run: Run, ask: Ask, sequences: list[int]) -> None:
    """Without a place to begin at, the latest are shown; with one, how to read on."""
    assert [event["sequence"] for event in (await ask("events", "--limit", "2"))["events"]] == sequences[-2:]
    assert "There are earlier ones" in (await run("events", "--limit", "2")).stderr
    assert "There are earlier ones" not in (await run("events")).stderr
    assert "more: --after 2" in (await run("events", "--limit", "2", "--after", "0")).stdout
    assert f"Nothing after {sequences[-1]}." in (await run("events", "--after", str(sequences[-1]))).stdout
    beyond = await run("events", "--after", "4000")
    assert f"no event 4000 at this server: the log ends with {sequences[-1]}." in beyond.stderr
    filled = [event["sequence"] for event in (await ask("events", "--types", "order.filled"))["events"]]
    latest = (await ask("events", "--types", "order.filled", "--limit", "1"))["events"]
    assert [event["sequence"] for event in latest] == filled[-1:]
    assert len(filled) > 1


async def test_money_and_log(run: Run, ask: Ask, trader: str) -> None:
    assert (await ask("portfolio"))["equity"] == 10_000
    assert "Nothing has happened yet." in (await run("events")).stdout
    opened = await ask("trade", "open", "SOL", "--long", "--collateral", "20")
    assert (await failure(run, "paper", "reset"))["code"] == "CONFLICT"
    await run("trade", "close", "SOL")
    events = (await ask("events"))["events"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["data"]["trade_id"] == opened["trade_id"]
    closed = (await ask("events", "--types", "trade.closed"))["events"]
    assert [event["type"] for event in closed] == ["trade.closed"]
    assert "trade.closed" in (await run("events", "--after", str(closed[0]["sequence"] - 1))).stdout
    await latest_events(run, ask, [event["sequence"] for event in events])
    assert (await ask("paper", "reset"))["equity"] == 10_000
    assert "10,000 USDC" in (await run("portfolio")).stdout


async def test_what_may_still_be_opened(run: Run, ask: Ask, trader: str) -> None:
    assert "0 of 200" in (await run("limits")).stdout
    await run("trade", "open", "SOL", "--long", "--collateral", "20", "--leverage", "2")
    shown = (await run("limits")).stdout
    told = await ask("limits")
    assert "1 of 200" in shown
    assert f"{told['venues'][0]['notional']['current']:,f} USDC, no cap" in shown
    assert shown.count("any number") == len(told["rate_limits"])


@pytest.mark.usefixtures("one_day")
async def test_results(run: Run, ask: Ask, trader: str) -> None:
    assert (await ask("analytics", "summary"))["trades_closed"] == 0
    assert "win rate          -" in (await run("analytics", "summary")).stdout
    for asset in ("SOL", "EURUSD"):
        await run("trade", "open", asset, "--long", "--collateral", "20")
        await run("trade", "close", asset)
    today = datetime.now(UTC).date()
    summary = await ask("analytics", "summary", "--from", today.isoformat())
    money = await ask("portfolio")
    assert (summary["trades_closed"], summary["pnl"]) == (2, money["realized_pnl"])
    shown = (await run("analytics", "summary")).stdout
    assert f"{money['realized_pnl']:+,f} USDC" in shown
    assert f"{round(summary['max_drawdown'], 6).normalize():,f} USDC" in shown
    assert len((await ask("analytics", "pnl", "--by", "week"))["points"]) == 12
    (row,) = [line for line in (await run("analytics", "pnl")).stdout.splitlines() if "█" in line]
    assert row.strip().startswith(today.isoformat())
    assert f"{summary['net_pnl']:+,f}" in row
    wrong = await run("analytics", "pnl", "--from", "yesterday", code=2)
    assert "is not a day such as 2026-01-31" in wrong.stderr
    reversed_days = await failure(run, "analytics", "pnl", "--from", "2026-02-02", "--to", "2026-02-01")
    assert reversed_days["details"]["errors"][0]["code"] == "range_reversed"


class Interrupting:
    """Collects what a command writes, and then does as Ctrl-C does."""

    def __init__(self, count: int) -> None:
        self.seen: list[Any] = []
        self._count = count

    def __call__(self, value: Any) -> None:
        self.seen.append(value)
        if len(self.seen) == self._count:
            raise KeyboardInterrupt


async def test_watching_prices_until_ctrl_c(run: Run, trader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Interrupting(6)
    monkeypatch.setattr(price_watch, "write_json", written)
    await run("prices", "watch", "BTC", "ETH", "--json")
    assert {price["pair"] for price in written.seen} == {"BTCUSDT", "ETHUSDT"}
    bitcoin = [price["sequence"] for price in written.seen if price["pair"] == "BTCUSDT"]
    assert bitcoin == sorted(set(bitcoin))


async def test_a_live_table_of_every_pair(run: Run, trader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Interrupting(3)

    class CountingLive(Live):
        def update(self, renderable: Any, *, refresh: bool = False) -> None:
            super().update(renderable, refresh=refresh)
            drawn(renderable.row_count)

    monkeypatch.setattr(price_watch, "Live", CountingLive)
    monkeypatch.setenv("FORCE_COLOR", "1")
    await run("prices", "watch")
    assert drawn.seen[-1] == 13


async def test_prices_that_are_watched_into_a_file_are_lines(
    run: Run, trader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Interrupting(4)
    prices = price_watch._endless_prices

    def counted(client: ApiClient, names: list[str]) -> Iterator[Document | None]:
        for price in prices(client, names):
            yield price
            if price is not None:
                seen(price)

    monkeypatch.setattr(price_watch, "_endless_prices", counted)
    lines = (await run("prices", "watch", "BTC", "ETH")).stdout.splitlines()
    assert len(lines) == 4
    for line, price in zip(lines, seen.seen, strict=True):
        moment = price["timestamp"][:19].replace("T", " ")
        numbers = [f"{Decimal(price[name]):,f}" for name in ("bid", "ask", "price")]
        assert line == "  ".join([moment, price["pair"], *numbers])


async def test_following_the_log(
    run: Run, ask: Ask, trader: str, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await ask("trade", "open", "BTC", "--long", "--collateral", "20")
    before = (await ask("events"))["events"]
    written = Interrupting(len(before) + 1)
    monkeypatch.setattr(account, "write_json", written)
    login = await client.post("/api/v1/auth/login", json={"email": trader, "password": PHRASE})
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    async with asyncio.TaskGroup() as group:
        group.create_task(run("events", "--follow", "--json"))
        await until(lambda: len(written.seen) == len(before))
        # While the other command runs: two at a time would fight over standard output.
        path = f"/api/v1/trading/trades/{opened['pair_id']}/{opened['trade_index']}"
        assert (await client.delete(path, headers=headers)).status_code == 200
    assert [event["sequence"] for event in written.seen] == list(range(1, len(before) + 2))
    assert written.seen[:-1] == before
