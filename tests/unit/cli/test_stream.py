"""The WebSocket client: answers in order, refused handshakes, a server that comes back."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import httpx2
import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from app.cli import stream as stream_module
from app.cli.client import ApiClient
from app.cli.credentials import CredentialStore, Login
from app.cli.failure import Failure
from app.cli.stream import StreamClosed, lasting_streams, open_stream

type Talk = Callable[[ServerConnection], None]


@contextmanager
def listening(
    talk: Talk, refuse: Callable[[ServerConnection, Request], Response | None] | None = None, port: int = 0
) -> Iterator[tuple[Server, int]]:
    """A WebSocket server on this machine."""
    with serve(talk, "127.0.0.1", port, process_request=refuse, compression=None) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server, server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


def client_at(port: int, store: CredentialStore) -> ApiClient:
    url = f"http://127.0.0.1:{port}"
    store.save(url, Login("ann@example.com", "access-1", "refresh-1", "2999-01-01T00:00:00Z"))
    return ApiClient(url, httpx2.Client(base_url=url, trust_env=False), store)


def read(connection: ServerConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv())
    return message


def answer(connection: ServerConnection, *frames: dict[str, Any]) -> None:
    """Answer a subscription and the ping behind it with frames of the same id, and frames without one."""
    asked = read(connection)
    assert read(connection) == {"type": "ping", "id": asked["id"]}
    for frame in frames:
        connection.send(json.dumps({"id": asked["id"], **frame}))
    connection.send(json.dumps({"type": "pong", "id": asked["id"]}))


def test_answers_are_told_apart_from_updates(store: CredentialStore) -> None:
    def talk(connection: ServerConnection) -> None:
        connection.send('{"type": "welcome"}')
        answer(
            connection,
            {"type": "subscribed", "data": {"pairs": ["BTCUSDT"]}},
            {"type": "price_update", "id": None, "data": {"price": 1}},
            {"type": "error", "data": {"code": "PAIR_NOT_FOUND"}},
        )
        connection.send('{"type": "price_update", "data": {"price": 0.1}}')
        connection.recv()

    with listening(talk) as (_, port), open_stream(client_at(port, store)) as stream:
        assert [frame["type"] for frame in stream.subscribe("prices")] == ["subscribed", "error"]
        frames = [stream.receive(10) for _ in range(3)]
        assert [frame and frame["type"] for frame in frames] == ["welcome", "price_update", "price_update"]
        assert frames[2] is not None
        assert str(frames[2]["data"]["price"]) == "0.1"
        assert stream.receive(0.001) is None


def test_the_end_of_a_connection_is_told(store: CredentialStore) -> None:
    def talk(connection: ServerConnection) -> None:
        connection.close(4401, "session ended")

    with listening(talk) as (_, port), open_stream(client_at(port, store)) as stream:
        with pytest.raises(StreamClosed, match="4401 session ended"):
            stream.receive(10)
        with pytest.raises(StreamClosed):
            stream.subscribe("prices")


def test_a_connection_that_the_server_ended_is_made_again(
    store: CredentialStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stream_module, "RETRY_SECONDS", 0.0)
    greetings = iter(["first", "second"])

    def talk(connection: ServerConnection) -> None:
        connection.send(json.dumps({"type": next(greetings)}))
        connection.close(1012, "service restart")

    seen = []
    with listening(talk) as (_, port):
        for stream in lasting_streams(client_at(port, store)):
            frame = stream.receive(10)
            assert frame is not None
            seen.append(frame["type"])
            if len(seen) == 2:
                break
    assert seen == ["first", "second"]
    assert "connecting again" in capsys.readouterr().err


def refusal(status: int, body: bytes) -> Callable[[ServerConnection, Request], Response]:
    return lambda _connection, _request: Response(status, "No", Headers(), body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"code": "LIMIT_EXCEEDED", "message": "Too many", "details": {}}}', "LIMIT_EXCEEDED"),
        (b"<html>", "UNEXPECTED_ANSWER"),
        (b"[]", "UNEXPECTED_ANSWER"),
        (b"", "UNEXPECTED_ANSWER"),
    ],
)
def test_a_refused_handshake_is_the_error_of_its_body(store: CredentialStore, body: bytes, code: str) -> None:
    with listening(lambda _: None, refusal(409, body)) as (_, port):
        with pytest.raises(Failure) as caught, open_stream(client_at(port, store)):
            pytest.fail("it was not refused")
        assert caught.value.code == code


def test_nobody_listens(store: CredentialStore) -> None:
    with listening(lambda _: None) as (_, port):
        pass
    with pytest.raises(Failure) as caught, open_stream(client_at(port, store)):
        pytest.fail("somebody listened")
    assert caught.value.code == "SERVER_UNREACHABLE"
