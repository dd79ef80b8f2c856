"""Webhooks in the console: secrets that no lost answer takes along, times, and how an endpoint does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from app.cli import client as client_module
from app.cli import webhook_deliveries
from app.cli.client import Answer, ApiClient
from app.cli.credentials import CredentialStore, Login
from app.cli.failure import Failure
from app.cli.hints import hint_for
from app.cli.main import app
from app.cli.webhook_endpoints import _filters, _previous, _secret, _show, _with_secret, state_text
from app.domain.events import EventType
from app.domain.webhooks import checked_secret
from tests.unit.cli.conftest import ScriptedServer

ON: dict[str, Any] = {"is_active": True, "disabled_reason": None, "retry_count": 0, "paused_until": None}
LOST = httpx2.ReadError("the connection was reset")


@pytest.fixture
def client(server: ScriptedServer, store: CredentialStore, logged_in: Login, client: ApiClient) -> ApiClient:
    """A client of the scripted server, logged in."""
    return client


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RESEND_SECONDS", 0)


def test_a_secret_survives_the_loss_of_the_answer(client: ApiClient, server: ScriptedServer) -> None:
    server.replies = [LOST, httpx2.Response(201, json={"id": 1, "secret_hint": "abcd"})]
    secret = _secret(from_stdin=False)
    made = _with_secret(client, "/webhooks", {"secret": secret}, look="marqetfi webhooks list")
    assert made == {"id": 1, "secret_hint": "abcd", "secret": secret}
    assert server.body(0) == server.body(1) == {"secret": secret}
    assert len({request.headers["Idempotency-Key"] for request in server.asked}) == 1


def test_a_secret_that_may_have_been_set_is_told(client: ApiClient, server: ScriptedServer) -> None:
    server.replies = [LOST] * 4
    with pytest.raises(Failure) as caught:
        _with_secret(client, "/webhooks", {"secret": "the new one"}, look="marqetfi webhooks list")
    assert caught.value.code == "OUTCOME_UNKNOWN"
    assert caught.value.hint == "Look with marqetfi webhooks list before you repeat it."
    assert caught.value.details == {"secret": "the new one"}


def test_a_refusal_tells_no_secret(client: ApiClient, server: ScriptedServer) -> None:
    server.replies = [httpx2.Response(400, json={"error": {"code": "WEBHOOK_URL_REFUSED", "message": "No."}})]
    with pytest.raises(Failure) as caught:
        _with_secret(client, "/webhooks", {"secret": "the new one"}, look="")
    assert (caught.value.code, caught.value.details) == ("WEBHOOK_URL_REFUSED", {})


def test_secrets_that_are_made_are_good_and_never_the_same() -> None:
    made = {checked_secret(_secret(from_stdin=False)) for _ in range(10)}
    assert len(made) == 10


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({}, "on"),
        ({"is_active": False}, "off"),
        ({"is_active": False, "disabled_reason": "gone"}, "off: it answered 410"),
        ({"is_active": False, "disabled_reason": "failing"}, "off: no success for 5 days"),
        ({"is_active": False, "disabled_reason": "a new one"}, "off: a new one"),
        ({"retry_count": 3}, "on, 3 failed in a row"),
        ({"retry_count": 12, "paused_until": "2026-11-24T08:10:13Z"}, "on, 12 failed in a row, tried once a minute"),
    ],
)
def test_how_an_endpoint_does(values: dict[str, Any], shown: str) -> None:
    assert state_text({**ON, **values}).plain == shown


def test_until_when_an_endpoint_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"id": 1, "url": "https://example.com/", "event_types": ["*"], "secret_hint": "abcd", "failing_since": None}
    told |= {"last_delivery_at": None, "previous_until": None, "created_at": "2026-11-24T08:00:00Z"}
    for until, shown in (("2026-11-24T08:10:13Z", "2026-11-24 08:10:13 UTC"), (None, "-")):
        _show(Answer("", {**ON, **told, "paused_until": until}), as_json=False)
        (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("paused until"))
        assert line.removeprefix("paused until").strip() == shown


def test_until_when_an_old_secret_signs() -> None:
    assert _previous({"previous_until": None}) == "-"
    assert _previous({"previous_until": "2020-01-31T08:00:00.5Z"}) == "signed until 2020-01-31 08:00:00 UTC"
    assert _previous({"previous_until": "2999-01-31T08:00:00Z"}) == "signs too until 2999-01-31 08:00:00 UTC"


@pytest.mark.parametrize(("given", "hours"), [("90m", 1.5), ("2h", 2), ("3d", 72)])
def test_times_ago(given: str, hours: float) -> None:
    before = datetime.now(UTC)
    ago = datetime.fromisoformat(webhook_deliveries._past(given)) + timedelta(hours=hours)
    assert before <= ago <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("given", "read"),
    [("2026-01-31T08:00:00Z", "2026-01-31T08:00:00Z"), ("2026-01-31T08:00:00+02:00", "2026-01-31T06:00:00Z")],
)
def test_times_as_they_are_written(given: str, read: str) -> None:
    assert webhook_deliveries._past(given) == read


def test_a_time_without_an_offset_is_one_of_here() -> None:
    here = datetime(2026, 1, 31, 8).astimezone()
    assert datetime.fromisoformat(webhook_deliveries._past("2026-01-31T08:00")) == here


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    assert (
        webhook_deliveries._printable("a\x1b[31m\n\tb\x07")
        == "a\N{REPLACEMENT CHARACTER}[31m\n\tb\N{REPLACEMENT CHARACTER}"
    )


def test_event_types_complete() -> None:
    assert set(_filters("trade.")) == {"trade.*", *(kind for kind in EventType if kind.startswith("trade."))}
    assert "*" in _filters("")


def test_everything_since_is_asked_for_until_nothing_is_left(
    server: ScriptedServer, logged_in: Login, client: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    answers = [{"scheduled": 9000, "next_since": second}, {"scheduled": 7, "next_since": None}]
    server.replies = [httpx2.Response(202, json=answer) for answer in answers]
    webhook_deliveries._resend_since(client, 1, first, include_delivered=False, as_json=False)
    assert capsys.readouterr().out == "9,007 deliveries are due again.\n"
    assert [server.body(n)["since"] for n in range(2)] == [first, second]  # type: ignore[index]


def test_a_page_that_leads_nowhere_is_not_asked_for_again(
    server: ScriptedServer, client: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    since = "2026-01-01T00:00:00Z"
    server.replies = [httpx2.Response(202, json={"scheduled": 9000, "next_since": since})]
    webhook_deliveries._resend_since(client, 1, since, include_delivered=True, as_json=True)
    assert capsys.readouterr().out == f'{{"scheduled":9000,"next_since":"{since}"}}\n'


def test_a_body_that_is_no_text_is_refused() -> None:
    ended = CliRunner().invoke(
        app, ["webhooks", "verify", "1", "--body", "-", "-H", "a: b"], input=b"\xff", env={"COLUMNS": "200"}
    )
    assert ended.exit_code == 2
    assert "the body is not UTF-8" in ended.stderr


@pytest.mark.parametrize(
    ("code", "details", "hint"),
    [
        ("NOT_FOUND", {"webhook_id": 3}, "marqetfi webhooks list shows yours."),
        ("NOT_FOUND", {"delivery_id": 3}, "marqetfi webhooks deliveries lists those that are still kept."),
        ("NOT_FOUND", {"order_id": 3}, "marqetfi orders and marqetfi trade list show what is yours."),
        ("CONFLICT", {"webhook_id": 3}, "Switch it on: marqetfi webhooks update 3 --on"),
        ("CONFLICT", {}, None),
        ("LIMIT_EXCEEDED", {"limit": "webhooks"}, "marqetfi webhooks delete makes room."),
        ("LIMIT_EXCEEDED", {"limit": "open_trades"}, None),
        ("VALIDATION_ERROR", {"errors": [{"code": "event_type_unknown"}]}, "marqetfi webhooks types lists them all."),
        ("VALIDATION_ERROR", {"errors": [{"code": "missing"}]}, None),
    ],
)
def test_what_to_do_about_an_error(code: str, details: dict[str, Any], hint: str | None) -> None:
    assert hint_for(code, details, retry_after=None, request_id="req_1") == hint
