"""Where the account is logged in: list the sessions, and end one."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text
from typer.core import TyperGroup

from app.cli.client import api_client
from app.cli.console import screen, write_json, write_line
from app.cli.failure import Failure
from app.cli.options import AsJson, Url
from app.cli.tables import GAIN, Column, instant, show, text


class Sessions(TyperGroup):
    """Commands about sessions; without one, they are listed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command line."""
        is_named = bool(args) and (args[0] == "--help" or not args[0].startswith("-"))
        return super().parse_args(ctx, args if is_named else ["list", *args])


app = typer.Typer(cls=Sessions)


@app.callback()
def _group() -> None:
    """List where the account is logged in, and end a session."""


@app.command("list")
def list_sessions(url: Url = None, as_json: AsJson = False) -> None:
    """List where the account is logged in, the newest first; the same without `list`."""
    with api_client(url) as client:
        answer = client.get("/auth/sessions")
    if as_json:
        write_line(answer.text)
    else:
        show(SESSIONS, answer.data["sessions"], "No sessions.")


@app.command()
def end(
    session_id: Annotated[UUID, typer.Argument(metavar="ID", help="As the list shows it.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """End a session; whatever is connected through it is closed."""
    with api_client(url) as client:
        try:
            client.delete(f"/auth/sessions/{session_id}")
        except Failure as failure:
            if failure.code != "NOT_FOUND":
                raise
            message = f"You have no open session {session_id}."
            raise Failure("NOT_FOUND", message, hint="marqetfi sessions lists yours.") from None
    if as_json:
        write_json({"id": str(session_id), "ended": True})
    else:
        screen().print(Text(f"Session {session_id} is ended."))


SESSIONS = (
    Column("ID", text("id")),
    Column("", lambda row: Text("this one", style=GAIN) if row["is_current"] else ""),
    Column("Program", text("user_agent"), is_minor=True, weight=1),
    Column("Address", text("ip"), is_minor=True),
    Column("By", text("auth_method"), is_minor=True),
    Column("Made (UTC)", instant("created_at")),
    Column("Used (UTC)", instant("last_used_at"), is_minor=True),
    Column("Ends (UTC)", instant("expires_at"), is_minor=True),
)
