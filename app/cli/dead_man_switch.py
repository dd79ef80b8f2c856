"""The dead man's switch: what rests is cancelled unless its owner says in time that they are still there."""

from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Document, api_client
from app.cli.console import screen, write_line
from app.cli.options import AsJson, Url
from app.cli.tables import instant_text
from app.domain.enums import SwitchScope
from app.schemas.control import LONGEST_SECONDS

_WHAT = {SwitchScope.ENTRIES: "Your resting entries", SwitchScope.ALL: "Your resting entries and your exits"}


def cancel_all_after(
    seconds: Annotated[
        int | None,
        typer.Argument(
            metavar="SECONDS", min=0, max=LONGEST_SECONDS, help="0 switches it off.", show_default="show the switch"
        ),
    ] = None,
    scope: Annotated[
        SwitchScope | None,
        typer.Option(help="all: exits too, so that positions stay without protection.", show_default="entries"),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Cancel what rests after so many seconds, unless this is said again before.

    It goes on while no command runs, and over a restart of the server.
    """
    if seconds is None and scope is not None:
        raise typer.BadParameter("say after how many SECONDS")
    with api_client(url) as client:
        if seconds is None:
            answer = client.get("/trading/cancel-all-after")
        else:
            body = {"timeout_seconds": seconds, "scope": scope or SwitchScope.ENTRIES}
            answer = client.post("/trading/cancel-all-after", body)
    if as_json:
        write_line(answer.text)
    else:
        screen().print(_state(answer.data), soft_wrap=True)


def _state(switch: Document) -> Text:
    what = _WHAT.get(switch["scope"], "What rests")
    if switch["armed"]:
        when = instant_text(switch["fires_at"])
        state = Text.assemble(
            f"{what} are cancelled at ", (f"{when} UTC", "bold"), ", unless this is said again before."
        )
    else:
        state = Text("The switch is off.")
    if switch["firing"]:
        state.append(f"\n{what} are being cancelled: its time came, and it is not done yet.", style="bold yellow")
    return state
