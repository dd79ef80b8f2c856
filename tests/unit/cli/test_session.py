"""Logging out, and the sessions of an account."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from app.cli import session
from app.cli.client import ApiClient
from app.cli.credentials import CredentialStore, Login
from tests.unit.cli.conftest import URL, ScriptedServer, error


@pytest.fixture
def client(
    server: ScriptedServer,
    store: CredentialStore,
    logged_in: Login,
    client: ApiClient,
    monkeypatch: pytest.MonkeyPatch,
) -> ApiClient:
    """A client of the scripted server, logged in; commands use it too."""

    @contextmanager
    def same(_url: str | None) -> Iterator[ApiClient]:
        yield client

    monkeypatch.setattr(session, "api_client", same)
    return client


@pytest.mark.parametrize("reply", [httpx2.Response(204), error(401, "UNAUTHORIZED")])
def test_whoever_logs_out_twice_is_told(
    client: ApiClient,
    server: ScriptedServer,
    store: CredentialStore,
    capsys: pytest.CaptureFixture[str],
    reply: httpx2.Response,
) -> None:
    server.replies = [reply, *[httpx2.Response(200, json={"status": "ok"})] * 2]
    session.logout()
    assert store.load(URL) is None
    session.logout()
    session.logout(as_json=True)
    told = [f"Logged out of {URL}.", f"Nobody was logged in at {URL}.", '{"logged_out":false}']
    assert capsys.readouterr().out.splitlines() == told
