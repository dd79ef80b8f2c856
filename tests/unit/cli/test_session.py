"""Logging out, and the sessions of an account."""

import httpx2
import pytest

from app.cli.credentials import CredentialStore
from tests.unit.cli.conftest import URL, ScriptedServer, Typed, error


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
