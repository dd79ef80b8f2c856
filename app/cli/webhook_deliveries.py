"""Deliveries of a webhook endpoint: try it, look at what was sent and answered, send again."""

import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Answer, ApiClient, Document, Query, api_client
from app.cli.console import screen, write_json, write_line
from app.cli.failure import Failure
from app.cli.options import AsJson, Url
from app.cli.tables import (
    GAIN,
    LOSS,
    NOTHING,
    Column,
    instant,
    instant_text,
    number_text,
    show,
    show_facts,
    status_text,
    text,
)
from app.cli.trades import tell_next
from app.cli.webhook_endpoints import WebhookId
from app.core.clock import SystemClock
from app.core.json import rfc3339
from app.domain.enums import DeliveryStatus

# An endpoint has ten seconds to answer; the rest is for the relay.
WAIT_SECONDS = 15
LONGEST_WAIT = 120
LOOK_SECONDS = 0.25

_AGO = re.compile(r"([0-9]{1,5})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}

DeliveryId = Annotated[int, typer.Argument(metavar="DELIVERY_ID", min=1)]


def _past(given: str) -> str:
    """An instant as the API takes it, of so long ago (90m, 2h, 3d) or of an ISO 8601 time."""
    try:
        if (ago := _AGO.fullmatch(given)) is not None:
            return rfc3339(SystemClock().now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])}))
        return rfc3339(datetime.fromisoformat(given).astimezone())
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{given!r} is not a time such as 2h, 3d or 2026-01-31T08:00:00Z") from None


def send_test(
    webhook_id: WebhookId,
    wait: Annotated[
        int, typer.Option(min=0, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait for its outcome.")
    ] = WAIT_SECONDS,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send a test event, and say what came of it.

    It goes to this endpoint alone, whatever events it gets.
    """
    with api_client(url) as client:
        sent = client.post(f"/webhooks/{webhook_id}/test")
        event_id = sent.data["event_id"]
        if not wait:
            _tell_sent(sent, as_json=as_json)
            return
        found = _attempted(client, webhook_id, event_id, wait)
        if found["status"] != DeliveryStatus.DELIVERED:
            raise _undelivered(found)
        answer = client.get(f"/webhooks/{webhook_id}/deliveries/{found['id']}")
    if as_json:
        write_line(answer.text)
        return
    screen().print(Text("Delivered.", style="bold green"))
    facts = {"event": event_id, "delivery": str(found["id"]), "answer": f"{found['response_code']}, {_took(found)}"}
    show_facts(facts.items())


def deliveries(
    webhook_id: WebhookId,
    status: Annotated[
        list[DeliveryStatus] | None, typer.Option(help="Only these (may be repeated).", show_default=False)
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that were given up.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Deliveries of a page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The next_cursor of the page before.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List an endpoint's deliveries, newest first."""
    wanted = [*(status or []), *([DeliveryStatus.FAILED] if failed else [])]
    query: Query = {"status": [one.value for one in dict.fromkeys(wanted)], "limit": limit, "cursor": cursor}
    with api_client(url) as client:
        answer = client.get(f"/webhooks/{webhook_id}/deliveries", query)
    if as_json:
        write_line(answer.text)
        return
    show(DELIVERIES, answer.data["deliveries"], "No deliveries.")
    tell_next(answer)


def delivery(webhook_id: WebhookId, delivery_id: DeliveryId, url: Url = None, as_json: AsJson = False) -> None:
    """Show what was sent, and what was answered.

    Every attempt is listed, and the latest is shown in full.
    """
    with api_client(url) as client:
        answer = client.get(f"/webhooks/{webhook_id}/deliveries/{delivery_id}")
    if as_json:
        write_line(answer.text)
        return
    row = answer.data
    facts: list[tuple[str, Text | str]] = [
        ("delivery", str(row["id"])),
        ("event", f"{row['event_type']}, {row['event_id']}"),
        ("status", status_text(row["status"])),
        ("next try", NOTHING if row["next_attempt_at"] is None else f"{instant_text(row['next_attempt_at'])} UTC"),
    ]
    show_facts(facts)
    show(ATTEMPTS, row["attempt_log"], "No attempt has been made yet.")
    for line in _latest(row):
        screen().print(line, soft_wrap=True)


def resend(
    webhook_id: WebhookId,
    delivery_id: Annotated[int | None, typer.Argument(metavar="DELIVERY_ID", min=1, show_default=False)] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", parser=_past, metavar="TIME", help="All since then: 2h, 3d, 2026-01-31T08:00:00Z."),
    ] = None,
    include_delivered: Annotated[
        bool, typer.Option("--include-delivered", help="With --since: also what was delivered.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send one delivery again, or all since a time.

    What happened while the endpoint was off is sent too; what was delivered is not, unless you ask for it.
    """
    if (delivery_id is None) == (since is None):
        raise typer.BadParameter("name one delivery, or give --since for all since then")
    with api_client(url) as client:
        if since is not None:
            _resend_since(client, webhook_id, since, include_delivered=include_delivered, as_json=as_json)
            return
        answer = client.post(f"/webhooks/{webhook_id}/deliveries/{delivery_id}/resend")
    if as_json:
        write_line(answer.text)
        return
    look = f"marqetfi webhooks delivery {webhook_id} {delivery_id} shows what comes of it."
    screen().print(Text.assemble(("Due again. ", "bold green"), (look, "dim")))


def _resend_since(client: ApiClient, webhook_id: int, since: str, *, include_delivered: bool, as_json: bool) -> None:
    """Ask until nothing is left; one answer looks at so many events only."""
    count, start, following = 0, "", since
    while following is not None and following != start:
        start = following
        body = {"since": start, "include_delivered": include_delivered}
        told = client.post(f"/webhooks/{webhook_id}/resend", body).data
        count, following = count + told["scheduled"], told["next_since"]
    if as_json:
        write_json({"scheduled": count, "next_since": following})
        return
    what = "Nothing is" if not count else "1 delivery is" if count == 1 else f"{number_text(count)} deliveries are"
    screen().print(Text(f"{what} due again."))


def _tell_sent(sent: Answer, *, as_json: bool) -> None:
    if as_json:
        write_line(sent.text)
        return
    told = sent.data
    look = f"marqetfi webhooks deliveries {told['webhook_id']} shows what comes of it."
    screen().print(Text.assemble(f"{told['event_type']} is on its way as {told['event_id']}. ", (look, "dim")))


def _attempted(client: ApiClient, webhook_id: int, event_id: str, wait_seconds: float) -> Document:
    """The delivery of an event once an attempt was made; Failure DELIVERY_PENDING where none was in time."""
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        rows = client.get(f"/webhooks/{webhook_id}/deliveries").data["deliveries"]
        for row in rows:
            is_over = row["status"] != DeliveryStatus.PENDING or row["last_error"] is not None
            if row["event_id"] == event_id and is_over:
                return dict(row)
        time.sleep(LOOK_SECONDS)
    raise Failure(
        "DELIVERY_PENDING",
        f"{event_id} has had no answer within {wait_seconds} s.",
        hint=f"marqetfi webhooks deliveries {webhook_id} shows what comes of it.",
    )


def _undelivered(row: Document) -> Failure:
    why = row["last_error"] if row["response_code"] is None else f"it answered {row['response_code']}"
    again = "" if row["next_attempt_at"] is None else f"; the next try is at {instant_text(row['next_attempt_at'])} UTC"
    return Failure(
        "WEBHOOK_NOT_DELIVERED",
        f"The endpoint did not take {row['event_id']}: {why}{again}.",
        hint=f"marqetfi webhooks delivery {row['webhook_id']} {row['id']} shows request and answer.",
        details={
            "webhook_id": row["webhook_id"],
            "delivery_id": row["id"],
            "response_code": row["response_code"],
            "last_error": row["last_error"] if row["response_code"] is None else None,
        },
    )


def _latest(row: Document) -> Iterator[Text]:
    """The last request and its answer, as they went over the wire; signatures were struck out."""
    yield Text("\nRequest", style="bold")
    if row["attempt_log"]:
        attempt = row["attempt_log"][-1]
        yield Text(f"POST {attempt['url']}")
        yield from (Text(f"{name}: {value}", style="dim") for name, value in attempt["request_headers"].items())
        yield Text()
    yield Text(row["payload"])
    if row["attempt_log"]:
        yield Text.assemble(("\nAnswer ", "bold"), _outcome(attempt["response_code"], attempt["error"]))
    if row["response_body"]:
        yield Text(_printable(row["response_body"]))


def _printable(body: str) -> str:
    """Text of an endpoint without what a terminal would obey."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in body
    )


def _outcome(code: int | None, error: str | None) -> Text:
    """The status that was answered, or why none was."""
    if code is None:
        return Text(error or NOTHING, style=LOSS if error else "")
    return Text(str(code), style=LOSS if error else GAIN)


def _took(row: Document) -> str:
    return NOTHING if row["duration_ms"] is None else f"{number_text(row['duration_ms'])} ms"


DELIVERIES = (
    Column("ID", text("id"), is_number=True),
    Column("Event", text("event_type")),
    Column("Event id", text("event_id"), is_minor=True),
    Column("Status", lambda row: status_text(row["status"])),
    Column("Attempts", text("attempts"), is_number=True),
    Column("Answer", lambda row: _outcome(row["response_code"], row["last_error"])),
    Column("Took", _took, is_number=True),
    Column("Next try (UTC)", instant("next_attempt_at")),
    Column("Made (UTC)", instant("created_at"), is_minor=True),
)

ATTEMPTS = (
    Column("Attempt", text("number"), is_number=True),
    Column("When (UTC)", instant("created_at")),
    Column("Answer", lambda row: _outcome(row["response_code"], row["error"])),
    Column("Took", _took, is_number=True),
    Column("URL", text("url"), is_minor=True),
)
