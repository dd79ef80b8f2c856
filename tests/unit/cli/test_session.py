"""Logging out, and the sessions of an account."""

import httpx2
import pytest

from app.cli.credentials import CredentialStore
from tests.unit.cli.conftest import URL, ScriptedServer, Typed, error

ID = "7f98c231-b5b5-4ccc-81b6-f612d22be055"
PLACE = {"user_agent": "marqetfi-cli/0.1.0", "ip": "192.0.2.1", "auth_method": "email", "last_used_at": None}
TIMES = {"created_at": "2026-11-24T08:10:13Z", "expires_at": "2026-12-24T08:10:13Z"}


@pytest.mark.parametrize("reply", [httpx2.Response(204), error(401, "UNAUTHORIZED")])
def test_whoever_logs_out_twice_is_told(
    typed: Typed, server: ScriptedServer, store: CredentialStore, reply: httpx2.Response
) -> None:
    server.replies = [reply, *[httpx2.Response(200, json={"status": "ok"})] * 2]
    assert typed("logout").stdout == f"Logged out of {URL}.\n"
    assert store.load(URL) is None
    again = typed("logout")
    assert (again.exit_code, again.stdout) == (0, f"Nobody was logged in at {URL}.\n")
    assert typed("logout", "--json").stdout == '{"logged_out":false}\n'


@pytest.mark.parametrize("words", [[], ["list"]])
def test_sessions_are_listed(typed: Typed, server: ScriptedServer, words: list[str]) -> None:
    listed = [{"id": ID, "is_current": current, **PLACE, **TIMES} for current in (True, False)]
    server.replies = [httpx2.Response(200, json={"sessions": listed})]
    lines = [line for line in typed("sessions", *words).stdout.splitlines() if ID in line]
    assert ["this one" in line for line in lines] == [True, False]
    assert "192.0.2.1" in lines[0]
    assert "2026-12-24 08:10:13" in lines[0]
    assert server.asked[0].url.path == "/api/v1/auth/sessions"


def test_options_of_the_list_need_no_command(typed: Typed, server: ScriptedServer) -> None:
    server.replies = [httpx2.Response(200, text='{"sessions":[]}')]
    assert typed("sessions", "--json").stdout == '{"sessions":[]}\n'
    assert "end" in typed("sessions", "--help").stdout


def test_a_session_is_ended(typed: Typed, server: ScriptedServer) -> None:
    server.replies = [httpx2.Response(204), httpx2.Response(204), error(404, "NOT_FOUND"), error(429, "RATE_LIMITED")]
    assert typed("sessions", "end", ID).stdout == f"Session {ID} is ended.\n"
    assert typed("sessions", "end", ID, "--json").stdout == f'{{"id":"{ID}","ended":true}}\n'
    assert (server.asked[0].method, server.asked[0].url.path) == ("DELETE", f"/api/v1/auth/sessions/{ID}")
    unknown = typed("sessions", "end", ID)
    assert unknown.exit_code == 1
    assert "hint: marqetfi sessions lists yours." in unknown.stderr
    assert "error: RATE_LIMITED" in typed("sessions", "end", ID).stderr
