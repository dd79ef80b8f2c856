"""GET /api/v1/events."""

from decimal import Decimal
from functools import partial

import httpx2
import pytest

from app.bootstrap import Container
from app.domain.events import Event, EventType
from tests.factories import Person, create_person

PATH = "/api/v1/events"
KINDS = [EventType.TRADE_EXECUTED, EventType.ORDER_CREATED, EventType.ORDER_FILLED]


async def write(container: Container, user_id: int, times: int = 1) -> None:
    async with container.uow() as work:
        for number in range(times):
            data = {"number": number, "b": Decimal("0.10"), "a": Decimal("0.123456789012345678"), "text": "é"}
            work.emit(Event(user_id, KINDS[number % len(KINDS)], data))


@pytest.fixture
async def person(container: Container) -> Person:
    return await create_person(container)


async def test_events_are_told_in_order_with_the_very_text_of_the_log(
    client: httpx2.AsyncClient, container: Container, person: Person
) -> None:
    await write(container, person.id, 3)
    answer = await client.get(PATH, headers=person.headers)
    assert answer.status_code == 200
    page = answer.json()
    assert [event["sequence"] for event in page["events"]] == [1, 2, 3]
    assert [event["type"] for event in page["events"]] == KINDS
    assert page["next_after"] == 3
    first = page["events"][0]
    assert first["id"].startswith("evt_")
    assert first["created_at"].endswith("Z")
    async with container.uow() as work:
        rows = await work.events.after(person.id, 0, limit=10)
    assert f'"data":{rows[0].data}'.encode() in answer.content
    assert rows[0].data == '{"a": 0.123456789012345678, "b": 0.1, "number": 0, "text": "\\u00e9"}'


async def test_numbers_of_events_are_strings_for_who_asks(
    client: httpx2.AsyncClient, container: Container, person: Person
) -> None:
    await write(container, person.id)
    headers = person.headers | {"Accept": "application/json; numbers=string"}
    (event,) = (await client.get(PATH, headers=headers)).json()["events"]
    assert event["data"] == {"a": "0.123456789012345678", "b": "0.1", "number": 0, "text": "é"}
    assert event["sequence"] == 1


async def test_pages_follow_each_other_until_nothing_is_left(
    client: httpx2.AsyncClient, container: Container, person: Person
) -> None:
    await write(container, person.id, 7)
    seen: list[int] = []
    after, page = 0, [0]
    while page:
        answer = (await client.get(PATH, params={"after": after, "limit": 3}, headers=person.headers)).json()
        page = [event["sequence"] for event in answer["events"]]
        after = answer["next_after"]
        seen += page
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert after == 7


async def test_types_may_be_chosen(client: httpx2.AsyncClient, container: Container, person: Person) -> None:
    await write(container, person.id, 6)
    wanted = {"types": "order.created, order.filled"}
    answer = (await client.get(PATH, params=wanted, headers=person.headers)).json()
    assert [event["sequence"] for event in answer["events"]] == [2, 3, 5, 6]


async def test_nobody_reads_the_log_of_another(
    client: httpx2.AsyncClient, container: Container, person: Person
) -> None:
    await write(container, person.id)
    stranger = await create_person(container)
    answer = await client.get(PATH, headers=stranger.headers)
    assert answer.json() == {"events": [], "next_after": 0, "recovered": True}
    assert (await client.get(PATH)).status_code == 401


async def test_who_asks_beyond_the_end_is_told_where_the_log_ends(
    client: httpx2.AsyncClient, container: Container, person: Person
) -> None:
    await write(container, person.id, 3)
    ask = partial(client.get, PATH, headers=person.headers)
    foreign = {"after": 900}
    assert (await ask(params=foreign)).json() == {"events": [], "next_after": 3, "recovered": False}
    assert (await ask(params=foreign | {"types": "trade.closed"})).json()["recovered"] is False
    at_the_end = (await ask(params={"after": 3})).json()
    assert at_the_end == {"events": [], "next_after": 3, "recovered": True}
    none_of_the_type = (await ask(params={"after": 1, "types": "trade.closed"})).json()
    assert none_of_the_type == {"events": [], "next_after": 1, "recovered": True}
    assert (await ask()).json()["recovered"] is True


@pytest.mark.parametrize(
    "params",
    [
        {"types": "trade.exploded"},
        {"types": ""},
        {"types": "order.created,,"},
        {"after": "-1"},
        {"after": "x"},
        {"after": str(2**63)},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "1e3"},
    ],
)
async def test_bad_questions_are_refused_by_name(
    client: httpx2.AsyncClient, person: Person, params: dict[str, str]
) -> None:
    answer = await client.get(PATH, params=params, headers=person.headers)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "VALIDATION_ERROR"
    assert error["details"]["errors"][0]["field"] == f"query.{next(iter(params))}"
