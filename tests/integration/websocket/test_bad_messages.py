"""Messages that are wrong are answered with an error; only those who go on are closed."""

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from app.bootstrap import Container
from app.models.market import Pair
from app.services.websocket_service import WebSocketLimits
from tests.factories import Person
from tests.integration.websocket.client import open_socket
from tests.integration.websocket.market import Desk
from tests.servers import RunningServer


@pytest.fixture(scope="module")
def limits() -> WebSocketLimits:
    return WebSocketLimits(messages_per_second=0.001, message_burst=30)


def subscribing(channel: str, data: Any) -> str:
    return json.dumps({"type": "subscribe", "channel": channel, "data": data})


def unsubscribing(channel: str, data: Any) -> str:
    return json.dumps({"type": "unsubscribe", "channel": channel, "data": data})


BAD = [
    ("", "INVALID_JSON"),
    ("hello", "INVALID_JSON"),
    ('{"type":"ping"', "INVALID_JSON"),
    ('{"type":"ping","type":"ping"}', "INVALID_JSON"),
    ('{"type":"ping","data":{"x":NaN}}', "INVALID_JSON"),
    ('{"type":"ping","data":' + '{"x":' * 5000 + "1" + "}" * 5000 + "}", "INVALID_JSON"),
    ("[]", "VALIDATION_ERROR"),
    ("null", "VALIDATION_ERROR"),
    ("{}", "VALIDATION_ERROR"),
    ('{"type":7}', "VALIDATION_ERROR"),
    ('{"type":"buy"}', "UNKNOWN_TYPE"),
    ('{"type":"ping","extra":1}', "VALIDATION_ERROR"),
    ('{"type":"ping","id":true}', "VALIDATION_ERROR"),
    ('{"type":"ping","id":"' + "x" * 65 + '"}', "VALIDATION_ERROR"),
    ('{"type":"ping","data":{"x":"\\ud800"}}', "VALIDATION_ERROR"),
    ('{"type":"ping","data":{"x":123456789012345678901234567890}}', "VALIDATION_ERROR"),
    ('{"type":"subscribe"}', "VALIDATION_ERROR"),
    ('{"type":"subscribe","channel":"secrets"}', "UNKNOWN_CHANNEL"),
    (subscribing("prices", None), "VALIDATION_ERROR"),
    (subscribing("prices", {}), "VALIDATION_ERROR"),
    (subscribing("prices", {"pairs": []}), "VALIDATION_ERROR"),
    (subscribing("prices", {"pairs": "BTCUSDT"}), "VALIDATION_ERROR"),
    (subscribing("prices", {"pairs": [1]}), "VALIDATION_ERROR"),
    (subscribing("prices", {"pairs": ["BTCUSDT"], "depth": 5}), "VALIDATION_ERROR"),
    (subscribing("prices", {"pairs": ["'; DROP TABLE pairs; --"]}), "PAIR_NOT_FOUND"),
    (subscribing("trades", {"trade_ids": []}), "VALIDATION_ERROR"),
    (subscribing("trades", {"trade_ids": [0]}), "VALIDATION_ERROR"),
    (subscribing("trades", {"trade_ids": [2**63]}), "VALIDATION_ERROR"),
    (subscribing("trades", {"trade_ids": ["1"]}), "VALIDATION_ERROR"),
    (subscribing("trades", {"trade_ids": [1.5]}), "VALIDATION_ERROR"),
    (subscribing("trades", {"since": -1}), "VALIDATION_ERROR"),
    (subscribing("trades", {"since": "3"}), "VALIDATION_ERROR"),
    (subscribing("positions", {"trade_ids": [1]}), "VALIDATION_ERROR"),
    (subscribing("positions", []), "VALIDATION_ERROR"),
    (unsubscribing("trades", {"since": 3}), "VALIDATION_ERROR"),
    (unsubscribing("positions", {"since": 3}), "VALIDATION_ERROR"),
    (unsubscribing("deposits", {"deposit_ids": [1]}), "VALIDATION_ERROR"),
    ('{"type":"auth"}', "VALIDATION_ERROR"),
    ('{"type":"auth","data":{"token":""}}', "VALIDATION_ERROR"),
]


@pytest.mark.parametrize(("text", "code"), BAD, ids=[f"{number}-{text[:40]}" for number, (text, _) in enumerate(BAD)])
async def test_a_bad_message_is_answered_and_the_socket_stays_open(
    server: RunningServer, desk: Desk, person: Person, text: str, code: str
) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await socket.connection.send(text)
        error = await socket.receive()
        assert (error["type"], error["data"]["code"]) == ("error", code)
        assert error["data"]["message"]
        assert error["timestamp"].endswith("Z")
        pong = await socket.ask(type="ping", data={"echo": 0.1})
        assert (pong["type"], pong["data"]) == ("pong", {"echo": 0.1})


async def test_fields_that_are_wrong_are_named(server: RunningServer, desk: Desk, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        answer = await socket.ask(type="subscribe", channel="trades", data={"trade_ids": [1], "sinse": 3}, id="mine")
        assert (answer["id"], answer["channel"]) == ("mine", "trades")
        assert answer["data"]["details"]["errors"][0]["field"] == "data.sinse"


async def test_ten_bad_messages_end_the_connection(server: RunningServer, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        for _ in range(10):
            await socket.connection.send("nonsense")
        assert await socket.close_code() == 4400
        assert [frame["data"]["code"] for frame in socket.seen[1:]] == ["INVALID_JSON"] * 10


async def test_a_binary_frame_ends_the_connection(server: RunningServer, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await socket.connection.send(b'{"type":"ping"}')
        assert await socket.close_code() == 1003
        assert socket.seen[-1]["data"]["code"] == "VALIDATION_ERROR"


async def test_a_frame_of_more_than_64_kib_ends_the_connection(server: RunningServer, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await socket.ask(type="ping", data={"x": "y" * 65_000})
        await socket.send(type="ping", data={"x": "y" * 65_536})
        assert await socket.close_code() == 1009


async def test_a_flood_ends_the_connection(server: RunningServer, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        try:
            for _ in range(100):
                await socket.send(type="ping")
        except ConnectionClosed:
            assert len(socket.seen) == 1
        assert await socket.close_code() == 4429
        kinds = [frame["type"] for frame in socket.seen[1:]]
        assert kinds == ["pong"] * 30 + ["error"]
        assert socket.seen[-1]["data"]["code"] == "RATE_LIMITED"


@pytest.mark.parametrize(
    ("failure", "code"),
    [(ConnectionRefusedError(), "SERVICE_UNAVAILABLE"), (RuntimeError("a secret of ours"), "INTERNAL_ERROR")],
)
async def test_what_fails_on_our_side_is_told_without_its_text_and_the_socket_stays_open(
    server: RunningServer,
    container: Container,
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    code: str,
) -> None:
    async def broken(_text: str, _is_sandbox: bool) -> Pair:
        raise failure

    monkeypatch.setattr(container.websockets, "find_pair", broken)
    async with open_socket(server, token=person.access_token) as socket:
        answer = await socket.ask(type="subscribe", channel="prices", data={"pairs": ["BTCUSDT"]})
        assert (answer["type"], answer["data"]["code"]) == ("error", code)
        assert "secret" not in answer["data"]["message"]
        assert (await socket.ask(type="ping"))["type"] == "pong"
