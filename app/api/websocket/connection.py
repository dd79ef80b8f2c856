"""The WebSocket itself: admission, the reader of each client, authentication and its end."""

import asyncio
from collections.abc import Callable

from loguru import logger
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.dependencies import container_of
from app.api.errors import named
from app.api.websocket.admission import admit, identity_of, refuse
from app.api.websocket.allowance import Allowance
from app.api.websocket.messages import echoable, parse_message, read_as
from app.api.websocket.subscriptions import subscribe, unsubscribe
from app.api.websocket.writer import Writer
from app.bootstrap import Container
from app.core.json import rfc3339
from app.domain.errors import Forbidden, InvalidRequest, MarqetError, NotFound, RateLimited, Unauthorized
from app.schemas.websocket import PATH, AuthData, ClientMessage, MessageType
from app.services.websocket.connections import Connection, Identity
from app.services.websocket.frames import Members
from app.services.websocket.outbox import Closing

WARN_SECONDS = 60.0

BINARY = Closing(1003, "text frames only")
TOO_LARGE = Closing(1009, "frame too large")
FULL = Closing(1013, "too many connections")
BAD_MESSAGES = Closing(4400, "too many bad messages")
NOT_AUTHENTICATED = Closing(4401, "not authenticated")
TOKEN_EXPIRED = Closing(4401, "token expired")
AUTH_LATE = Closing(4408, "not authenticated in time")
FLOOD = Closing(4429, "too many messages")


class WebSocketEndpoint:
    """Prices, trades, positions and deposits as they change, at `/ws`.

    Authenticate by `Authorization: Bearer`, by `?ticket=` or by a first message `auth`; the frames are told in
    docs/events-and-websocket.md. It stands before the framework: what that puts around a WebSocket costs each
    connection 6 KiB, and each frame two calls.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client; what is no WebSocket is handed on."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        container = await container_of(HTTPConnection(scope))
        if scope["path"].removeprefix(scope.get("root_path", "")) != PATH:
            await refuse(NotFound(f"The WebSocket is at {PATH}."), scope, receive, send, container.clock)
            return
        connection = await admit(scope, receive, send, container)
        if connection is not None:
            await Client(receive, send, container, connection).run()


class Client:
    """One client's socket, from its acceptance to its close."""

    __slots__ = (
        "_allowance",
        "_auth",
        "_bad_messages",
        "_clock",
        "_connection",
        "_hub",
        "_loop",
        "_outbox",
        "_receive",
        "_send",
        "_timers",
    )

    def __init__(self, receive: Receive, send: Send, container: Container, connection: Connection) -> None:
        self._receive = receive
        self._send = send
        self._auth = container.auth
        self._clock = container.clock
        self._hub = container.websockets
        self._connection = connection
        self._outbox = connection.outbox
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self._allowance = Allowance(self._hub.limits.messages_per_second, self._hub.limits.message_burst)
        self._bad_messages = 0

    async def run(self) -> None:
        """Serve until either side ends it."""
        halves: list[asyncio.Future[None]] = []
        try:
            # What comes first is the client's wish to connect.
            await self._receive()
            await self._send({"type": "websocket.accept"})
            writer = Writer(self._send, self._connection)
            self._connection.on_drop = writer.stop
            self._begin()
            halves = [writer.ended, asyncio.create_task(self._read())]
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._arm()
            self._connection.drop()
            # Or the connection and what drops it would hold each other.
            self._connection.on_drop = None
            for half in halves:
                half.cancel()
            for outcome in await asyncio.gather(*halves, return_exceptions=True):
                if isinstance(outcome, Exception):
                    logger.opt(exception=outcome).error("a WebSocket ended by a fault of ours")
            await self._hub.disconnect(self._connection)

    def _begin(self) -> None:
        if self._connection.identity is None:
            self._arm((self._hub.limits.auth_seconds, self._end_unauthenticated))
        else:
            self._welcome(self._connection.identity)

    async def _read(self) -> None:
        while (event := await self._receive())["type"] != "websocket.disconnect":
            if self._outbox.closing is None:
                await self._take(event.get("text"))

    async def _take(self, text: str | None) -> None:
        """Answer one frame; what is wrong with it is told, and costs the connection only where it goes on."""
        if text is None:
            self._refuse(InvalidRequest("Send text frames"), end=BINARY)
        elif len(text) > self._hub.limits.frame_bytes:
            self._outbox.close(TOO_LARGE)
        elif not self._allowance.take(self._clock.monotonic()):
            self._refuse(RateLimited("Too many messages"), end=FLOOD)
        else:
            await self._understand(text)

    async def _understand(self, text: str) -> None:
        try:
            message = parse_message(text)
        except MarqetError as error:
            self._refuse(error)
            return
        (outcome,) = await asyncio.gather(self._obey(message), return_exceptions=True)
        if isinstance(outcome, Exception):
            problem = named(outcome)
            if problem.status == 500:
                logger.opt(exception=outcome).error("a WebSocket message failed")
            self._refuse(problem, message)

    async def _obey(self, message: ClientMessage) -> None:
        identity = self._connection.identity
        if message.type is MessageType.AUTH:
            await self._authenticate(message)
        elif identity is None:
            raise Unauthorized("Send auth first")
        elif message.type is MessageType.SUBSCRIBE:
            await subscribe(self._hub, self._connection, identity, message)
        elif message.type is MessageType.UNSUBSCRIBE:
            await unsubscribe(self._hub, self._connection, identity, message)
        else:
            self._answer("pong", echoable(message.data), message)

    async def _authenticate(self, message: ClientMessage) -> None:
        """Take a token as the first message, or a newer one of the same user."""
        known = self._connection.identity
        token = read_as(AuthData, message.data or {}, at="data").token
        try:
            identity = identity_of(await self._auth.current_user(token))
            if known is not None and known.user_id != identity.user_id:
                raise Forbidden("The token is of another user")
            await self._hub.identify(self._connection, identity)
        except MarqetError as error:
            first = FULL if error.code == "LIMIT_EXCEEDED" else NOT_AUTHENTICATED
            self._refuse(error, message, end=first if known is None else None)
            return
        self._welcome(identity, message)

    def _welcome(self, identity: Identity, message: ClientMessage | None = None) -> None:
        limits = self._hub.limits
        data = {
            "connection_id": self._hub.presence.name_of(self._connection),
            "user_id": identity.user_id,
            "expires_at": rfc3339(identity.expires_at),
            "limits": {
                "pairs": limits.pairs,
                "messages_per_second": limits.messages_per_second,
                "message_burst": limits.message_burst,
                "frame_bytes": limits.frame_bytes,
            },
        }
        self._answer("welcome", data, message)
        left = (identity.expires_at - self._clock.now()).total_seconds()
        self._arm((left - WARN_SECONDS, self._warn), (left, self._end_expired))

    def _arm(self, *timers: tuple[float, Callable[[], None]]) -> None:
        """Set the timers anew."""
        for timer in self._timers:
            timer.cancel()
        self._timers = [self._loop.call_later(max(delay, 0.0), call) for delay, call in timers]

    def _warn(self) -> None:
        self._refuse(Unauthorized(code="TOKEN_EXPIRING"))

    def _end_expired(self) -> None:
        self._refuse(Unauthorized(code="TOKEN_EXPIRED"), end=TOKEN_EXPIRED)

    def _end_unauthenticated(self) -> None:
        self._refuse(Unauthorized("Nothing authenticated this connection in time"), end=AUTH_LATE)

    def _answer(self, kind: str, data: Members, message: ClientMessage | None) -> None:
        channel = message.channel if message else None
        self._outbox.put(self._hub.frames.of_now(kind, channel, data, message.id if message else None))

    def _refuse(self, error: MarqetError, message: ClientMessage | None = None, end: Closing | None = None) -> None:
        """Tell what is wrong, with the code that HTTP has, and end the connection where it cannot go on."""
        details = dict(error.details)
        self._answer("error", {"code": error.code, "message": error.message, "details": details}, message)
        if error.status == 400:
            self._bad_messages += 1
            if self._bad_messages >= self._hub.limits.bad_messages:
                end = end or BAD_MESSAGES
        if end is not None:
            self._outbox.close(end)
