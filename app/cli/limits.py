"""What may still be opened at each venue, and how many requests are left."""

from decimal import Decimal

from rich.text import Text

from app.cli.client import Document, api_client
from app.cli.console import write_line
from app.cli.options import AsJson, Url
from app.cli.tables import CALM, GAIN, LOSS, NOTHING, Column, number_text, show
from app.domain.enums import TradingState

_NEARLY = Decimal("0.8")
_STATES = {TradingState.ACTIVE: GAIN, TradingState.REDUCING: "yellow", TradingState.HALTED: LOSS}


def limits(url: Url = None, as_json: AsJson = False) -> None:
    """Show what may still be opened, and the requests left."""
    with api_client(url) as client:
        answer = client.get("/limits")
    if as_json:
        write_line(answer.text)
        return
    show(_VENUES, answer.data["venues"], "No venue can be traded at.")
    show(_REQUESTS, answer.data["rate_limits"], "No request is limited.")


def _room(name: str, unit: str = "") -> Column:
    """A cap: what counts against it, and the most that may; yellow once little is left, red once nothing is."""

    def cell(row: Document) -> Text:
        room = row[name]
        used = number_text(room["current"])
        if room["max"] is None:
            return Text(f"{used}{unit}, no cap")
        style = "" if room["current"] < room["max"] * _NEARLY else "yellow" if room["left"] else LOSS
        return Text(f"{used} of {number_text(room['max'])}{unit}", style=style)

    return Column(name.replace("_", " ").capitalize(), cell, is_number=True)


def _left(row: Document) -> Text:
    if row["remaining"] is None:
        return Text("any number", style=CALM)
    return Text(f"{row['remaining']:,} of {row['per_minute']:,}", style="" if row["remaining"] else LOSS)


_VENUES = (
    Column("Venue", lambda row: Text(row["venue"])),
    Column("State", lambda row: Text(row["state"], style=_STATES[row["state"]])),
    _room("open_trades"),
    _room("open_orders"),
    _room("notional", " USDC"),
    Column("Why", lambda row: Text(row["reason"]) if row["reason"] else NOTHING, is_minor=True, is_rare=True),
)
_REQUESTS = (
    Column("Requests a minute", lambda row: Text(row["name"])),
    Column("Left", _left, is_number=True),
    Column("All again in", lambda row: f"{row['full_in_seconds']} s" if row["full_in_seconds"] else NOTHING),
)
