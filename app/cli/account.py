"""The account's money and log: portfolio, events, the paper account."""

from contextlib import suppress
from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Answer, ApiClient, Document, api_client, failure_of
from app.cli.console import say, screen, write_json, write_line
from app.cli.options import AsJson, Url
from app.cli.stream import Stream, StreamClosed, lasting_streams, open_stream
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
    after: Annotated[
        int | None, typer.Option("--after", min=0, help="Read on after this number; 0 reads from the beginning.")
    ] = None,
    types: Annotated[str | None, typer.Option("--types", help="Event types, separated by commas.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new ones come, until Ctrl-C.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=PAGE, help="Events at most.")] = 100,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened to the account, the latest last."""
    with api_client(url) as client:
        start = _before_latest(client, types, limit) if after is None else after
        if follow:
            _follow(client, start, types, as_json=as_json)
            return
        answer = client.get("/events", {"after": start, "types": types, "limit": limit})
    if as_json:
        write_line(answer.text)
        return
    if after is None and start:
        say(Text("There are earlier ones: --limit shows more of them, --after 0 begins with the first.", style="dim"))
    _tell_beyond(answer.data, start)
    show(EVENTS, answer.data["events"], "Nothing has happened yet." if not start else f"Nothing after {start}.")
    if after is not None and len(answer.data["events"]) == limit:
        screen().print(Text(f"more: --after {answer.data['next_after']}", style="dim"))


def _before_latest(client: ApiClient, types: str | None, limit: int) -> int:
    """The sequence after which the log holds just so many events of these types, or 0 where it has fewer."""
    with open_stream(client) as stream:
        # The channel with the least to tell first: only where the log stands is wanted.
        (answer,) = stream.subscribe("deposits")
    if answer["type"] == "error":
        raise failure_of(answer["data"])
    last: int = answer["data"]["sequence"]
    if types is None:
        return max(0, last - limit)
    found: list[int] = []
    while last > 0 and len(found) <= limit:
        start = max(0, last - PAGE)
        page = client.get("/events", {"after": start, "types": types, "limit": PAGE}).data["events"]
        found = [event["sequence"] for event in page if event["sequence"] <= last] + found
        last = start
    return found[-limit - 1] if len(found) > limit else 0


def _show_portfolio(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        write_line(answer.text)
        return
    money = answer.data
    unpriced = (
        f" ({money['unpriced_positions']} without a price, not in the sums)" if money["unpriced_positions"] else ""
    )
    show_facts(
        [
            ("venue", Text(money["provider"])),
            ("free", f"{number_text(money['balance'])} USDC"),
            ("margin", f"{number_text(money['margin'])} USDC (positions and resting entries)"),
            ("unrealised PnL", gain_text(money["unrealized_pnl"], " USDC")),
            ("equity", Text(f"{number_text(money['equity'])} USDC", style="bold")),
            ("realised PnL", gain_text(money["realized_pnl"], " USDC")),
            ("fees", f"{number_text(money['fees'])} USDC"),
            ("funding", gain_text(money["funding"], " USDC")),
            ("open positions", f"{money['open_positions']}{unpriced}"),
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
        _tell_beyond(page, after)
        for event in page["events"]:
            _show_event(event, as_json=as_json)
        if page["next_after"] == after:
            return after
        after = page["next_after"]


def _tell_beyond(page: Document, after: int) -> None:
    """Say that a number is not of this log, where it is not."""
    if not page["recovered"]:
        say(Text(f"There is no event {after} at this server: the log ends with {page['next_after']}.", style="yellow"))


def _show_event(event: Document, *, as_json: bool) -> None:
    if as_json:
        write_json(event)
        return
    when = instant("created_at")(event)
    line = Text.assemble((f"{event['sequence']:>6}  ", "dim"), when, "  ", (event["type"], "bold"), "  ")
    screen().print(line + Text(event_phrase(event["data"])), soft_wrap=True)
