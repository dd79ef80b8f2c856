"""Attach, look at, amend and cancel orders."""

from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Answer, ApiClient, Document, api_client
from app.cli.console import screen, write_line
from app.cli.naming import find_trade, with_pairs
from app.cli.options import (
    Activation,
    AsJson,
    NewOcoStop,
    NewOcoTakeProfit,
    NewStop,
    NewTakeProfit,
    NewTrailing,
    NoActivation,
    OcoStop,
    OcoTakeProfit,
    PriceProtect,
    Stop,
    TakeProfit,
    Trailing,
    TriggerBy,
    Url,
    levels,
    watching,
)
from app.cli.tables import ORDERS, show
from app.cli.trades import TradeName, tell_next

app = typer.Typer(no_args_is_help=True)

OrderId = Annotated[int, typer.Argument(metavar="ORDER_ID", min=1)]
# Which order a set of levels makes.
_KINDS = {
    frozenset({"stop_price"}): "STOP_LOSS",
    frozenset({"take_profit_price"}): "TAKE_PROFIT",
    frozenset({"trailing_stop_distance"}): "TRAILING_STOP",
    frozenset({"trailing_stop_percentage"}): "TRAILING_STOP",
    frozenset({"oco_stop_price", "oco_take_profit_price"}): "OCO",
}


@app.callback()
def _group() -> None:
    """Attach, look at, amend and cancel orders."""


def orders(
    status: Annotated[list[str] | None, typer.Option(help="Only these: pending, filled ... (may be repeated)")] = None,
    trade_id: Annotated[int | None, typer.Option(min=1, help="Only this trade's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Orders of a page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The next_cursor of the page before.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List orders, newest first."""
    query = {"status": status, "trade_id": trade_id, "limit": limit, "cursor": cursor}
    with api_client(url) as client:
        answer = client.get("/trading/orders", query)
        if as_json:
            write_line(answer.text)
            return
        show(ORDERS, with_pairs(client, answer.data["orders"]), "No orders.")
    tell_next(answer)


@app.command()
def attach(
    trade: TradeName,
    stop: Stop = None,
    take_profit: TakeProfit = None,
    trailing: Trailing = None,
    oco_stop: OcoStop = None,
    oco_take_profit: OcoTakeProfit = None,
    activation: Activation = None,
    trigger_by: TriggerBy = None,
    price_protect: PriceProtect = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Attach one exit to an open trade."""
    given = levels(stop, take_profit, trailing, oco_stop, oco_take_profit)
    kind = _KINDS.get(frozenset(given))
    given |= levels(None, None, None, None, None, activation) | watching(trigger_by, price_protect)
    if kind is None:
        raise typer.BadParameter(
            "give one exit: --stop, --take-profit, --trailing, or --oco-stop with --oco-take-profit"
        )
    with api_client(url) as client:
        pair_id, index = find_trade(client, trade)
        body: Document = {"order_type": kind, "pair_id": pair_id, "trade_index": index, **given}
        _show_order(client, client.once("POST", "/trading/orders", body=body), "Attached", as_json=as_json)


@app.command("show")
def show_order(order_id: OrderId, url: Url = None, as_json: AsJson = False) -> None:
    """Show an order."""
    with api_client(url) as client:
        _show_order(client, client.get(f"/trading/orders/{order_id}"), None, as_json=as_json)


@app.command()
def amend(
    order_id: OrderId,
    stop: NewStop = None,
    take_profit: NewTakeProfit = None,
    trailing: NewTrailing = None,
    oco_stop: NewOcoStop = None,
    oco_take_profit: NewOcoTakeProfit = None,
    activation: Activation = None,
    no_activation: NoActivation = False,
    trigger_by: TriggerBy = None,
    price_protect: PriceProtect = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Change terms of an exit that has not fired; what is left out stays."""
    if no_activation and activation is not None:
        raise typer.BadParameter("say where the trailing stop begins: --activation, or at once by --no-activation")
    given = levels(stop, take_profit, trailing, oco_stop, oco_take_profit, activation)
    given |= watching(trigger_by, price_protect)
    if no_activation:
        given["activation_price"] = None
    if not given:
        raise typer.BadParameter("give at least one term to change, such as --stop, --trailing or --trigger-by")
    with api_client(url) as client:
        _show_order(client, client.patch(f"/trading/orders/{order_id}", given), "Amended", as_json=as_json)


@app.command()
def cancel(order_id: OrderId, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel an exit that has not fired, or a resting entry."""
    with api_client(url) as client:
        _show_order(client, client.delete(f"/trading/orders/{order_id}"), "Cancelled", as_json=as_json)


def _show_order(client: ApiClient, answer: Answer, done: str | None, *, as_json: bool) -> None:
    if as_json:
        write_line(answer.text)
        return
    if done is not None:
        screen().print(Text(f"{done}.", style="bold green"))
    show(ORDERS, with_pairs(client, [answer.data]), "")
