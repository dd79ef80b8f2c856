"""Who may connect, how they say who they are, and when they must go."""

import json
import logging
from contextlib import AsyncExitStack

import httpx2
import jwt
import pytest
from websockets.exceptions import InvalidStatus

from app.bootstrap import Container
from app.services.websocket_service import WebSocketLimits
from tests.factories import Person, create_person
from tests.integration.websocket.client import open_socket
from tests.logs import configured
from tests.servers import RunningServer


@pytest.fixture(scope="module")
def limits() -> WebSocketLimits:
    return WebSocketLimits(connections_per_user=3, unknown_per_address=4)


async def refusal(
    server: RunningServer, *, token: str | None = None, query: str = "", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """The status and code that a handshake is refused with."""
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(server, token=token, query=query, headers=headers or {}):
            pytest.fail("it was let in")
    response = caught.value.response
    error = json.loads(response.body or b"")["error"]
    assert error["request_id"]
    return response.status_code, error["code"]


async def ticket_for(client: httpx2.AsyncClient, person: Person) -> str:
    answer = await client.post("/api/v1/auth/ws-ticket", headers=person.headers)
    return str(answer.json()["ticket"])


async def test_a_token_in_the_header_is_welcomed(server: RunningServer, person: Person) -> None:
    async with open_socket(server, token=person.access_token, welcome=False) as socket:
        welcome = await socket.receive()
        assert welcome["type"] == "welcome"
        assert welcome["data"]["user_id"] == person.id
        assert welcome["data"]["limits"]["pairs"] == 200
        assert welcome["data"]["expires_at"].endswith("Z")


async def test_wrong_tokens_are_refused_before_the_upgrade(server: RunningServer, person: Person) -> None:
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    for token in (
        "nonsense",
        "x.y.z",
        jwt.encode(claims, "another key that is long enough for it", "HS256"),
        jwt.encode(claims, "", "none"),
        person.refresh_token,
    ):
        assert await refusal(server, token=token) == (401, "UNAUTHORIZED")
    assert await refusal(server, headers={"Authorization": f"Basic {person.access_token}"}) == (401, "UNAUTHORIZED")


async def test_a_refused_handshake_is_no_error_of_ours(server: RunningServer) -> None:
    with configured() as written:
        assert await refusal(server, token="nonsense") == (401, "UNAUTHORIZED")
        logging.getLogger("uvicorn.error").error("something else")

    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["message"] for line in lines if line["level"] == "ERROR"] == ["something else"]


async def test_a_ticket_works_once(server: RunningServer, client: httpx2.AsyncClient, person: Person) -> None:
    ticket = await ticket_for(client, person)
    async with open_socket(server, query=f"?ticket={ticket}", welcome=False) as socket:
        assert (await socket.receive())["data"]["user_id"] == person.id
        assert await refusal(server, query=f"?ticket={ticket}") == (401, "UNAUTHORIZED")
    assert await refusal(server, query="?ticket=") == (401, "UNAUTHORIZED")


async def test_the_first_message_may_bring_the_token(server: RunningServer, person: Person) -> None:
    async with open_socket(server) as socket:
        assert await socket.error_code(type="ping") == "UNAUTHORIZED"
        assert await socket.error_code(type="subscribe", channel="trades") == "UNAUTHORIZED"
        answer = await socket.ask(type="auth", data={"token": person.access_token})
        assert (answer["type"], answer["data"]["user_id"]) == ("welcome", person.id)
        assert (await socket.ask(type="ping"))["type"] == "pong"


async def test_a_first_message_with_a_wrong_token_ends_the_connection(server: RunningServer, person: Person) -> None:
    async with open_socket(server) as socket:
        await socket.send(type="auth", data={"token": person.access_token + "x"})
        assert await socket.close_code() == 4401
        assert [frame["data"]["code"] for frame in socket.seen] == ["UNAUTHORIZED"]


async def test_a_newer_token_of_the_same_user_is_taken_another_users_is_not(
    server: RunningServer, container: Container, person: Person
) -> None:
    stranger = await create_person(container)
    newer = await container.auth.refresh(person.refresh_token)
    async with open_socket(server, token=person.access_token) as socket:
        answer = await socket.ask(type="auth", data={"token": newer.access_token})
        assert (answer["type"], answer["data"]["user_id"]) == ("welcome", person.id)
        assert await socket.error_code(type="auth", data={"token": stranger.access_token}) == "FORBIDDEN"
        assert await socket.error_code(type="auth", data={"token": "nonsense"}) == "UNAUTHORIZED"
        assert (await socket.ask(type="ping"))["type"] == "pong"


async def test_logging_out_ends_the_sockets_of_that_session_only(
    server: RunningServer, client: httpx2.AsyncClient, container: Container, person: Person
) -> None:
    other = await create_person(container)
    async with (
        open_socket(server, token=person.access_token) as ended,
        open_socket(server, token=other.access_token) as kept,
    ):
        assert (await client.post("/api/v1/auth/logout", headers=person.headers)).status_code == 204
        assert await ended.close_code() == 4401
        assert (await kept.ask(type="ping"))["type"] == "pong"
    assert await refusal(server, token=person.access_token) == (401, "UNAUTHORIZED")


async def test_a_session_that_ended_without_a_word_is_found(
    server: RunningServer, container: Container, person: Person
) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        async with container.uow() as work:
            rows = await work.sessions.open_of(person.id, container.clock.now())
            await work.sessions.revoke(person.id, rows[0].public_id, "tests")
        await container.websockets.sweep()
        assert await socket.close_code() == 4401


async def test_a_user_has_so_many_connections_and_no_more(
    server: RunningServer, container: Container, person: Person
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(open_socket(server, token=person.access_token))
        assert await refusal(server, token=person.access_token) == (409, "LIMIT_EXCEEDED")
        async with open_socket(server) as late:
            refused = await late.ask(type="auth", data={"token": person.access_token})
            assert refused["data"]["details"] == {"limit": "connections", "max": 3}
            assert await late.close_code() == 1013
        other = await create_person(container)
        await stack.enter_async_context(open_socket(server, token=other.access_token))
    async with open_socket(server, token=person.access_token) as again:
        assert (await again.ask(type="ping"))["type"] == "pong"


async def test_an_address_has_so_many_connections_that_are_not_known_yet(server: RunningServer) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(open_socket(server))
        assert await refusal(server) == (429, "RATE_LIMITED")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
)
async def test_pages_of_other_origins_are_refused(server: RunningServer, person: Person, origin: str) -> None:
    assert await refusal(server, token=person.access_token, headers={"Origin": origin}) == (403, "FORBIDDEN")


async def test_a_page_of_our_own_is_let_in(server: RunningServer, person: Person) -> None:
    async with open_socket(server, token=person.access_token, headers={"Origin": server.url}) as socket:
        assert (await socket.ask(type="ping"))["type"] == "pong"
