"""The account's money and log: portfolio, events, the paper account."""

from contextlib import suppress
from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Answer, ApiClient, Document, api_client
from app.cli.console import screen, write_json, write_line
from app.cli.options import AsJson, Url
from app.cli.stream import Stream, StreamClosed, lasting_streams
from app.cli.tables import EVENTS, event_phrase, gain_text, instant, number_text, show, show_facts

PAGE = 1000
# A broadcast that got lost costs no more than this.
LOOK_SECONDS = 15.0
PRIVATE_CHANNELS = ("trades", "positions", "deposits")

paper = typer.Typer(no_args_is_help=True)


@paper.callback()
def _group() -> None:
    """Manage the paper account."""


def portfolio(url: Url = None, as_json: AsJson = False) -> None:
    """Show money, equity and results."""
    with api_client(url) as client:
        _show_portfolio(client.get("/trading/portfolio"), as_json=as_json)


@paper.command()
def reset(url: Url = None, as_json: AsJson = False) -> None:
    """Start over with the first balance; refused while anything is open."""
    with api_client(url) as client:
        _show_portfolio(client.post("/trading/paper/reset"), as_json=as_json)


def events(
    after: Annotated[int, typer.Option("--after", min=0, help="A number; what came after it is shown.")] = 0,
    types: Annotated[str | None, typer.Option("--types", help="Event types, separated by commas.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new ones come, until Ctrl-C.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=PAGE, help="Events at most.")] = 100,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened to the account, oldest first."""
    with api_client(url) as client:
        if follow:
            _follow(client, after, types, as_json=as_json)
            return
        answer = client.get("/events", {"after": after, "types": types, "limit": limit})
    if as_json:
        write_line(answer.text)
    else:
        show(EVENTS, answer.data["events"], "Nothing has happened yet.")


def _show_portfolio(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        write_line(answer.text)
        return
    money = answer.data
    show_facts(
        [
            ("venue", Text(money["provider"])),
            ("free", f"{number_text(money['balance'])} USDC"),
            ("margin", f"{number_text(money['margin'])} USDC"),
            ("unrealised PnL", gain_text(money["unrealized_pnl"], " USDC")),
            ("equity", Text(f"{number_text(money['equity'])} USDC", style="bold")),
            ("realised PnL", gain_text(money["realized_pnl"], " USDC")),
            ("fees", f"{number_text(money['fees'])} USDC"),
            ("open positions", str(money["open_positions"])),
        ]
    )


def _follow(client: ApiClient, after: int, types: str | None, *, as_json: bool) -> None:
    """Show the log as it grows. The stream only says when to look: the log itself is what is shown."""
    with suppress(KeyboardInterrupt):
        for stream in lasting_streams(client):
            with suppress(StreamClosed):
                for channel in PRIVATE_CHANNELS:
                    stream.subscribe(channel)
                while True:
                    after = _show_new(client, after, types, as_json=as_json)
                    _wait_for_news(stream)


def _wait_for_news(stream: Stream) -> None:
    while (frame := stream.receive(LOOK_SECONDS)) is not None:
        if "sequence" in frame:
            return


def _show_new(client: ApiClient, after: int, types: str | None, *, as_json: bool) -> int:
    """Show every event after a sequence; where the log stands then."""
    while True:
        page = client.get("/events", {"after": after, "types": types, "limit": PAGE}).data
        for event in page["events"]:
            _show_event(event, as_json=as_json)
        if page["next_after"] == after:
            return after
        after = page["next_after"]


def _show_event(event: Document, *, as_json: bool) -> None:
    if as_json:
        write_json(event)
        return
    when = instant("created_at")(event)
    line = Text.assemble((f"{event['sequence']:>6}  ", "dim"), when, "  ", (event["type"], "bold"), "  ")
    screen().print(line + Text(event_phrase(event["data"])), soft_wrap=True)
