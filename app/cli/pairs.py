"""What can be traded."""

from typing import Annotated

import typer

from app.cli.client import api_client
from app.cli.console import write_line
from app.cli.options import AsJson, Url
from app.cli.tables import PAIRS, show


def pairs(
    category: Annotated[str | None, typer.Option(help="crypto, forex, commodity, index or stock.")] = None,
    venue: Annotated[str | None, typer.Option(help="Only this venue's.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List what can be traded."""
    with api_client(url) as client:
        answer = client.get("/trading/pairs", {"category": category, "venue": venue}, anonymous=True)
    if as_json:
        write_line(answer.text)
    else:
        show(PAIRS, answer.data["pairs"], "Nothing is listed there.")
