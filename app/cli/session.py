"""Register, log in, log out, and who that is."""

from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import api_client
from app.cli.console import screen, write_line
from app.cli.failure import Failure
from app.cli.options import AsJson, PasswordStdin, Url, read_password
from app.cli.tables import show_facts

Email = Annotated[str, typer.Option("--email", prompt="Email", help="The account's email.", show_default=False)]
Username = Annotated[
    str, typer.Option("--username", prompt="Username", help="3 to 64 letters, digits and _.-", show_default=False)
]


def register(
    email: Email, username: Username, password_stdin: PasswordStdin = False, url: Url = None, as_json: AsJson = False
) -> None:
    """Create an account, and log in."""
    password = read_password(from_stdin=password_stdin, is_new=True)
    with api_client(url) as client:
        client.authenticate("/auth/register", {"email": email, "username": username, "password": password}, email)
        _tell(f"Registered {email} at {client.url}, and logged in.", client.get("/auth/me").text, as_json=as_json)


def login(email: Email, password_stdin: PasswordStdin = False, url: Url = None, as_json: AsJson = False) -> None:
    """Log in; later commands use the session."""
    password = read_password(from_stdin=password_stdin)
    with api_client(url) as client:
        client.authenticate("/auth/login", {"email": email, "password": password}, email)
        _tell(f"Logged in as {email} at {client.url}.", client.get("/auth/me").text, as_json=as_json)


def logout(url: Url = None, as_json: AsJson = False) -> None:
    """End the session."""
    with api_client(url) as client:
        try:
            client.post("/auth/logout")
        except Failure as failure:
            if failure.code == "NOT_LOGGED_IN":
                _tell(f"Nobody was logged in at {client.url}.", '{"logged_out":false}', as_json=as_json)
                return
            # A session that has ended otherwise needs only to be forgotten here.
            if failure.code != "UNAUTHORIZED":
                raise
        client.forget()
        _tell(f"Logged out of {client.url}.", '{"logged_out":true}', as_json=as_json)


def whoami(url: Url = None, as_json: AsJson = False) -> None:
    """Show the account that is logged in."""
    with api_client(url) as client:
        answer = client.get("/auth/me")
    if as_json:
        write_line(answer.text)
        return
    me = answer.data
    show_facts(
        [
            ("email", Text(me["email"])),
            ("username", Text(me["username"])),
            ("id", str(me["id"])),
            ("access", Text(me["feature_access_level"])),
            ("server", Text(client.url)),
        ]
    )


def _tell(sentence: str, document: str, *, as_json: bool) -> None:
    if as_json:
        write_line(document)
    else:
        screen().print(Text(sentence))
