"""The account's results: a summary, and a series with a chart."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Document, api_client
from app.cli.console import screen, write_line
from app.cli.options import AsJson, Url
from app.cli.tables import (
    NOTHING,
    Column,
    bar_text,
    gain,
    gain_text,
    money_text,
    number,
    number_text,
    rounded,
    show,
    show_facts,
    text,
)
from app.domain.analytics import ResultInterval

app = typer.Typer(no_args_is_help=True)


def _day(given: str) -> str:
    """A day such as 2026-01-31, as the API takes it."""
    try:
        return date.fromisoformat(given).isoformat()
    except ValueError:
        raise typer.BadParameter(f"{given!r} is not a day such as 2026-01-31") from None


First = Annotated[
    str | None, typer.Option("--from", parser=_day, metavar="DAY", help="The first day, UTC.", show_default=False)
]
Last = Annotated[
    str | None, typer.Option("--to", parser=_day, metavar="DAY", help="The last day, UTC.", show_default="today")
]


@app.callback()
def _group() -> None:
    """Show results by day, week or month."""


@app.command()
def summary(first: First = None, last: Last = None, url: Url = None, as_json: AsJson = False) -> None:
    """Show what a time came to; the last 30 days, unless told otherwise."""
    with api_client(url) as client:
        answer = client.get("/analytics/summary", {"from": first, "to": last})
    if as_json:
        write_line(answer.text)
        return
    found = answer.data
    show_facts(
        [
            ("days", f"{found['first_day']} to {found['last_day']} (UTC)"),
            ("net PnL", gain_text(found["net_pnl"], " USDC")),
            ("realised PnL", gain_text(found["pnl"], " USDC")),
            ("fees", money_text(found["fees"])),
            ("funding", gain_text(found["funding"], " USDC")),
            ("volume", money_text(found["volume"])),
            ("trades", f"{found['trades_opened']} opened, {found['trades_closed']} closed"),
            ("won, lost", f"{found['trades_won']}, {found['trades_lost']}"),
            ("win rate", _ratio(found, "win_rate", " %")),
            ("profit factor", _ratio(found, "profit_factor")),
            ("average win", _average(found["average_win"])),
            ("average loss", _average(found["average_loss"])),
            ("largest drawdown", money_text(found["max_drawdown"])),
        ]
    )


@app.command()
def pnl(
    interval: Annotated[ResultInterval, typer.Option("--by", help="How long each period lasts.")] = ResultInterval.DAY,
    first: First = None,
    last: Last = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show results period by period; 30 days, 12 weeks or 12 months, unless told otherwise."""
    with api_client(url) as client:
        answer = client.get("/analytics/pnl", {"interval": interval.value, "from": first, "to": last})
    if as_json:
        write_line(answer.text)
        return
    points = answer.data["points"]
    show(_columns(points), points, "")
    screen().print(Text("Days from midnight to midnight UTC. Net is PnL - fees + funding.", style="dim"))


def _columns(points: Sequence[Document]) -> list[Column]:
    largest = max(abs(point["net_pnl"]) for point in points)
    is_longer = any(point["first_day"] != point["last_day"] for point in points)
    return [
        Column("From", text("first_day")),
        *([Column("To", text("last_day"))] if is_longer else []),
        Column("Net", gain("net_pnl"), is_number=True),
        Column("", lambda point: bar_text(point["net_pnl"], largest)),
        Column("Sum", gain("cumulative_net_pnl"), is_number=True),
        Column("Closed", text("trades_closed"), is_number=True),
        Column("Won", text("trades_won"), is_number=True, is_minor=True),
        Column("PnL", gain("pnl"), is_number=True, is_minor=True),
        Column("Fees", number("fees"), is_number=True, is_minor=True),
        Column("Funding", gain("funding"), is_number=True, is_minor=True),
        Column("Volume", lambda point: number_text(rounded(point["volume"])), is_number=True, is_minor=True),
    ]


def _ratio(found: Document, name: str, unit: str = "") -> str:
    return NOTHING if found[name] is None else f"{number_text(rounded(found[name], 4))}{unit}"


def _average(amount: Decimal | int | None) -> str:
    return NOTHING if amount is None else money_text(amount)
