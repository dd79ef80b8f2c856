"""What real trading writes in the log and tells on the WebSocket, held against the schemas that are published."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.events import EventType
from tests.integration.api.trading.market import API, HandMarket, Trader
from tests.integration.websocket.client import Socket, open_socket
from tests.published import check_event
from tests.servers import RunningServer

# What trading writes: all but an order that fails of itself, which no venue of today makes.
WRITTEN = {kind.value for kind in EventType if kind.partition(".")[0] in {"trade", "order", "position"}}
WRITTEN.remove(EventType.ORDER_FAILED)


async def log_of(trader: Trader) -> list[dict[str, Any]]:
    answer = await trader.client.get(f"{API}/events?limit=1000", headers=trader.person.headers)
    events: list[dict[str, Any]] = answer.json()["events"]
    return events


async def trail(trader: Trader, market: HandMarket) -> None:
    """A bracket whose trailing stop fires after it was amended."""
    opened = await trader.open(trailing_stop_distance=500, take_profit_price=60_000, activation_price=50_200)
    attached = await trader.send(
        "POST",
        "/orders",
        {
            "trade_id": opened["trade_id"],
            "order_type": "OCO",
            "oco_stop_price": 47_000,
            "oco_take_profit_price": 61_000,
            "client_order_id": "a-1",
            "trigger_by": "exit",
        },
    )
    assert attached.status_code == 201, attached.text
    await market.at(50_300)
    exits = [await trader.order(exit_id) for exit_id in opened["exit_order_ids"]]
    (trailing,) = [order["id"] for order in exits if order["order_type"] == "TRAILING_STOP"]
    amended = await trader.send("PATCH", f"/orders/{trailing}", {"trailing_stop_distance": "400.25"})
    assert amended.status_code == 200, amended.text
    assert (await trader.close(opened, "?fraction=0.3333")).status_code == 200
    assert (await trader.send("DELETE", f"/orders/{attached.json()['id']}")).status_code == 200
    await market.at(50_600)
    await market.at(50_100)
    await trader.until_trade(opened, "closed")


async def end_otherwise(trader: Trader, market: HandMarket) -> None:
    """A close by hand, a cancel, an expiry, a refusal and a liquidation."""
    assert (await trader.close(await trader.open(direction=False, stop_price=54_000))).status_code == 200
    resting = await trader.open(order_type="LIMIT", price=40_000, stop_price=39_000)
    assert (await trader.close(resting)).json()["status"] == "cancelled"
    soon = datetime.now(UTC) + timedelta(seconds=1)
    expiring = await trader.open(order_type="LIMIT", price=40_000, expires_at=soon)
    assert (await trader.ask_open(price=49_000, max_slippage="0.0001")).status_code >= 400
    lost = await trader.open(leverage=50)
    await trader.until_order(expiring["order_id"], "expired")
    await market.at(48_000)
    await trader.until_trade(lost, "liquidated")


@pytest.fixture
async def socket(server: RunningServer, trader: Trader) -> Any:
    """One that is told everything; it checks each frame that it receives."""
    async with open_socket(server, token=trader.person.access_token, welcome=False) as opened:
        for channel, data in (("prices", {"pairs": ["BTC"]}), ("trades", {}), ("positions", {}), ("deposits", {})):
            assert (await opened.ask(type="subscribe", channel=channel, data=data))["type"] == "subscribed"
        yield opened


async def test_every_event_and_every_frame_of_trading_is_as_it_is_published(
    socket: Socket, trader: Trader, market: HandMarket
) -> None:
    await trail(trader, market)
    await end_otherwise(trader, market)

    log = await log_of(trader)
    for event in log:
        check_event(event)
    assert {event["type"] for event in log} == WRITTEN
    await socket.receive_until(lambda frame: frame.get("sequence") == log[-1]["sequence"])
    told = {frame["sequence"]: frame["data"]["event"] for frame in socket.seen if "sequence" in frame}
    assert told == {event["sequence"]: event["type"] for event in log}


async def test_what_moves_between_events_is_as_it_is_published(
    socket: Socket, trader: Trader, market: HandMarket
) -> None:
    await trader.open(trailing_stop_percentage="1.5")
    await market.at(50_500)
    moved = await socket.receive_until(lambda frame: frame["data"].get("event") == "order.stop_moved")
    await market.at(50_600)
    live = await socket.receive_until(lambda frame: frame["type"] == "position_update" and "sequence" not in frame)

    assert moved["type"] == "trade_update"
    assert "event" not in live["data"]


async def test_a_snapshot_is_as_it_is_published(server: RunningServer, trader: Trader, market: HandMarket) -> None:
    await trader.open(trailing_stop_distance=700, oco_stop_price=47_000, oco_take_profit_price=56_000)
    await trader.open(order_type="LIMIT", price="41000.5", take_profit_price=56_000)
    async with open_socket(server, token=trader.person.access_token) as socket:
        for channel in ("trades", "positions"):
            assert (await socket.ask(type="subscribe", channel=channel))["type"] == "subscribed"
        shown = [frame for frame in await socket.settle() if frame.get("snapshot")]

        assert {frame["type"] for frame in socket.seen if frame.get("snapshot")} == {"trade_update", "position_update"}
        assert all(frame["data"]["event"] is None for frame in shown)
        await socket.send(type="nonsense")
        assert (await socket.receive_type("error"))["data"]["code"] == "UNKNOWN_TYPE"
        assert (await socket.ask(type="unsubscribe", channel="trades"))["type"] == "unsubscribed"
