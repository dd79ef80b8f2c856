"""A server that answers as told, and a client of it that keeps its sessions in a folder of the test's own."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner, Result

from app.cli.client import ApiClient
from app.cli.credentials import CredentialStore, Login
from app.cli.main import app

URL = "http://127.0.0.1:8000"

type Typed = Callable[..., Result]
type Reply = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]


@dataclass
class ScriptedServer:
    """Gives its replies in order, each once, and keeps what it was asked."""

    replies: list[Reply] = field(default_factory=list)
    asked: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, httpx2.Response) else reply(request)

    @property
    def tokens(self) -> list[str | None]:
        """The access token of each request."""
        return [request.headers.get("Authorization") for request in self.asked]

    def body(self, index: int) -> object:
        """What a request carried."""
        return json.loads(self.asked[index].content)


def error(status: int, code: str, **details: object) -> httpx2.Response:
    """An error as the API answers it."""
    told = {"code": code, "message": "What went wrong.", "details": details, "request_id": "req_1"}
    return httpx2.Response(status, json={"error": told})


def tokens(number: int) -> httpx2.Response:
    """What a login or refresh answers."""
    pair = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}", "expires_in": 1800}
    return httpx2.Response(200, json=pair)


@pytest.fixture(autouse=True)
def _place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find nothing of the developer's: no .env, no data, no sessions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MARQETFI_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def store(tmp_path: Path) -> CredentialStore:
    return CredentialStore(tmp_path / "config" / "marqetfi")


@pytest.fixture
def logged_in(store: CredentialStore) -> Login:
    """A session whose access token is good for long."""
    login = Login("ann@example.com", "access-1", "refresh-1", "2999-01-01T00:00:00Z")
    store.save(URL, login)
    return login


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def client(server: ScriptedServer, store: CredentialStore) -> Iterator[ApiClient]:
    with httpx2.Client(base_url=URL, transport=httpx2.MockTransport(server)) as http:
        yield ApiClient(URL, http, store)


@pytest.fixture
def typed(server: ScriptedServer, logged_in: Login, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Runs a command against the scripted server, as a user that is logged in."""
    monkeypatch.setattr(httpx2, "Client", partial(httpx2.Client, transport=httpx2.MockTransport(server)))
    env = {"MARQETFI_URL": URL, "COLUMNS": "200"}
    return lambda *words: CliRunner().invoke(app, list(words), env=env, catch_exceptions=False)
