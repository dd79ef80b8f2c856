"""For who writes a receiver of webhooks: the types of events, and what is wrong with a signature."""

import json
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Document, api_client
from app.cli.console import screen, write_json, write_line
from app.cli.failure import EXIT_FAILED, Failure
from app.cli.options import AsJson, Url
from app.cli.tables import GAIN, LOSS, Column, show, show_facts, text

STANDARD_INPUT = "-"


def types(
    event_type: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="One of them, such as trade.closed.", show_default=False)
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the types of events, or show one with an example."""
    with api_client(url) as client:
        answer = client.get("/webhooks/event-types")
    if event_type is not None:
        # An example is for the eye, and its numbers are floats as they are sent.
        _show_type(event_type, json.loads(answer.text)["event_types"], as_json=as_json)
    elif as_json:
        write_line(answer.text)
    else:
        show(TYPES, answer.data["event_types"], "")


def verify(
    body: Annotated[
        str, typer.Option("--body", metavar="FILE", help="The raw body, byte for byte; - is standard input.")
    ],
    header: Annotated[
        list[str],
        typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="A header as it came (repeat it for each)."),
    ],
    webhook_id: Annotated[
        int | None,
        typer.Argument(metavar="WEBHOOK_ID", min=1, help="The endpoint whose secret counts.", show_default=False),
    ] = None,
    secret_stdin: Annotated[
        bool, typer.Option("--secret-stdin", help="Or read the secret from standard input.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with what a receiver got.

    Give headers and body as they came, before anything parsed them.
    """
    if (webhook_id is None) != secret_stdin:
        raise typer.BadParameter("say whose secret counts: WEBHOOK_ID, or --secret-stdin")
    if secret_stdin and body == STANDARD_INPUT:
        raise typer.BadParameter("secret and body cannot both come from standard input")
    asked: Document = {"headers": dict(map(_header, header)), "body": _body(body)}
    asked |= {"secret": sys.stdin.readline().rstrip("\r\n")} if secret_stdin else {"webhook_id": webhook_id}
    with api_client(url) as client:
        answer = client.post("/webhooks/verify", asked)
    if as_json:
        write_line(answer.text)
    else:
        _show_verified(answer.data)
    if not answer.data["valid"]:
        raise typer.Exit(EXIT_FAILED)


def _show_type(name: str, rows: list[Document], *, as_json: bool) -> None:
    found = {row["type"]: row for row in rows}
    if name not in found:
        near = get_close_matches(name, found, 3)
        hint = f"Did you mean {', '.join(near)}?" if near else "marqetfi webhooks types lists them all."
        raise Failure("EVENT_TYPE_UNKNOWN", f"There are no events of type {name}.", hint=hint)
    row = found[name]
    if as_json:
        write_json(row)
        return
    screen().print(Text.assemble((name, "bold"), f"  {row['description']}"), soft_wrap=True)
    screen().print(Text(json.dumps(row["example"], indent=2)), soft_wrap=True)


def _header(given: str) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter(f"{given!r} is not a header such as 'webhook-id: evt_42'", param_hint="--header")
    return name.strip(), value.strip()


def _body(file: str) -> str:
    """The bytes of a file or of standard input, as the text that they are."""
    try:
        raw = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
        return raw.decode()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="--body") from None
    except UnicodeDecodeError:
        raise typer.BadParameter("the body is not UTF-8, as everything that we send is", param_hint="--body") from None


def _show_verified(found: Document) -> None:
    facts = [("authentic", "signed by this secret, over this body"), ("fresh", "sent within the last 5 minutes")]
    show_facts(
        (name, Text(f"yes, {meaning}", style=GAIN) if found[name] else Text("no", style=LOSS))
        for name, meaning in facts
    )
    for problem in found["problems"]:
        screen().print(Text.assemble((problem["code"], "bold"), f"  {problem['message']}"), soft_wrap=True)


TYPES = (
    Column("Type", text("type")),
    Column("Meaning", text("description")),
)
