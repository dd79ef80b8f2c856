"""A WebSocket client of the tests: sends objects, waits for frames, knows how it was closed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.published import check_frame
from tests.servers import RunningServer
from tests.waiting import DEADLINE_SECONDS

type Frame = dict[str, Any]


class Socket:
    """One connection; every wait has an end."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.seen: list[Frame] = []
        self.texts: list[str] = []

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self) -> Frame:
        """The next frame, whatever it is; it must be one of those that are published."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            text = await self.connection.recv()
        check_frame(text)
        self.texts.append(str(text))
        frame: Frame = json.loads(text)
        self.seen.append(frame)
        return frame

    async def receive_until(self, is_wanted: Callable[[Frame], bool]) -> Frame:
        """The next frame that is wanted; those before it stay in `seen`."""
        while not is_wanted(frame := await self.receive()):
            pass
        return frame

    async def receive_type(self, kind: str) -> Frame:
        return await self.receive_until(lambda frame: frame["type"] == kind)

    async def ask(self, **message: Any) -> Frame:
        """Send a message and wait for its answer, known by its id."""
        message.setdefault("id", f"q{len(self.seen)}")
        await self.send(**message)
        return await self.receive_until(lambda frame: frame.get("id") == message["id"])

    async def error_code(self, **message: Any) -> str:
        """The code of the error that a message is answered with."""
        answer = await self.ask(**message)
        assert answer["type"] == "error", answer
        return str(answer["data"]["code"])

    async def close_code(self) -> int | None:
        """Read on until the server closes; the code it gave."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    async def settle(self) -> list[Frame]:
        """What has come until now: everything queued before the answer to a ping."""
        before = len(self.seen)
        await self.ask(type="ping")
        return self.seen[before:-1]


@asynccontextmanager
async def open_socket(
    server: RunningServer, *, token: str | None = None, query: str = "", welcome: bool = True, **options: Any
) -> AsyncIterator[Socket]:
    """Connect; with a token by header, and then past `welcome` unless told otherwise."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= options.pop("headers", {})
    url = f"{server.websocket_url}{query}"
    async with connect(url, additional_headers=headers, proxy=None, compression=None, **options) as connection:
        socket = Socket(connection)
        if welcome and (token or query):
            frame = await socket.receive()
            assert frame["type"] == "welcome", frame
        yield socket
