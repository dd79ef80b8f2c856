"""Prices, once or as they change: a live table for people, a line of JSON each for programs."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli.client import ApiClient, Document, api_client, failure_of
from app.cli.console import say, screen, write_json, write_line
from app.cli.failure import EXIT_FAILED, Failure
from app.cli.options import AsJson, Url
from app.cli.stream import Stream, StreamClosed, lasting_streams, open_stream
from app.cli.tables import CALM, GAIN, LOSS, Column, instant, number, table, text

FRAME_SECONDS = 0.25
# How long `--once` waits for pairs that have no price yet.
FIRST_SECONDS = 5.0
QUIET_SECONDS = 10.0
MOST_NAMED = 5

Names = Annotated[list[str] | None, typer.Argument(metavar="[PAIRS]...", help="BTC, EURUSD ...; none means all.")]


def get(
    names: Annotated[list[str], typer.Argument(metavar="PAIRS...", help="BTC, EURUSD ...")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the prices of pairs.

    The exit code is 1 where one of them has none.
    """
    with api_client(url) as client:
        answer = client.get("/prices", {"pairs": ",".join(names)}, anonymous=True)
    prices, errors = answer.data["prices"], answer.data["errors"]
    if not prices:
        raise failure_of({"code": errors[0]["code"], "message": f"There is no price of {errors[0]['pair']}."})
    if as_json:
        write_line(answer.text)
    else:
        board, now = PriceBoard(), time.monotonic()
        for price in prices:
            board.take(price, now - price["age_ms"] / 1000)
        screen().print(board.table(now, _ONCE))
        for error in errors:
            say(Text(f"{error['pair']}: {error['code']}", style="yellow"))
    if errors:
        raise typer.Exit(EXIT_FAILED)


def watch(
    names: Names = None,
    once: Annotated[bool, typer.Option("--once", help="Show them once, and end.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show prices as they change, until Ctrl-C.

    A file or a pipe gets a line of each.
    """
    with api_client(url) as client:
        wanted = names or [pair["symbol"] for pair in client.get("/trading/pairs", anonymous=True).data["pairs"]]
        if once:
            _show_once(client, wanted, as_json=as_json)
            return
        with suppress(KeyboardInterrupt):
            if as_json:
                _write_lines(client, wanted)
            elif screen().is_terminal:
                _show_live(client, wanted)
            else:
                _show_lines(client, wanted)


@dataclass(slots=True)
class _Shown:
    price: Document
    first: Decimal | int
    received: float
    style: str = ""


@dataclass(slots=True)
class PriceBoard:
    """The last price of each pair, and which way it went; times are seconds of the monotonic clock here."""

    shown: dict[str, _Shown] = field(default_factory=dict)

    def take(self, price: Document, received: float) -> None:
        """Take a newer price, and when the server received it."""
        before = self.shown.get(price["pair"])
        if before is None:
            self.shown[price["pair"]] = _Shown(price, price["price"], received)
            return
        moved = price["price"] - before.price["price"]
        before.price, before.received = price, received
        before.style = GAIN if moved > 0 else LOSS if moved < 0 else before.style

    def take_frame(self, frame: Document, now: float) -> None:
        """Take the price of a frame; how old it was when it was sent is told by the server's clock alone."""
        sent, received = frame["timestamp"], frame["data"]["received_at"]
        age = datetime.fromisoformat(sent) - datetime.fromisoformat(received)
        self.take(frame["data"], now - age.total_seconds())

    def table(self, now: float, columns: Sequence[Column]) -> Table:
        """The board as a table."""
        rows = [{**one.price, "shown": one, "now": now} for one in self.shown.values()]
        return table(columns, rows)


def _price_cell(row: Document) -> Text:
    return Text(f"{row['price']:,}", style=f"bold {row['shown'].style}".strip())


def _change_cell(row: Document) -> Text:
    first = row["shown"].first
    change = round((row["price"] - first) / first * 100, 3)
    return Text(f"{change:+} %", style=GAIN if change > 0 else LOSS if change < 0 else CALM)


def _age_seconds(row: Document) -> float:
    seconds: float = row["now"] - row["shown"].received
    return seconds


def _age_cell(row: Document) -> Text:
    seconds = _age_seconds(row)
    return Text(f"{seconds:.1f} s", style="yellow" if seconds > QUIET_SECONDS else CALM)


def _state_cell(row: Document) -> Text:
    if not row["market_open"]:
        return Text("closed", style="yellow")
    if row["stale"]:
        return Text("stale", style="bold red")
    return Text("quiet", style="yellow") if _age_seconds(row) > QUIET_SECONDS else Text("live", style=GAIN)


_LIVE = (
    Column("Pair", text("pair")),
    Column("Bid", number("bid"), is_number=True),
    Column("Ask", number("ask"), is_number=True),
    Column("Price", _price_cell, is_number=True),
    Column("Change", _change_cell, is_number=True),
    Column("Age", _age_cell, is_number=True),
    Column("Source", text("source")),
    Column("State", _state_cell),
)
_ONCE = [column for column in _LIVE if column.heading != "Change"]
# The cells of a line in a file: without a board there is neither a change nor an age.
_LINE = (instant("timestamp"), text("pair"), number("bid"), number("ask"), number("price"))


def _show_once(client: ApiClient, names: list[str], *, as_json: bool) -> None:
    board = PriceBoard()
    deadline = time.monotonic() + FIRST_SECONDS
    with open_stream(client) as stream:
        awaited = _subscribe(stream, names)
        while awaited - board.shown.keys() and time.monotonic() < deadline:
            frame = stream.receive(FRAME_SECONDS)
            if frame is not None and frame["type"] == "price_update":
                board.take_frame(frame, time.monotonic())
    if unpriced := sorted(awaited - board.shown.keys()):
        say(Text(_no_price(unpriced), style="yellow"))
    if as_json:
        for one in board.shown.values():
            write_json(one.price)
    else:
        screen().print(board.table(time.monotonic(), _ONCE))


def _no_price(pairs: list[str]) -> str:
    named = ", ".join([*pairs[:MOST_NAMED], *(["..."] if len(pairs) > MOST_NAMED else [])])
    return f"{len(pairs)} {'pairs have' if len(pairs) > 1 else 'pair has'} no price: {named}"


def _write_lines(client: ApiClient, names: list[str]) -> None:
    for price in _endless_prices(client, names):
        if price is not None:
            write_json(price)


def _show_lines(client: ApiClient, names: list[str]) -> None:
    console = screen()
    for price in _endless_prices(client, names):
        if price is not None:
            console.print(Text("  ").join(Text.assemble(cell(price)) for cell in _LINE), soft_wrap=True)


def _show_live(client: ApiClient, names: list[str]) -> None:
    board = PriceBoard()
    console = screen()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        drawn = 0.0
        for frame in _endless_frames(client, names):
            now = time.monotonic()
            if frame is not None:
                board.take_frame(frame, now)
            if now - drawn >= FRAME_SECONDS:
                live.update(board.table(now, _LIVE), refresh=True)
                drawn = now


def _endless_prices(client: ApiClient, names: list[str]) -> Iterator[Document | None]:
    """Every price as it comes, and None where for a moment none does."""
    for frame in _endless_frames(client, names):
        yield None if frame is None else frame["data"]


def _endless_frames(client: ApiClient, names: list[str]) -> Iterator[Document | None]:
    for stream in lasting_streams(client):
        with suppress(StreamClosed):
            _subscribe(stream, names)
            while True:
                frame = stream.receive(FRAME_SECONDS)
                if frame is None or frame["type"] == "price_update":
                    yield frame


def _missing(unknown: Failure) -> str:
    pairs = unknown.details.get("pairs")
    return ", ".join(str(one["pair"]) for one in pairs) if isinstance(pairs, list) else unknown.message


def _subscribe(stream: Stream, names: list[str]) -> set[str]:
    """Ask for prices: the pairs that are shown from now on, with a warning where some are not known."""
    known: set[str] = set()
    unknown: Failure | None = None
    for answer in stream.subscribe("prices", {"pairs": names}):
        if answer["type"] == "subscribed":
            known |= set(answer["data"]["pairs"])
        else:
            unknown = failure_of(answer["data"])
    if unknown is not None:
        if not known:
            raise unknown
        say(Text(f"not known: {_missing(unknown)}", style="yellow"))
    return known
