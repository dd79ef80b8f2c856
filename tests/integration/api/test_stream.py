"""The whole way: a trade over HTTP, told on the WebSocket and in the log alike."""

import httpx2
import pytest

from app.bootstrap import Container
from tests.factories import Person, create_person
from tests.integration.websocket.client import open_socket
from tests.servers import RunningServer
from tests.waiting import until


@pytest.fixture
async def person(container: Container) -> Person:
    return await create_person(container)


async def test_a_trade_is_told_on_the_socket_as_it_stands_in_the_log(
    server: RunningServer, client: httpx2.AsyncClient, person: Person
) -> None:
    async def has_price() -> bool:
        return (await client.get("/api/v1/prices/BTCUSDT")).status_code == 200

    await until(has_price)
    async with open_socket(server, token=person.access_token) as socket:
        for channel, data in (("prices", {"pairs": ["BTC"]}), ("trades", {}), ("positions", {})):
            assert (await socket.ask(type="subscribe", channel=channel, data=data))["type"] == "subscribed"
        await socket.receive_until(lambda frame: frame["type"] == "price_update" and "snapshot" not in frame)

        body = {
            "order_type": "TRAILING_STOP",
            "direction": True,
            "asset": "BTC",
            "collateral": 100,
            "leverage": 10,
            "trailing_stop_percentage": 1,
        }
        opened = await client.post("/api/v1/trading/trades", json=body, headers=person.headers)
        assert opened.status_code == 201, opened.text
        await socket.receive_until(lambda frame: frame["data"].get("event") == "trade.executed")
        live = await socket.receive_until(lambda frame: frame["type"] == "position_update" and "sequence" not in frame)
        assert isinstance(live["data"]["unrealized_pnl"], int | float)

        log = (await client.get("/api/v1/events", headers=person.headers)).json()["events"]
        await socket.settle()
    told = {frame["sequence"]: frame["data"] for frame in socket.seen if "sequence" in frame}
    assert [(event["sequence"], event["type"]) for event in log] == [
        (sequence, told[sequence]["event"]) for sequence in range(1, len(log) + 1)
    ]
    for event in log:
        shown, written = told[event["sequence"]], event["data"]
        row_status = shown.get("trade_status", shown.get("order_status"))
        assert written == {name: row_status if name == "status" else shown[name] for name in written}
