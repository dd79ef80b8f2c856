"""The WebSocket client of the console script: subscribe, and read frames until somebody has seen enough."""

import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import count

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from app.cli.client import ApiClient, Document, failure_of, is_loopback, unreachable
from app.cli.console import say
from app.cli.failure import Failure

OPEN_SECONDS = 10.0
ANSWER_SECONDS = 10.0
# How long a server may be away, as it is while it restarts, before we give up.
AWAY_SECONDS = 60.0
RETRY_SECONDS = 1.0
LARGEST_FRAME_BYTES = 1024 * 1024


class StreamClosed(Failure):
    """The server ended the connection; a new one may be tried."""


class Stream:
    """One connection to `/ws`, authenticated."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._asked = count(1)
        self._unread: deque[Document] = deque()

    def subscribe(self, channel: str, data: Document | None = None) -> list[Document]:
        """Ask for a channel; the frames that answer it: `subscribed`, `error`, or both."""
        number = next(self._asked)
        self._send({"type": "subscribe", "channel": channel, "data": data or {}, "id": number})
        # Frames in answer to messages come in the order of the messages.
        self._send({"type": "ping", "id": number})
        answers: list[Document] = []
        while (frame := self._next(ANSWER_SECONDS)) is not None:
            if frame.get("id") != number:
                self._unread.append(frame)
            elif frame["type"] == "pong":
                return answers
            else:
                answers.append(frame)
        raise Failure("ANSWER_LOST", "The server did not answer on the WebSocket.")

    def receive(self, timeout_seconds: float) -> Document | None:
        """The next frame, with exact numbers; None when none came in time. StreamClosed at the end."""
        return self._unread.popleft() if self._unread else self._next(timeout_seconds)

    def _send(self, message: Document) -> None:
        try:
            self._connection.send(json.dumps(message))
        except ConnectionClosed as error:
            raise _closed(error) from None

    def _next(self, timeout_seconds: float) -> Document | None:
        try:
            text = self._connection.recv(timeout=timeout_seconds)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise _closed(error) from None
        frame: Document = json.loads(text, parse_float=Decimal)
        return frame


def _closed(error: ConnectionClosed) -> StreamClosed:
    closing = error.rcvd
    reason = f"{closing.code} {closing.reason}".strip() if closing else "the connection was lost"
    return StreamClosed("STREAM_CLOSED", f"The server closed the connection: {reason}.")


@contextmanager
def open_stream(client: ApiClient) -> Iterator[Stream]:
    """A connection as the user that is logged in; a token that was refused is renewed once."""
    with _open(client) as connection:
        yield Stream(connection)


def lasting_streams(client: ApiClient) -> Iterator[Stream]:
    """A connection, and a new one each time the server ended the last: for those who watch without end."""
    with open_stream(client) as stream:
        yield stream
    while True:
        say(f"The connection to {client.url} ended; connecting again.")
        with _connected_again(client) as stream:
            yield stream


@contextmanager
def _connected_again(client: ApiClient) -> Iterator[Stream]:
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        time.sleep(RETRY_SECONDS)
        try:
            connection = _open(client)
        except Failure as failure:
            if failure.code not in {"SERVER_UNREACHABLE", "SERVICE_UNAVAILABLE"} or time.monotonic() > deadline:
                raise
        else:
            break
    with connection:
        yield Stream(connection)


def _open(client: ApiClient) -> ClientConnection:
    try:
        return _connect(client.url, client.access_token())
    except Failure as failure:
        if failure.code != "TOKEN_EXPIRED":
            raise
    return _connect(client.url, client.renewed_token())


def _connect(url: str, token: str) -> ClientConnection:
    try:
        return connect(
            url.replace("http", "ws", 1) + "/ws",
            additional_headers={"Authorization": f"Bearer {token}"},
            open_timeout=OPEN_SECONDS,
            max_size=LARGEST_FRAME_BYTES,
            compression=None,
            proxy=None if is_loopback(url) else True,
        )
    except InvalidStatus as error:
        raise _refusal(error) from None
    except InvalidHandshake as error:
        raise Failure("UNEXPECTED_ANSWER", f"{url} does not speak WebSocket: {error}.") from None
    except (OSError, TimeoutError) as error:
        raise unreachable(url, error) from None


def _refusal(error: InvalidStatus) -> Failure:
    """Why a handshake was refused, by the envelope in its body."""
    response = error.response
    try:
        told = json.loads(response.body or b"")["error"]
    except (ValueError, KeyError, TypeError):
        return Failure("UNEXPECTED_ANSWER", f"The server refused the WebSocket with {response.status_code}.")
    return failure_of(told, response.headers.get("Retry-After"))
