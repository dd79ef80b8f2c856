"""The AsyncAPI document: the WebSocket as machines read it, made from the classes of its messages."""

from collections.abc import Iterable, Mapping
from functools import cache

from fastapi import Response
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.api.routing import router
from app.core.json import encode
from app.core.version import VERSION
from app.schemas import websocket as messages
from app.schemas import websocket_frames as frames
from app.schemas.websocket_examples import EXAMPLES

type Message = type[BaseModel]
type Members = dict[str, object]

CHANNEL = "websocket"
DESCRIPTION = """Prices, and what happens to a user's trades, orders, positions and deposits, as it happens.

Authenticate by the header, by a ticket of `POST /api/v1/auth/ws-ticket`, or by a first message `auth` within 5 s.
What is of the event log carries its `sequence`: after a reconnect, subscribe with `data.since` and nothing is missing.
Numbers have all their digits: read them as decimals where each of them counts."""

# What clients send, by operation, with what answers it; an error may answer everything.
ASKED: Mapping[str, tuple[tuple[Message, ...], Message]] = {
    "authenticate": ((messages.AuthMessage,), frames.WelcomeFrame),
    "subscribe_to_prices": ((messages.SubscribeToPrices,), frames.SubscribedToPrices),
    "subscribe": ((messages.SubscribeToTrades, messages.SubscribeToOwn), frames.SubscribedFrame),
    "unsubscribe": (
        (messages.UnsubscribeFromPrices, messages.UnsubscribeFromTrades, messages.UnsubscribeFromOwn),
        frames.UnsubscribedFrame,
    ),
    "ping": ((messages.PingMessage,), frames.PongFrame),
}
# What the server sends unasked.
TOLD: Mapping[str, Message] = {
    "welcome": frames.WelcomeFrame,
    "tell_price": frames.PriceUpdate,
    "tell_trade": frames.TradeUpdate,
    "tell_position": frames.PositionUpdate,
    "tell_deposit": frames.DepositUpdate,
    "warn": frames.ErrorFrame,
    "send_away": frames.ReconnectFrame,
}

asyncapi = router(tag="asyncapi")


@asyncapi.get("/asyncapi.json", include_in_schema=False)
async def read() -> Response:
    """Read the document; it is as public as /openapi.json."""
    return Response(_encoded(), media_type="application/json")


@cache
def _encoded() -> bytes:
    return encode(document())


def document() -> Members:
    """The document of AsyncAPI 3.0, seen from the server: it receives what clients send."""
    sent = tuple(dict.fromkeys(message for asked, _ in ASKED.values() for message in asked))
    told = tuple(dict.fromkeys((*(answer for _, answer in ASKED.values()), *TOLD.values())))
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "MarqetFi WebSocket", "version": VERSION, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"api": _SERVER},
        "channels": {
            CHANNEL: {
                "address": messages.PATH,
                "servers": [_ref("servers", "api")],
                "messages": {each.__name__: _ref("components", "messages", each.__name__) for each in (*sent, *told)},
                "bindings": {"ws": _HANDSHAKE},
            }
        },
        "operations": {
            **{name: _received(asked, answer) for name, (asked, answer) in ASKED.items()},
            **{name: _operation("send", (message,)) for name, message in TOLD.items()},
        },
        "components": {
            "messages": {each.__name__: _message(each) for each in (*sent, *told)},
            "schemas": _schemas(sent, told),
            "securitySchemes": _SECURITY,
        },
    }


def _schemas(sent: Iterable[Message], told: Iterable[Message]) -> Members:
    modes: list[tuple[Message, JsonSchemaMode]] = [
        *((each, "validation") for each in sent),
        *((each, "serialization") for each in told),
    ]
    _, found = models_json_schema(modes, ref_template="#/components/schemas/{model}")
    schemas: Members = found["$defs"]
    return schemas


def _message(message: Message) -> Members:
    example = EXAMPLES[message]
    return {
        "name": example["type"],
        "title": message.__name__,
        "summary": message.__doc__,
        "payload": _ref("components", "schemas", message.__name__),
        "examples": [{"payload": example}],
    }


def _operation(action: str, shown: Iterable[Message]) -> Members:
    return {"action": action, "channel": _ref("channels", CHANNEL), "messages": _on_channel(shown)}


def _received(asked: Iterable[Message], answer: Message) -> Members:
    reply = {"channel": _ref("channels", CHANNEL), "messages": _on_channel((answer, frames.ErrorFrame))}
    return {**_operation("receive", asked), "reply": reply}


def _on_channel(shown: Iterable[Message]) -> list[Members]:
    return [_ref("channels", CHANNEL, "messages", each.__name__) for each in shown]


def _ref(*path: str) -> Members:
    return {"$ref": "#/" + "/".join(path)}


_SERVER: Members = {
    "host": "{host}",
    "protocol": "ws",
    "description": "wss where the API stands behind TLS",
    "variables": {"host": {"default": "127.0.0.1:8000", "description": "Where the API answers"}},
    "security": [_ref("components", "securitySchemes", name) for name in ("bearer", "ticket")],
}
_HANDSHAKE: Members = {
    "method": "GET",
    "query": {
        "type": "object",
        "properties": {"ticket": {"type": "string", "description": "One-time, good for 30 s; for browsers"}},
    },
    "headers": {
        "type": "object",
        "properties": {"Authorization": {"type": "string", "description": "Bearer and the access token"}},
    },
    "bindingVersion": "0.1.0",
}
_SECURITY: Members = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "ticket": {"type": "httpApiKey", "in": "query", "name": "ticket"},
}
