"""The prices channel."""

from tests.factories import Person
from tests.integration.websocket.client import Frame, Socket, open_socket
from tests.integration.websocket.market import Desk, HandFeed
from tests.servers import RunningServer


async def subscribe(socket: Socket, *pairs: str) -> Frame:
    answer = await socket.ask(type="subscribe", channel="prices", data={"pairs": list(pairs)})
    assert answer["type"] == "subscribed", answer
    return answer


async def test_subscribing_answers_the_current_price_and_then_every_change(
    server: RunningServer, desk: Desk, feed: HandFeed, person: Person
) -> None:
    feed.quote("BTCUSDT", "50000.25")
    async with open_socket(server, token=person.access_token) as socket:
        answer = await subscribe(socket, "btc-usd")
        assert (answer["channel"], answer["data"]) == ("prices", {"pairs": ["BTCUSDT"]})
        first = await socket.receive()
        assert (first["type"], first["channel"], first["snapshot"]) == ("price_update", "prices", True)
        assert first["data"]["pair"] == "BTCUSDT"
        assert first["data"]["price"] == 50000.75
        assert first["data"]["source"] == "paper"
        assert first["timestamp"].endswith("Z")
        assert first["data"]["timestamp"].endswith("Z")

        feed.quote("ETHUSDT", "3000")
        feed.quote("BTCUSDT", "50001")
        update = await socket.receive()
        assert (update["type"], update["data"]["bid"], update["data"]["ask"]) == ("price_update", 50001, 50002)
        assert "snapshot" not in update
        assert update["data"]["sequence"] > first["data"]["sequence"]


async def test_frames_are_numbered_on_each_connection(
    server: RunningServer, desk: Desk, feed: HandFeed, person: Person
) -> None:
    async with (
        open_socket(server, token=person.access_token) as one,
        open_socket(server, token=person.access_token) as other,
    ):
        await subscribe(one, "ETHUSDT")
        await subscribe(other, "ETHUSDT", "SOLUSDT")
        feed.quote("ETHUSDT", "3100")
        for socket in (one, other):
            await socket.receive_until(lambda frame: frame["type"] == "price_update" and frame["data"]["bid"] == 3100)
            numbers = [frame["connection_sequence"] for frame in socket.seen]
            assert numbers == list(range(1, len(numbers) + 1))


async def test_of_a_burst_of_ticks_a_reader_sees_the_last(
    server: RunningServer, desk: Desk, feed: HandFeed, person: Person
) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await subscribe(socket, "SOLUSDT")
        feed.quote("SOLUSDT", *(str(price) for price in range(100, 200)))
        last = await socket.receive_until(lambda frame: frame["type"] == "price_update" and frame["data"]["bid"] == 199)
        bids = [frame["data"]["bid"] for frame in socket.seen if frame["type"] == "price_update"]
        assert bids == sorted(bids)
        assert len(bids) < 100
        assert last["data"]["pair"] == "SOLUSDT"


async def test_a_pair_that_was_unsubscribed_is_not_heard_of_again(
    server: RunningServer, desk: Desk, feed: HandFeed, person: Person
) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await subscribe(socket, "BTCUSDT", "ETHUSDT")
        answer = await socket.ask(type="unsubscribe", channel="prices", data={"pairs": ["BTC/USD"]})
        assert (answer["type"], answer["data"]) == ("unsubscribed", {"pairs": ["BTCUSDT"]})
        await socket.settle()
        before = len(socket.seen)
        feed.quote("BTCUSDT", "51000")
        feed.quote("ETHUSDT", "3200")
        await socket.receive_until(lambda frame: frame["type"] == "price_update" and frame["data"]["bid"] == 3200)
        assert {frame["data"]["pair"] for frame in socket.seen[before:]} == {"ETHUSDT"}

        answer = await socket.ask(type="unsubscribe", channel="prices")
        assert answer["type"] == "unsubscribed"


async def test_known_pairs_are_subscribed_and_unknown_ones_named(
    server: RunningServer, desk: Desk, person: Person
) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await socket.send(type="subscribe", channel="prices", id="mixed", data={"pairs": ["BTCUSDX", "ETHUSDT"]})
        answer = await socket.receive_type("subscribed")
        error = await socket.receive_type("error")
        assert (answer["data"]["pairs"], answer["id"]) == (["ETHUSDT"], "mixed")
        assert (error["data"]["code"], error["id"], error["channel"]) == ("PAIR_NOT_FOUND", "mixed", "prices")
        assert error["data"]["details"]["pairs"][0]["pair"] == "BTCUSDX"
        assert "BTCUSDT" in error["data"]["details"]["pairs"][0]["near"]
        assert error["data"]["message"] == "No such pair; details.pairs[].near lists similar ones."


async def test_too_many_names_subscribe_nothing(server: RunningServer, desk: Desk, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        many = ["BTCUSDT", *(f"X{number}" for number in range(200))]
        refused = await socket.ask(type="subscribe", channel="prices", data={"pairs": many})
        assert refused["data"]["code"] == "LIMIT_EXCEEDED"
        assert refused["data"]["details"] == {"limit": "pairs", "max": 200}
        unknown = ["BTCUSDT", *(f"X{number}" for number in range(50))]
        answer = await socket.ask(type="subscribe", channel="prices", data={"pairs": unknown})
        assert answer["data"]["code"] == "PAIR_NOT_FOUND"
        assert len(answer["data"]["details"]["pairs"]) == 10
        assert "subscribed" not in {frame["type"] for frame in socket.seen}
