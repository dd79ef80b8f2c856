"""An endpoint as its owner runs one: a real HTTP server that keeps what it is sent, and answers as a test says."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from app.domain.webhook_verification import verify

type Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """One request, byte for byte."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(self.body)
        return payload

    @property
    def sequence(self) -> int:
        return int(self.payload["data"]["sequence"])

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    def problems(self, *secrets: str) -> list[str]:
        """What a receiver with these secrets finds wrong with it."""
        at = float(self.headers["webhook-timestamp"])
        return [problem.code for problem in verify(self.headers, self.body.decode(), secrets, at).problems]


@dataclass
class Receiver:
    """What came, by path; a path answers 200 unless a test has said otherwise."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=lambda: defaultdict(lambda: status(200)))
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str = "/hook") -> list[Received]:
        """What came to a path, in order of arrival."""
        return [request for request in self.received if request.path == path]

    def hang(self, path: str = "/hook") -> None:
        """Take requests of a path and answer none of them before `released` is set."""

        async def wait(_: web.Request) -> web.Response:
            await self.released.wait()
            return web.Response(text="late")

        self.answers[path] = wait

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Keep a request, then answer it."""
        body = await request.read()
        self.received.append(Received(request.path, dict(request.headers), body))
        return await self.answers[request.path](request)


def status(code: int, text: str = "", **headers: str) -> Answer:
    """Answer with a status; headers are named with underscores."""

    async def answer(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, text=text, headers=named)

    return answer


async def break_off(request: web.Request) -> web.StreamResponse:
    """Begin an answer, and close the connection in the middle of it."""
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b"half")
    assert request.transport is not None
    request.transport.abort()
    return answer


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port; whoever hangs at its end is let go."""
    receiver = Receiver()
    app = web.Application(client_max_size=2**20)
    app.router.add_post("/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()
