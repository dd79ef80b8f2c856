"""Open, close and look at trades and positions."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Answer, ApiClient, Document, api_client
from app.cli.console import screen, write_line
from app.cli.naming import find_trade, with_pairs
from app.cli.options import (
    Activation,
    AsJson,
    OcoStop,
    OcoTakeProfit,
    PriceProtect,
    Stop,
    TakeProfit,
    Trailing,
    TriggerBy,
    Url,
    check_pair,
    decimal,
    fraction,
    levels,
    watching,
)
from app.cli.tables import (
    ORDERS,
    POSITIONS,
    TRADES,
    exits_text,
    gain_text,
    liquidation_text,
    number_text,
    rounded,
    show,
    show_facts,
    side_text,
)
from app.domain.money import plain

app = typer.Typer(no_args_is_help=True)

TradeName = Annotated[
    list[str], typer.Argument(metavar="TRADE", help="PAIR_ID INDEX, or the trade's id, or the asset of a position.")
]
OUTCOMES = {
    "success": ("Opened", "green"),
    "pending": ("Accepted, not filled yet", "yellow"),
    "closed": ("Closed", "green"),
    "partially_closed": ("Closed in part", "green"),
    "closing": ("Closing", "yellow"),
    "cancelled": ("Cancelled, nothing was filled", "green"),
}


@app.callback()
def _group() -> None:
    """Open, close and look at trades."""


@app.command("open")
def open_trade(
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="BTC, EURUSD ... (see marqetfi pairs)")],
    collateral: Annotated[Decimal, typer.Option(parser=decimal, metavar="USDC", help="What you put in.")],
    is_long: Annotated[bool, typer.Option("--long", help="You win when the price rises ...")] = False,
    is_short: Annotated[bool, typer.Option("--short", help="... or when it falls; say one of them.")] = False,
    leverage: Annotated[int, typer.Option(min=1, help="How many times that.")] = 1,
    limit: Annotated[
        Decimal | None, typer.Option("--limit", parser=decimal, metavar="PRICE", help="Rest at this price.")
    ] = None,
    stop: Stop = None,
    take_profit: TakeProfit = None,
    trailing: Trailing = None,
    oco_stop: OcoStop = None,
    oco_take_profit: OcoTakeProfit = None,
    activation: Activation = None,
    trigger_by: TriggerBy = None,
    price_protect: PriceProtect = None,
    max_slippage: Annotated[
        Decimal | None, typer.Option(parser=fraction, metavar="PART", help="Refuse a worse price than by 0.1% ...")
    ] = None,
    expires_at: Annotated[
        datetime | None, typer.Option(help="When a resting order ends, in your time zone.", show_default=False)
    ] = None,
    client_order_id: Annotated[str | None, typer.Option(help="A name of your own for the order.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show what it would mean; do nothing.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Open a trade, with every exit that is given."""
    _check_direction(is_long=is_long, is_short=is_short)
    check_pair(oco_stop, oco_take_profit)
    body: Document = {
        "asset": asset,
        "direction": is_long,
        "collateral": plain(collateral),
        "leverage": leverage,
        "order_type": "MARKET" if limit is None else "LIMIT",
        **levels(stop, take_profit, trailing, oco_stop, oco_take_profit, activation),
        **watching(trigger_by, price_protect),
    }
    optional = {
        "price": None if limit is None else plain(limit),
        "max_slippage": None if max_slippage is None else plain(max_slippage),
        "expires_at": None if expires_at is None else expires_at.astimezone().isoformat(),
        "client_order_id": client_order_id,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    with api_client(url) as client:
        if preview:
            _show_preview(client.post("/trading/preview", body), as_json=as_json)
        else:
            _show_opened(client.once("POST", "/trading/trades", body=body), as_json=as_json)


def _check_direction(*, is_long: bool, is_short: bool) -> None:
    if is_long and is_short:
        raise typer.BadParameter("--long and --short are both given: say one of them")
    if not is_long and not is_short:
        raise typer.BadParameter("say which way: --long (you win when the price rises) or --short")


@app.command("close")
def close_trade(
    trade: TradeName,
    part: Annotated[
        Decimal | None, typer.Option("--fraction", parser=fraction, metavar="PART", help="Only a part: 0.5 or 50%.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Close a trade, whole or in part."""
    with api_client(url) as client:
        pair_id, index = find_trade(client, trade)
        query = {"fraction": None if part is None else plain(part)}
        _show_closed(client.once("DELETE", f"/trading/trades/{pair_id}/{index}", query=query), as_json=as_json)


@app.command("list")
def list_trades(
    status: Annotated[list[str] | None, typer.Option(help="Only these: open, closed ... (may be repeated)")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Trades of a page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The next_cursor of the page before.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List trades, newest first."""
    with api_client(url) as client:
        answer = client.get("/trading/trades", {"status": status, "limit": limit, "cursor": cursor})
        if as_json:
            write_line(answer.text)
            return
        show(TRADES, with_pairs(client, answer.data["trades"]), "No trades.")
    tell_next(answer)


@app.command("show")
def show_trade(trade: TradeName, url: Url = None, as_json: AsJson = False) -> None:
    """Show a trade and its orders."""
    with api_client(url) as client:
        answer = _trade(client, trade)
        if as_json:
            write_line(answer.text)
            return
        shown, *orders = with_pairs(client, [answer.data, *answer.data["orders"]])
    show(TRADES, [shown], "")
    show(ORDERS, orders, "No orders.")


def positions(url: Url = None, as_json: AsJson = False) -> None:
    """List open positions."""
    with api_client(url) as client:
        answer = client.get("/trading/positions")
    if as_json:
        write_line(answer.text)
    else:
        show(POSITIONS, answer.data["positions"], "No open positions.")


def tell_next(answer: Answer) -> None:
    """Say how to see the next page, where there is one."""
    if answer.data["next_cursor"] is not None:
        screen().print(Text(f"more: --cursor {answer.data['next_cursor']}", style="dim"))


def _trade(client: ApiClient, words: list[str]) -> Answer:
    pair_id, index = find_trade(client, words)
    return client.get(f"/trading/trades/{pair_id}/{index}")


def _show_opened(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        write_line(answer.text)
        return
    opened = answer.data
    _show_outcome(opened["status"])
    show_facts(
        [
            ("trade", f"{opened['trade_id']} (pair id {opened['pair_id']}, index {opened['trade_index']})"),
            ("order", str(opened["order_id"])),
            ("exit orders", exits_text(opened)),
            ("entry price", number_text(rounded(opened["entry_price"]))),
            ("size", number_text(opened["size"])),
            ("fee", number_text(opened["fee"])),
        ]
    )


def _show_closed(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        write_line(answer.text)
        return
    closed = answer.data
    _show_outcome(closed["status"])
    show_facts(
        [
            ("trade", str(closed["trade_id"])),
            ("order", str(closed["order_id"])),
            ("exit price", number_text(rounded(closed["exit_price"]))),
            ("PnL", gain_text(closed["pnl"], " USDC before fees")),
        ]
    )


def _show_preview(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        write_line(answer.text)
        return
    seen = answer.data
    show_facts(
        [
            ("pair", Text(f"{seen['pair']} at {seen['provider']}")),
            ("side", side_text(seen["side"] == "long")),
            ("entry price", number_text(rounded(seen["entry_price"]))),
            ("size", number_text(seen["size"])),
            ("notional", number_text(seen["notional"])),
            ("fee", number_text(seen["fee"])),
            ("margin", number_text(seen["margin"])),
            ("liquidation price", liquidation_text(seen["liquidation_price"])),
            ("free balance", number_text(seen["free_balance"])),
            *(("refused", Text(f"{one['code']}: {one['message']}", style="red")) for one in seen["refusals"]),
        ]
    )


def _show_outcome(status: str) -> None:
    sentence, style = OUTCOMES.get(status, (status, ""))
    screen().print(Text(f"{sentence}.", style=f"bold {style}".strip()))
