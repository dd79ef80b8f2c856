"""The channels of a user's own: trades and orders, positions."""

from decimal import Decimal

import httpx2

from app.bootstrap import Container
from app.domain.channels import Channel
from app.domain.enums import TradeStatus
from app.domain.events import EventType, position_event, trade_event
from tests.factories import Person, create_person
from tests.integration.websocket.client import Frame, Socket, open_socket
from tests.integration.websocket.market import Desk, HandFeed
from tests.servers import RunningServer


async def subscribed(socket: Socket, channel: str, **data: object) -> tuple[Frame, list[Frame]]:
    """The answer to a subscription, and the frames of its snapshot."""
    answer = await socket.ask(type="subscribe", channel=channel, data=data)
    assert answer["type"] == "subscribed", answer
    return answer, [frame for frame in await socket.settle() if frame.get("snapshot")]


async def test_a_trade_is_told_in_the_shape_of_the_interface(server: RunningServer, desk: Desk, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        answer, snapshot = await subscribed(socket, "trades")
        assert (answer["channel"], answer["data"], snapshot) == ("trades", {"sequence": 0}, [])
        trade = await desk.open_trade(person.id)
        executed = await socket.receive()
        assert (executed["type"], executed["channel"], executed["sequence"]) == ("trade_update", "trades", 1)
        wanted = {
            "trade_id": trade.id,
            "status": "executed",
            "transaction_hash": "0xabc",
            "entry_price": 50000,
            "event": "trade.executed",
            "trade_status": "open",
            "direction": "long",
        }
        assert executed["data"] | wanted == executed["data"]
        created = await socket.receive()
        assert (created["type"], created["sequence"]) == ("trade_update", 3)
        wanted = {"trade_id": trade.id, "status": "created", "event": "order.created", "order_status": "pending"}
        assert created["data"] | wanted == created["data"]
        assert created["data"]["stop_price"] == 45000


async def test_a_snapshot_holds_open_trades_and_live_orders_as_of_a_sequence(
    server: RunningServer, desk: Desk, person: Person
) -> None:
    trade = await desk.open_trade(person.id)
    async with desk.uow() as work:
        ended = await work.trades.get_for_update((await desk.open_trade(person.id)).id)
        assert ended is not None
        await work.trades.move(ended, TradeStatus.CLOSED)
    async with open_socket(server, token=person.access_token) as socket:
        answer, snapshot = await subscribed(socket, "trades")
        assert answer["data"] == {"sequence": 6}
        assert {frame["type"] for frame in snapshot} == {"trade_update"}
        assert all("sequence" not in frame for frame in snapshot)
        trades = [frame["data"] for frame in snapshot if "order_id" not in frame["data"]]
        orders = [frame["data"] for frame in snapshot if "order_id" in frame["data"]]
        assert [(one["trade_id"], one["status"], one["entry_price"]) for one in trades] == [(trade.id, "open", 50000)]
        assert orders[0]["trade_id"] == trade.id
        assert orders[0]["status"] == "pending"


async def test_positions_show_their_live_value(
    server: RunningServer, desk: Desk, feed: HandFeed, person: Person
) -> None:
    feed.quote("BTCUSDT", "50999.5")
    await desk.open_trade(person.id)
    async with open_socket(server, token=person.access_token) as socket:
        _, [shown] = await subscribed(socket, "positions")
        assert (shown["type"], shown["channel"]) == ("position_update", "positions")
        assert (shown["data"]["current_price"], shown["data"]["unrealized_pnl"]) == (51000, 100)
        assert shown["data"]["updated_at"].endswith("Z")

        feed.quote("BTCUSDT", "51999.5")
        moved = await socket.receive_until(lambda frame: frame["data"].get("current_price") == 52000)
        assert moved["type"] == "position_update"
        assert moved["data"]["position_id"] == shown["data"]["position_id"]
        assert moved["data"]["unrealized_pnl"] == 200
        assert "sequence" not in moved


async def test_a_position_that_changed_is_told_by_its_event_and_valued_by_its_new_size(
    server: RunningServer, desk: Desk, feed: HandFeed, person: Person
) -> None:
    feed.quote("ETHUSDT", "2999.5")
    trade = await desk.open_trade(person.id, "ETHUSDT", entry="2000", size="1")
    async with open_socket(server, token=person.access_token) as socket:
        _, [shown] = await subscribed(socket, "positions")
        assert shown["data"]["unrealized_pnl"] == 1000
        async with desk.uow() as work:
            position = await work.positions.of_trade(trade.id)
            assert position is not None
            position.size = Decimal("0.5")
            work.emit(position_event(position, "part closed"))
        event = await socket.receive_until(lambda frame: "sequence" in frame)
        assert (event["type"], event["sequence"]) == ("position_update", 4)
        assert (event["data"]["size"], event["data"]["unrealized_pnl"]) == (0.5, 500)
        assert event["data"]["reason"] == "part closed"
        feed.quote("ETHUSDT", "3999.5")
        moved = await socket.receive_until(lambda frame: frame["data"].get("current_price") == 4000)
        assert moved["data"]["unrealized_pnl"] == 1000


async def test_a_number_is_the_same_number_in_a_snapshot_an_event_and_the_log(
    server: RunningServer, desk: Desk, client: httpx2.AsyncClient, person: Person
) -> None:
    digits = "54577.959447567827378954"
    trade = await desk.open_trade(person.id)
    async with desk.uow() as work:
        position = await work.positions.of_trade(trade.id)
        assert position is not None
        position.liquidation_price = Decimal(digits)
    async with open_socket(server, token=person.access_token) as socket:
        await subscribed(socket, "positions")
        async with desk.uow() as work:
            position = await work.positions.of_trade(trade.id)
            assert position is not None
            work.emit(position_event(position, "part closed"))
        event = await socket.receive_until(lambda frame: "sequence" in frame)
        told = [text for text in socket.texts if "liquidation_price" in text]
    assert len(told) == 2
    assert all(f'"liquidation_price":{digits},' in text for text in told)
    log = await client.get("/api/v1/events", params={"after": event["sequence"] - 1}, headers=person.headers)
    assert f'"liquidation_price": {digits},' in log.text


async def test_every_connection_of_a_user_is_told_and_nobody_elses(
    server: RunningServer, container: Container, desk: Desk, person: Person
) -> None:
    stranger = await create_person(container)
    async with (
        open_socket(server, token=person.access_token) as one,
        open_socket(server, token=person.access_token) as other,
        open_socket(server, token=stranger.access_token) as foreign,
    ):
        for socket in (one, other, foreign):
            await subscribed(socket, "trades")
        await desk.note(person.id, times=3)
        for socket in (one, other):
            assert [(await socket.receive())["sequence"] for _ in range(3)] == [1, 2, 3]
        assert await foreign.settle() == []


async def test_trades_may_be_chosen_and_must_be_ones_own(
    server: RunningServer, container: Container, desk: Desk, person: Person
) -> None:
    stranger = await create_person(container)
    theirs = await desk.open_trade(stranger.id)
    mine, other = await desk.open_trade(person.id), await desk.open_trade(person.id)
    async with open_socket(server, token=person.access_token) as socket:
        for ids in ([theirs.id], [10**15], [mine.id, theirs.id]):
            answer = await socket.ask(type="subscribe", channel="trades", data={"trade_ids": ids})
            assert (answer["type"], answer["data"]["code"]) == ("error", "UNKNOWN_ID")
            assert answer["data"]["details"]["trade_ids"] == [ids[-1]]
        answer, snapshot = await subscribed(socket, "trades", trade_ids=[mine.id])
        assert answer["data"]["trade_ids"] == [mine.id]
        assert {frame["data"]["trade_id"] for frame in snapshot} == {mine.id}
        async with desk.uow() as work:
            work.emit(trade_event(EventType.TRADE_UPDATED, other), trade_event(EventType.TRADE_CLOSED, mine))
        closed = await socket.receive()
        assert (closed["data"]["trade_id"], closed["data"]["status"]) == (mine.id, "closed")

        answer, _ = await subscribed(socket, "trades", trade_ids=[other.id])
        assert answer["data"]["trade_ids"] == [mine.id, other.id]
        await socket.ask(type="unsubscribe", channel="trades", data={"trade_ids": [mine.id]})
        async with desk.uow() as work:
            work.emit(trade_event(EventType.TRADE_UPDATED, mine), trade_event(EventType.TRADE_UPDATED, other))
        assert (await socket.receive())["data"]["trade_id"] == other.id


async def test_what_is_unsubscribed_is_not_heard_of_again(server: RunningServer, desk: Desk, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await subscribed(socket, "trades")
        await subscribed(socket, "positions")
        assert (await socket.ask(type="unsubscribe", channel="trades"))["type"] == "unsubscribed"
        await desk.open_trade(person.id)
        assert (await socket.receive_until(lambda frame: "sequence" in frame))["type"] == "position_update"
        assert "trade_update" not in {frame["type"] for frame in await socket.settle()}
        answer = await socket.ask(type="unsubscribe", channel="trades", data={"trade_ids": [1]})
        assert answer["type"] == "unsubscribed"
        await subscribed(socket, "trades")
        code = await socket.error_code(type="unsubscribe", channel="trades", data={"trade_ids": [1]})
        assert code == "VALIDATION_ERROR"


async def test_a_moving_stop_is_shown_to_those_who_watch_its_trade_and_is_no_event(
    container: Container, server: RunningServer, desk: Desk, person: Person
) -> None:
    # Nothing is quoted there, so that no position of theirs moves.
    trade, other = [await desk.open_trade(person.id, "SOLUSDT") for _ in range(2)]
    stop = {
        "event": "order.stop_moved",
        "status": "stop_moved",
        "order_id": 7,
        "trade_id": trade.id,
        "stop_price": 49500.5,
        "watermark": 50000.5,
        "updated_at": "2026-01-05T12:00:00Z",
    }
    async with (
        open_socket(server, token=person.access_token) as all_trades,
        open_socket(server, token=person.access_token) as this_trade,
        open_socket(server, token=person.access_token) as other_trade,
        open_socket(server, token=person.access_token) as positions,
    ):
        await subscribed(all_trades, "trades")
        await subscribed(this_trade, "trades", trade_ids=[trade.id])
        await subscribed(other_trade, "trades", trade_ids=[other.id])
        await subscribed(positions, "positions")

        container.websockets.send_update(person.id, Channel.TRADES, stop, key="7", trade_id=trade.id)

        for socket in (all_trades, this_trade):
            frame = await socket.receive_type("trade_update")
            assert (frame["channel"], frame["data"]) == ("trades", stop)
            assert "sequence" not in frame
        for socket in (other_trade, positions):
            assert await socket.settle() == []
