"""The candles of a pair."""

from decimal import Decimal
from typing import Annotated
from urllib.parse import quote

import typer
from rich.text import Text

from app.cli.client import Document, api_client
from app.cli.console import write_line
from app.cli.options import AsJson, Url
from app.cli.tables import GAIN, LOSS, Column, instant, number, number_text, show, text
from app.domain.candles import CandleInterval


def candles(
    pair: Annotated[str, typer.Argument(metavar="PAIR", help="BTC, EURUSD ... (see marqetfi pairs)")],
    interval: Annotated[CandleInterval, typer.Option(help="How long each lasts.")] = CandleInterval.ONE_MINUTE,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Candles at most, empty ones counted.")] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a pair's candles of the mark price, the latest last."""
    with api_client(url) as client:
        # A slash, however it is written, would end the path's part.
        path = f"/prices/{quote(pair.replace('/', '-'), safe='')}/candles"
        answer = client.get(path, {"interval": interval.value, "limit": limit}, anonymous=True)
    if as_json:
        write_line(answer.text)
    else:
        show(CANDLES, answer.data["candles"], f"No candles of {answer.data['pair']}.")


def _close_cell(candle: Document) -> Text:
    moved: Decimal | int = candle["close"] - candle["open"]
    return Text(number_text(candle["close"]), style=GAIN if moved > 0 else LOSS if moved < 0 else "")


CANDLES = (
    Column("Began (UTC)", instant("opened_at")),
    Column("Open", number("open"), is_number=True),
    Column("High", number("high"), is_number=True),
    Column("Low", number("low"), is_number=True),
    Column("Close", _close_cell, is_number=True),
    Column("Ticks", text("ticks"), is_number=True, is_minor=True),
)
