"""Webhook endpoints: list, make, change and delete them, rotate their secrets."""

import secrets
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Answer, ApiClient, Document, api_client
from app.cli.console import screen, write_json, write_line
from app.cli.failure import Failure
from app.cli.options import AsJson, Url
from app.cli.tables import CALM, GAIN, LOSS, NOTHING, Column, instant, instant_text, show, show_facts, text
from app.core.clock import SystemClock
from app.domain.events import EventType
from app.domain.webhooks import SECRET_BYTES, generated_secret

LONGEST_OVERLAP_HOURS = 168
SWITCHED_OFF = {"failing": "no success for 5 days", "gone": "it answered 410"}


def _filters(incomplete: str) -> Iterable[str]:
    """What can be asked for, for completion."""
    families = dict.fromkeys(f"{kind.partition('.')[0]}.*" for kind in EventType)
    return [name for name in ("*", *families, *EventType) if name.startswith(incomplete)]


WebhookId = Annotated[int, typer.Argument(metavar="WEBHOOK_ID", min=1, help="As marqetfi webhooks list numbers it.")]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="TYPE",
        help="trade.closed, a family such as 'trade.*', or '*' for all (may be repeated).",
        autocompletion=_filters,
        show_default=False,
    ),
]
SecretStdin = Annotated[bool, typer.Option("--secret-stdin", help="Read a secret of your own from standard input.")]


def list_endpoints(
    event: Annotated[
        str | None, typer.Option("--event", metavar="TYPE", help="Only those that get it.", autocompletion=_filters)
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List your endpoints."""
    with api_client(url) as client:
        answer = client.get("/webhooks", {"event_type": event})
    if as_json:
        write_line(answer.text)
    else:
        show(ENDPOINTS, answer.data["webhooks"], "No endpoints. marqetfi webhooks create makes one.")


def create(
    address: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent: https, a public name.")],
    event: Events = None,
    secret_stdin: SecretStdin = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make an endpoint, and show its secret this once.

    It gets every event, unless --event says which.
    """
    body = {"url": address, "event_types": event or ["*"], "secret": _secret(from_stdin=secret_stdin)}
    with api_client(url) as client:
        made = _with_secret(client, "/webhooks", body, look="marqetfi webhooks list")
    if as_json:
        write_json(made)
        return
    screen().print(Text("Created.", style="bold green"))
    facts: list[tuple[str, Text | str]] = [
        ("webhook", str(made["id"])),
        ("url", Text(made["url"])),
        ("events", ", ".join(made["event_types"])),
    ]
    _show_secret(made, facts, is_own=secret_stdin)
    screen().print(Text(f"Try it: marqetfi webhooks test {made['id']}", style=CALM))


def show_endpoint(webhook_id: WebhookId, url: Url = None, as_json: AsJson = False) -> None:
    """Show an endpoint, and how it does."""
    with api_client(url) as client:
        _show(client.get(f"/webhooks/{webhook_id}"), as_json=as_json)


def update(
    webhook_id: WebhookId,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Where it is now.", show_default=False)] = None,
    event: Events = None,
    is_active: Annotated[
        bool | None, typer.Option("--on/--off", help="Switch it on, or off.", show_default=False)
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Change where an endpoint is, what it gets, or whether.

    What is left out stays.
    """
    given: Document = {"url": to, "event_types": event or None, "is_active": is_active}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise typer.BadParameter("give at least one thing to change: --to, --event, --on or --off")
    with api_client(url) as client:
        answer = client.patch(f"/webhooks/{webhook_id}", changes)
    if not as_json:
        screen().print(Text("Updated.", style="bold green"))
    _show(answer, as_json=as_json)


def delete(
    webhook_id: WebhookId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Delete an endpoint with its deliveries."""
    path = f"/webhooks/{webhook_id}"
    with api_client(url) as client:
        if not yes:
            address = client.get(path).data["url"]
            typer.confirm(f"Delete webhook {webhook_id}, {address}, with its deliveries?", abort=True, err=True)
        client.delete(path)
    if as_json:
        write_json({"id": webhook_id, "deleted": True})
    else:
        screen().print(Text(f"Webhook {webhook_id} is deleted."))


def rotate(
    webhook_id: WebhookId,
    overlap: Annotated[
        int, typer.Option(min=0, max=LONGEST_OVERLAP_HOURS, metavar="HOURS", help="How long the old one signs too.")
    ] = 24,
    secret_stdin: SecretStdin = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint a new secret, and show it this once."""
    path, body = f"/webhooks/{webhook_id}", {"overlap_hours": overlap, "secret": _secret(from_stdin=secret_stdin)}
    with api_client(url) as client:
        made = _with_secret(client, f"{path}/rotate-secret", body, look=f"marqetfi webhooks show {webhook_id}")
    if as_json:
        write_json(made)
        return
    screen().print(Text("Rotated.", style="bold green"))
    _show_secret(
        made,
        [("webhook", str(made["id"])), ("old secret", _previous(made) if overlap else "signs no more")],
        is_own=secret_stdin,
    )


def _secret(*, from_stdin: bool) -> str:
    """A secret of the user's own, or a new one; made here, so that no answer that gets lost takes it along."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return generated_secret(secrets.token_bytes(SECRET_BYTES))


def _with_secret(client: ApiClient, path: str, body: Document, look: str) -> Document:
    """Set a secret; the answer to it, with the secret, which a repeated answer is without."""
    try:
        answer = client.once("POST", path, body=body, look=look)
    except Failure as failure:
        if failure.code != "OUTCOME_UNKNOWN":
            raise
        # If it was set it counts, and nobody else can tell it.
        details = {"secret": body["secret"]}
        raise Failure(failure.code, failure.message, hint=failure.hint, details=details) from None
    return answer.data | {"secret": body["secret"]}


def _show_secret(made: Document, facts: list[tuple[str, Text | str]], *, is_own: bool) -> None:
    secret = "the one you gave" if is_own else Text(made["secret"], style="bold")
    show_facts([*facts, ("secret", secret)])
    if not is_own:
        lost = f"Lost, it is replaced by: marqetfi webhooks rotate {made['id']}"
        screen().print(Text(f"The secret is shown this once: give it to your receiver. {lost}", style="yellow"))


def _show(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        write_line(answer.text)
        return
    row = answer.data
    show_facts(
        [
            ("webhook", str(row["id"])),
            ("url", Text(row["url"])),
            ("events", ", ".join(row["event_types"])),
            ("state", state_text(row)),
            ("failing since", _moment(row["failing_since"])),
            ("paused until", _moment(row["paused_until"])),
            ("last delivery", _moment(row["last_delivery_at"])),
            ("secret", Text(f"ends with {row['secret_hint']}")),
            ("old secret", _previous(row)),
            ("made", _moment(row["created_at"])),
        ]
    )


def _moment(instant_or_none: str | None) -> str:
    return NOTHING if instant_or_none is None else f"{instant_text(instant_or_none)} UTC"


def _previous(row: Document) -> str:
    until = row["previous_until"]
    if until is None:
        return NOTHING
    is_over = datetime.fromisoformat(until) <= SystemClock().now()
    return f"{'signed' if is_over else 'signs too'} until {_moment(until)}"


def state_text(row: Document) -> Text:
    """Whether an endpoint gets events, and what keeps it from it."""
    if not row["is_active"]:
        why = SWITCHED_OFF.get(row["disabled_reason"], row["disabled_reason"])
        return Text("off" if why is None else f"off: {why}", style=CALM if why is None else LOSS)
    failed = row["retry_count"]
    if not failed:
        return Text("on", style=GAIN)
    slowed = ", tried once a minute" if row["paused_until"] is not None else ""
    return Text(f"on, {failed} failed in a row{slowed}", style="yellow")


ENDPOINTS = (
    Column("ID", text("id"), is_number=True),
    Column("URL", text("url")),
    Column("Events", lambda row: ", ".join(row["event_types"])),
    Column("State", state_text),
    Column("Last delivery (UTC)", instant("last_delivery_at"), is_minor=True),
    Column("Secret", lambda row: Text(f"...{row['secret_hint']}"), is_minor=True),
    Column("Made (UTC)", instant("created_at"), is_minor=True),
)
