"""Clients of the WebSocket benchmark: many connections in one process that read frames and do little else with them."""

import asyncio
import base64
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import orjson

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
# Of so many readers one looks at when a frame was made.
SAMPLED = 10


class Reader(asyncio.Protocol):
    """One connection: shakes hands, says what it was given to say, counts text frames.

    `lags` are milliseconds from the making of a price to its arrival here, where the reader is a sampled one.
    """

    def __init__(self, messages: Sequence[bytes], token: str | None = None, *, is_sampled: bool = False) -> None:
        self.frames = 0
        self.lags: list[float] = []
        self.last = b""
        self.is_open = asyncio.get_running_loop().create_future()
        self._messages = messages
        self._token = token
        self._is_sampled = is_sampled
        self._received = b""
        self._is_upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        authorization = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{authorization}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_upgraded:
            head, blank, rest = self._received.partition(b"\r\n\r\n")
            if not blank:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise RuntimeError(self._received.decode(errors="replace"))
            self._is_upgraded, self._received = True, rest
            self.is_open.set_result(None)
            self.transport.write(b"".join(map(masked, self._messages)))
        self._read_frames()

    def _read_frames(self) -> None:
        at, received = 0, self._received
        while len(received) >= at + 2:
            length, start = received[at + 1], at + 2
            if length == 126:
                if len(received) < at + 4:
                    break
                length, start = int.from_bytes(received[at + 2 : at + 4]), at + 4
            if len(received) < start + length:
                break
            self._take(received[at], received[start : start + length])
            at = start + length
        self._received = received[at:]

    def _take(self, kind: int, frame: bytes) -> None:
        if kind == CLOSE:
            raise RuntimeError(f"closed: {frame!r}")
        if kind == PING:
            self.transport.write(masked(frame, PONG))
            return
        self.frames += 1
        self.last = frame
        if self._is_sampled and b'"price_update"' in frame and b'"snapshot"' not in frame:
            made_at = datetime.fromisoformat(orjson.loads(frame)["timestamp"])
            self.lags.append((datetime.now(UTC) - made_at).total_seconds() * 1000)


def masked(message: bytes, kind: int = TEXT) -> bytes:
    """A client's frame; the mask is zeros, which leaves the message as it is."""
    size = len(message)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2)
    return bytes([kind]) + length + bytes(4) + message


async def connect_all(
    port: int, messages: Sequence[bytes], tokens: Sequence[str | None], at_once: int = 50
) -> list[Reader]:
    """One reader for each token, shaken hands with, some at a time."""
    gate = asyncio.Semaphore(at_once)
    loop = asyncio.get_running_loop()

    async def one(number: int, token: str | None) -> Reader:
        async with gate:
            _, reader = await loop.create_connection(
                lambda: Reader(messages, token, is_sampled=number % SAMPLED == 0), "127.0.0.1", port
            )
            await reader.is_open
            return reader

    return list(await asyncio.gather(*(one(number, token) for number, token in enumerate(tokens))))
