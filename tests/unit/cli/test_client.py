"""The client: sessions that last, effects that happen once, errors that say what to do."""

from decimal import Decimal
from ipaddress import IPv4Address

import httpx2
import pytest

from app.cli import client as client_module
from app.cli.client import ApiClient, failure_of, is_loopback, url_of
from app.cli.credentials import CredentialStore, Login
from app.cli.failure import Failure
from tests.unit.cli.conftest import URL, Reply, ScriptedServer, error, tokens

STALE = "2020-01-01T00:00:00Z"


def failing(call: object) -> Failure:
    """The failure that a call ends with."""
    assert callable(call)
    with pytest.raises(Failure) as caught:
        call()
    return caught.value


def client_of(server: ScriptedServer, store: CredentialStore) -> ApiClient:
    """A client that reads the store anew, as another command would."""
    return ApiClient(URL, httpx2.Client(base_url=URL, transport=httpx2.MockTransport(server)), store)


def test_answers_keep_their_text_and_their_digits(
    server: ScriptedServer, store: CredentialStore, logged_in: Login
) -> None:
    server.replies = [httpx2.Response(200, text='{"price": 0.1000000000000000055511151231257827}')]
    answer = client_of(server, store).get("/trading/portfolio", {"limit": 5, "cursor": None})
    assert answer.text == '{"price": 0.1000000000000000055511151231257827}'
    assert answer.data == {"price": Decimal("0.1000000000000000055511151231257827")}
    assert str(server.asked[0].url) == f"{URL}/api/v1/trading/portfolio?limit=5"
    assert server.tokens == ["Bearer access-1"]


def test_nobody_logged_in(client: ApiClient, server: ScriptedServer) -> None:
    server.replies = [httpx2.Response(200, json={"status": "ok"})]
    failure = failing(lambda: client.get("/trading/positions"))
    assert (failure.code, failure.hint) == ("NOT_LOGGED_IN", "Log in: marqetfi login")
    assert [str(request.url) for request in server.asked] == [f"{URL}/health/live"]
    assert server.tokens == [None]


def test_logged_in_elsewhere(client: ApiClient, server: ScriptedServer, store: CredentialStore) -> None:
    store.save("http://127.0.0.1:8001", Login("ann@example.com", "access-1", "refresh-1", STALE))
    server.replies = [httpx2.Response(200, json={"status": "ok"})]
    assert "you are at http://127.0.0.1:8001" in str(failing(lambda: client.get("/trading/positions")).hint)


def test_public_answers_need_no_login(client: ApiClient, server: ScriptedServer) -> None:
    server.replies = [httpx2.Response(200, json={"pairs": []})]
    assert client.get("/trading/pairs", anonymous=True).data == {"pairs": []}
    assert server.tokens == [None]


def test_login_is_kept_for_the_next_command(client: ApiClient, server: ScriptedServer, store: CredentialStore) -> None:
    server.replies = [tokens(1), httpx2.Response(200, json={})]
    client.authenticate("/auth/login", {"email": "ann@example.com", "password": "p"}, "ann@example.com")
    client_of(server, store).get("/auth/me")
    assert server.tokens == [None, "Bearer access-1"]


def test_a_session_about_to_end_is_refreshed_first(server: ScriptedServer, store: CredentialStore) -> None:
    store.save(URL, Login("ann@example.com", "access-1", "refresh-1", STALE))
    server.replies = [tokens(2), httpx2.Response(200, json={})]
    client_of(server, store).get("/auth/me")
    assert server.body(0) == {"refresh_token": "refresh-1"}
    assert server.tokens == [None, "Bearer access-2"]
    kept = store.load(URL)
    assert kept is not None
    assert (kept.refresh_token, kept.email) == ("refresh-2", "ann@example.com")


def test_a_token_that_the_server_finds_old_is_renewed(
    server: ScriptedServer, store: CredentialStore, logged_in: Login
) -> None:
    server.replies = [error(401, "TOKEN_EXPIRED"), tokens(2), httpx2.Response(200, json={"ok": True})]
    assert client_of(server, store).get("/auth/me").data == {"ok": True}
    assert server.tokens == ["Bearer access-1", None, "Bearer access-2"]


def test_what_another_command_has_refreshed_is_not_refreshed_again(
    server: ScriptedServer, store: CredentialStore
) -> None:
    store.save(URL, Login("ann@example.com", "access-1", "refresh-1", STALE))
    client = client_of(server, store)
    store.save(URL, Login("ann@example.com", "access-2", "refresh-2", "2999-01-01T00:00:00Z"))
    server.replies = [httpx2.Response(200, json={})]
    client.get("/auth/me")
    assert server.tokens == ["Bearer access-2"]


def test_a_session_that_has_ended_is_forgotten(server: ScriptedServer, store: CredentialStore) -> None:
    store.save(URL, Login("ann@example.com", "access-1", "refresh-1", STALE))
    server.replies = [error(401, "REFRESH_TOKEN_REUSED"), httpx2.Response(200, json={"status": "ok"})]
    assert failing(lambda: client_of(server, store).get("/auth/me")).code == "NOT_LOGGED_IN"
    assert store.load(URL) is None


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RESEND_SECONDS", 0.0)


@pytest.mark.usefixtures("no_wait", "logged_in")
def test_an_effect_whose_answer_was_lost_is_asked_for_again_under_its_key(
    server: ScriptedServer, store: CredentialStore
) -> None:
    server.replies = [
        httpx2.ReadTimeout("no answer"),
        error(409, "IDEMPOTENCY_IN_FLIGHT"),
        httpx2.Response(201, json={"order_id": 7}),
    ]
    answer = client_of(server, store).once("POST", "/trading/trades", body={"asset": "BTC"})
    assert answer.data == {"order_id": 7}
    keys = {request.headers["Idempotency-Key"] for request in server.asked}
    assert len(server.asked) == 3
    assert len(keys) == 1


@pytest.mark.usefixtures("no_wait", "logged_in")
def test_two_effects_have_two_keys(server: ScriptedServer, store: CredentialStore) -> None:
    server.replies = [httpx2.Response(201, json={}), httpx2.Response(201, json={})]
    client = client_of(server, store)
    client.once("POST", "/trading/trades", body={})
    client.once("POST", "/trading/trades", body={})
    assert server.asked[0].headers["Idempotency-Key"] != server.asked[1].headers["Idempotency-Key"]


@pytest.mark.usefixtures("no_wait", "logged_in")
@pytest.mark.parametrize("reply", [error(400, "INSUFFICIENT_BALANCE"), httpx2.ConnectError("refused")])
def test_a_refusal_is_final(server: ScriptedServer, store: CredentialStore, reply: httpx2.Response) -> None:
    server.replies = [reply]
    failing(lambda: client_of(server, store).once("POST", "/trading/trades", body={}))
    assert len(server.asked) == 1


@pytest.mark.usefixtures("no_wait", "logged_in")
def test_an_answer_that_never_comes_is_told_as_lost(server: ScriptedServer, store: CredentialStore) -> None:
    server.replies = [httpx2.ReadError("reset")] * client_module.MOST_SENDS
    failure = failing(lambda: client_of(server, store).once("DELETE", "/trading/trades/1/0"))
    assert failure.code == "OUTCOME_UNKNOWN"
    assert "reset" in failure.message
    assert len(server.asked) == client_module.MOST_SENDS
    assert len({request.headers["Idempotency-Key"] for request in server.asked}) == 1


@pytest.mark.usefixtures("no_wait", "logged_in")
@pytest.mark.parametrize(
    "later",
    [
        httpx2.ConnectError("refused"),
        httpx2.Response(502, text="bad gateway"),
        error(401, "UNAUTHORIZED"),
        error(429, "RATE_LIMITED"),
        error(503, "SERVICE_UNAVAILABLE"),
        error(500, "INTERNAL_ERROR"),
    ],
)
def test_after_a_lost_answer_a_server_that_cannot_be_asked_leaves_the_outcome_unknown(
    server: ScriptedServer, store: CredentialStore, later: Reply
) -> None:
    server.replies = [httpx2.RemoteProtocolError("closed"), *[later] * (client_module.MOST_SENDS - 1)]
    failure = failing(lambda: client_of(server, store).once("POST", "/trading/trades", body={}))
    assert failure.code == "OUTCOME_UNKNOWN"
    assert failure.message.startswith("The outcome is unknown: ")
    assert failure.hint is not None
    assert "marqetfi trade list and marqetfi orders" in failure.hint


@pytest.mark.usefixtures("no_wait", "logged_in")
def test_after_a_lost_answer_a_server_that_comes_back_is_believed(
    server: ScriptedServer, store: CredentialStore
) -> None:
    lost: list[Reply] = [httpx2.ReadError("reset"), httpx2.ConnectError("refused")]
    server.replies = [*lost, httpx2.Response(201, json={"order_id": 7})]
    assert client_of(server, store).once("POST", "/trading/trades", body={}).data == {"order_id": 7}
    server.replies = [*lost, error(400, "INSUFFICIENT_BALANCE")]
    refused = failing(lambda: client_of(server, store).once("POST", "/trading/trades", body={}))
    assert refused.code == "INSUFFICIENT_BALANCE"


def test_no_server(client: ApiClient, server: ScriptedServer) -> None:
    server.replies = [httpx2.ConnectError("Connection refused")]
    failure = failing(lambda: client.get("/prices", anonymous=True))
    assert failure.code == "SERVER_UNREACHABLE"
    assert failure.hint is not None
    assert "marqetfi serve" in failure.hint


@pytest.mark.parametrize(
    "reply",
    [
        httpx2.Response(200, text="<html>"),
        httpx2.Response(502, text="bad gateway"),
        httpx2.Response(404, json={"detail": "Not Found"}),
        httpx2.Response(200, json=[1]),
    ],
)
def test_another_server_than_ours(client: ApiClient, server: ScriptedServer, reply: httpx2.Response) -> None:
    server.replies = [reply]
    assert failing(lambda: client.get("/prices", anonymous=True)).code == "UNEXPECTED_ANSWER"


@pytest.mark.parametrize(
    ("told", "retry_after", "hint"),
    [
        (
            {"code": "PAIR_NOT_FOUND", "details": {"near": ["BTCUSDT", "ETHUSDT"]}},
            None,
            "Did you mean BTCUSDT, ETHUSDT?",
        ),
        ({"code": "RATE_LIMITED"}, "7", "Try again in 7 s."),
        ({"code": "INTERNAL_ERROR", "request_id": "req_9"}, None, "Tell the operator this request id: req_9"),
        ({"code": "UNAUTHORIZED"}, None, "Log in: marqetfi login"),
        ({"code": "SOMETHING_NEW"}, None, None),
    ],
)
def test_hints(told: dict[str, object], retry_after: str | None, hint: str | None) -> None:
    assert failure_of({"message": "No.", **told}, retry_after).hint == hint


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        (str(IPv4Address(0)), "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("10.1.2.3", "http://10.1.2.3:80"),
        ("example.com", "http://example.com:80"),
    ],
)
def test_url_of_an_address(host: str, url: str) -> None:
    assert url_of(host, 80) == url


def test_this_machine() -> None:
    assert is_loopback("http://127.0.0.1:8000")
    assert is_loopback("http://localhost")
    assert is_loopback("http://[::1]:1")
    assert not is_loopback("https://api.example.com")
