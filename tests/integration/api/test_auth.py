"""Accounts over HTTP: register, log in, refresh, log out, sessions, tickets."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import jwt
import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.core.clock import Clock
from app.core.security import PasswordHasher, fingerprint
from app.domain.enums import FeatureAccessLevel
from tests.factories import PASSWORD, Person
from tests.fakes import ManualClock

AUTH = "/api/v1/auth"


@pytest.fixture(scope="module")
def clock() -> Clock:
    return ManualClock()


@pytest_asyncio.fixture
async def account() -> dict[str, str]:
    """The body that registers somebody new."""
    name = f"user-{uuid4().hex[:10]}"
    return {"email": f"{name}@example.com", "username": name, "password": "securepassword"}


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class TestRegister:
    async def test_it_answers_both_tokens(self, client: httpx2.AsyncClient, account: dict[str, str]) -> None:
        answer = await client.post(f"{AUTH}/register", json=account)

        assert answer.status_code == 201, answer.text
        assert set(answer.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
        assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 1800)
        payload = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
        assert payload["email"] == account["email"]
        assert payload["auth_method"] == "email"
        assert payload["permissions"] == ["trade", "deposit", "withdraw"]

    async def test_email_and_username_are_taken_whatever_their_case(
        self, client: httpx2.AsyncClient, account: dict[str, str]
    ) -> None:
        assert (await client.post(f"{AUTH}/register", json=account)).status_code == 201
        upper = {**account, "email": account["email"].upper(), "username": account["username"].upper()}
        fresh = f"{uuid4().hex[:10]}"

        for body, fields in (
            (upper, ["email", "username"]),
            ({**upper, "email": f"{fresh}@example.com"}, ["username"]),
            ({**upper, "username": fresh}, ["email"]),
        ):
            answer = await client.post(f"{AUTH}/register", json=body)
            assert code(answer) == (409, "ALREADY_EXISTS")
            assert answer.json()["error"]["details"] == {"fields": fields}

    async def test_of_many_at_once_one_gets_the_name(self, client: httpx2.AsyncClient, account: dict[str, str]) -> None:
        answers = await asyncio.gather(*(client.post(f"{AUTH}/register", json=account) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7

    async def test_what_is_stored_is_no_secret(
        self, client: httpx2.AsyncClient, container: Container, account: dict[str, str]
    ) -> None:
        answer = await client.post(f"{AUTH}/register", json=account)
        user = await container.auth.current_user(answer.json()["access_token"])
        async with container.uow() as work:
            row = await work.users.get(user.id)
            (session,) = await work.sessions.open_of(user.id, container.clock.now())

        assert row is not None
        assert row.hashed_password is not None
        assert row.hashed_password.startswith("$argon2id$")
        assert session.refresh_token == fingerprint(answer.json()["refresh_token"])
        assert session.user_agent is not None
        assert session.user_agent.startswith("python-httpx2")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("email", "not an email"),
            ("email", " user@example.com"),
            ("email", "user@localhost"),
            ("email", "user@-example.com"),
            ("email", "a" * 65 + "@example.com"),
            ("email", "a@" + "b." * 200 + "com"),
            ("email", "üser@example.com"),
            ("email", None),
            ("email", 123456789),
            ("username", "ab"),
            ("username", "a" * 65),
            ("username", "with space"),
            ("username", "name\u0000"),
            ("password", "brief"),
            ("password", "a" * 129),
            ("password", "Password123"),
            ("password", "qwertyuiop"),
            ("password", ["securepassword"]),
        ],
    )
    async def test_a_wrong_field_is_named_and_not_repeated(
        self, client: httpx2.AsyncClient, account: dict[str, Any], field: str, value: object
    ) -> None:
        answer = await client.post(f"{AUTH}/register", json={**account, field: value})

        assert code(answer) == (400, "VALIDATION_ERROR")
        error = answer.json()["error"]
        del error["request_id"]  # at random: it may hold a short value by itself
        assert [wrong["field"] for wrong in error["details"]["errors"]] == [f"body.{field}"]
        assert str(value) not in str(error) or value is None

    @pytest.mark.parametrize("field", ["is_superuser", "user_id", "id", "feature_access_level", "is_active"])
    async def test_no_other_field_is_taken(
        self, client: httpx2.AsyncClient, account: dict[str, Any], field: str
    ) -> None:
        answer = await client.post(f"{AUTH}/register", json={**account, field: True})

        assert code(answer) == (400, "VALIDATION_ERROR")
        assert answer.json()["error"]["details"]["errors"][0] == {
            "field": f"body.{field}",
            "code": "extra_forbidden",
            "message": "Extra inputs are not permitted",
        }

    async def test_long_passphrases_and_every_letter_work(
        self, client: httpx2.AsyncClient, account: dict[str, str]
    ) -> None:
        password = "пароль 密码 🔑 " * 10
        body = {**account, "password": password}
        assert (await client.post(f"{AUTH}/register", json=body)).status_code == 201
        login = {"email": account["email"], "password": password}
        assert (await client.post(f"{AUTH}/login", json=login)).status_code == 200
        cut = {"email": account["email"], "password": password[:-1]}
        assert code(await client.post(f"{AUTH}/login", json=cut)) == (401, "INVALID_CREDENTIALS")


class TestLogin:
    async def test_it_opens_a_session_of_its_own(self, client: httpx2.AsyncClient, user: Person) -> None:
        answer = await client.post(f"{AUTH}/login", json={"email": user.email.upper(), "password": PASSWORD})
        assert answer.status_code == 200, answer.text

        listed = await client.get(f"{AUTH}/sessions", headers=bearer(answer.json()["access_token"]))
        assert [session["is_current"] for session in listed.json()["sessions"]] == [True, False]

    async def test_whether_an_account_exists_is_not_told(
        self, client: httpx2.AsyncClient, container: Container, user: Person, other_user: Person
    ) -> None:
        async with container.uow() as work:
            closed = await work.users.get(other_user.id)
            assert closed is not None
            closed.is_active = False
        attempts = [
            {"email": user.email, "password": "wrong password"},
            {"email": "nobody@example.com", "password": PASSWORD},
            {"email": other_user.email, "password": PASSWORD},
        ]

        errors = [(await client.post(f"{AUTH}/login", json=attempt)).json()["error"] for attempt in attempts]

        assert {(error["code"], error["message"], str(error["details"])) for error in errors} == {
            ("INVALID_CREDENTIALS", "Email or password is wrong.", "{}")
        }

    async def test_guessing_is_slowed_down_for_known_and_unknown_accounts(
        self, client: httpx2.AsyncClient, user: Person, clock: ManualClock
    ) -> None:
        for email in (user.email, f"{uuid4().hex}@example.com"):
            body = {"email": email, "password": "wrong password"}
            statuses = [(await client.post(f"{AUTH}/login", json=body)).status_code for _ in range(6)]
            assert statuses == [401] * 5 + [429]

        right = {"email": user.email, "password": PASSWORD}
        refused = await client.post(f"{AUTH}/login", json=right)
        assert code(refused) == (429, "RATE_LIMITED")
        clock.advance(int(refused.headers["retry-after"]))
        assert (await client.post(f"{AUTH}/login", json=right)).status_code == 200

    async def test_a_hash_by_older_parameters_is_renewed(
        self, client: httpx2.AsyncClient, container: Container, user: Person
    ) -> None:
        older = PasswordHasher(memory_kib=16, time_cost=1)
        async with container.uow() as work:
            await work.users.note_login(user.id, container.clock.now(), hashed_password=await older.hash(PASSWORD))
        older.close()
        login = {"email": user.email, "password": PASSWORD}

        assert (await client.post(f"{AUTH}/login", json=login)).status_code == 200

        async with container.uow() as work:
            row = await work.users.get(user.id)
        assert row is not None
        assert row.hashed_password is not None
        assert "m=8,t=1" in row.hashed_password
        assert (await client.post(f"{AUTH}/login", json=login)).status_code == 200


class TestRefresh:
    async def test_both_tokens_are_exchanged(self, client: httpx2.AsyncClient, user: Person) -> None:
        first = await client.post(f"{AUTH}/refresh", json={"refresh_token": user.refresh_token})
        assert first.status_code == 200, first.text
        second = await client.post(f"{AUTH}/refresh", json={"refresh_token": first.json()["refresh_token"]})

        tokens = [user.refresh_token, first.json()["refresh_token"], second.json()["refresh_token"]]
        assert len(set(tokens)) == 3
        assert (await client.get(f"{AUTH}/me", headers=bearer(second.json()["access_token"]))).status_code == 200

    async def test_a_spent_token_ends_the_session(
        self, client: httpx2.AsyncClient, user: Person, clock: ManualClock
    ) -> None:
        first = (await client.post(f"{AUTH}/refresh", json={"refresh_token": user.refresh_token})).json()
        clock.advance(11)

        answer = await client.post(f"{AUTH}/refresh", json={"refresh_token": user.refresh_token})

        assert code(answer) == (401, "REFRESH_TOKEN_REUSED")
        assert code(await client.post(f"{AUTH}/refresh", json={"refresh_token": first["refresh_token"]}))[0] == 401
        assert code(await client.get(f"{AUTH}/me", headers=bearer(first["access_token"]))) == (401, "UNAUTHORIZED")

    async def test_an_older_spent_token_ends_it_even_within_the_grace(
        self, client: httpx2.AsyncClient, user: Person
    ) -> None:
        first = (await client.post(f"{AUTH}/refresh", json={"refresh_token": user.refresh_token})).json()
        await client.post(f"{AUTH}/refresh", json={"refresh_token": first["refresh_token"]})
        answer = await client.post(f"{AUTH}/refresh", json={"refresh_token": user.refresh_token})
        assert code(answer) == (401, "REFRESH_TOKEN_REUSED")

    async def test_of_two_at_once_one_wins_and_the_session_lives(
        self, client: httpx2.AsyncClient, user: Person
    ) -> None:
        body = {"refresh_token": user.refresh_token}
        answers = await asyncio.gather(*(client.post(f"{AUTH}/refresh", json=body) for _ in range(5)))

        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
        assert {code(answer)[1] for answer in answers if answer.status_code == 409} == {"REFRESH_IN_PROGRESS"}
        (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
        again = await client.post(f"{AUTH}/refresh", json={"refresh_token": winner["refresh_token"]})
        assert again.status_code == 200

    async def test_what_was_never_given_out_is_refused(self, client: httpx2.AsyncClient, user: Person) -> None:
        for token in ("mqr_" + "x" * 43, user.access_token[:200], "x"):
            answer = await client.post(f"{AUTH}/refresh", json={"refresh_token": token})
            assert code(answer) == (401, "UNAUTHORIZED")

    async def test_a_session_slides_but_not_for_ever(
        self, client: httpx2.AsyncClient, user: Person, clock: ManualClock
    ) -> None:
        token = user.refresh_token
        for _ in range(3):
            clock.advance(29 * 86400)
            answer = await client.post(f"{AUTH}/refresh", json={"refresh_token": token})
            assert answer.status_code == 200, answer.text
            token = answer.json()["refresh_token"]
        clock.advance(4 * 86400)
        assert code(await client.post(f"{AUTH}/refresh", json={"refresh_token": token})) == (401, "UNAUTHORIZED")


class TestTokens:
    @pytest.mark.parametrize(
        "header", ["Bearer", "Basic dXNlcjpwYXNz", "Bearer a b", "bearer x.y.z", "Token abc", "x" * 9000]
    )
    async def test_a_wrong_header_is_refused(self, client: httpx2.AsyncClient, header: str) -> None:
        answer = await client.get(f"{AUTH}/me", headers={"Authorization": header})

        assert code(answer) == (401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"

    async def test_nobody_is_refused(self, client: httpx2.AsyncClient) -> None:
        assert code(await client.get(f"{AUTH}/me")) == (401, "UNAUTHORIZED")

    async def test_an_expired_token_says_so(self, client: httpx2.AsyncClient, user: Person, clock: ManualClock) -> None:
        clock.advance(1806)
        assert code(await client.get(f"{AUTH}/me", headers=user.headers)) == (401, "TOKEN_EXPIRED")

    async def test_a_refresh_token_is_no_access_token(self, client: httpx2.AsyncClient, user: Person) -> None:
        assert code(await client.get(f"{AUTH}/me", headers=bearer(user.refresh_token))) == (401, "UNAUTHORIZED")

    async def test_what_a_user_may_do_is_read_from_the_database(
        self, client: httpx2.AsyncClient, container: Container, user: Person
    ) -> None:
        async with container.uow() as work:
            row = await work.users.get(user.id)
            assert row is not None
            row.feature_access_level = FeatureAccessLevel.READ

        assert (await client.get(f"{AUTH}/me", headers=user.headers)).json()["permissions"] == []
        assert (await container.auth.current_user(user.access_token)).permissions == ()

    async def test_a_closed_account_is_out_at_once(
        self, client: httpx2.AsyncClient, container: Container, user: Person
    ) -> None:
        async with container.uow() as work:
            row = await work.users.get(user.id)
            assert row is not None
            row.is_active = False

        assert code(await client.get(f"{AUTH}/me", headers=user.headers)) == (401, "UNAUTHORIZED")
        body = {"refresh_token": user.refresh_token}
        assert code(await client.post(f"{AUTH}/refresh", json=body)) == (401, "UNAUTHORIZED")


class TestSessions:
    async def test_me_shows_the_account_and_no_secret(self, client: httpx2.AsyncClient, user: Person) -> None:
        answer = await client.get(f"{AUTH}/me", headers=user.headers)

        assert answer.status_code == 200, answer.text
        assert (answer.json()["email"], answer.json()["username"]) == (user.email, user.username)
        assert answer.json()["permissions"] == ["trade", "deposit", "withdraw"]
        assert not {"hashed_password", "auth0_user_id", "is_superuser"} & set(answer.json())

    @pytest.mark.parametrize("path", ["me", "sessions"])
    async def test_an_unknown_parameter_is_refused_by_name(
        self, client: httpx2.AsyncClient, user: Person, path: str
    ) -> None:
        answer = await client.get(f"{AUTH}/{path}?verbose=true", headers=user.headers)

        assert code(answer) == (400, "VALIDATION_ERROR")
        assert [error["field"] for error in answer.json()["error"]["details"]["errors"]] == ["query.verbose"]

    async def test_logout_ends_the_session_and_tells_the_sockets(
        self, client: httpx2.AsyncClient, container: Container, user: Person
    ) -> None:
        session_id = (await container.auth.current_user(user.access_token)).session_id
        heard: list[bytes] = []
        stop = container.broadcast.subscribe("session.revoked", heard.append)

        answer = await client.post(f"{AUTH}/logout", headers=user.headers)
        stop()

        assert (answer.status_code, answer.content) == (204, b"")
        assert heard == [str(session_id).encode()]
        assert code(await client.get(f"{AUTH}/me", headers=user.headers)) == (401, "UNAUTHORIZED")
        body = {"refresh_token": user.refresh_token}
        assert code(await client.post(f"{AUTH}/refresh", json=body)) == (401, "UNAUTHORIZED")

    async def test_a_session_is_ended_by_its_id(self, client: httpx2.AsyncClient, user: Person) -> None:
        login = {"email": user.email, "password": user.password}
        other = (await client.post(f"{AUTH}/login", json=login)).json()
        listed = (await client.get(f"{AUTH}/sessions", headers=user.headers)).json()["sessions"]
        (session_id,) = [session["id"] for session in listed if not session["is_current"]]

        path = f"{AUTH}/sessions/{session_id}"
        assert (await client.delete(path, headers=user.headers)).status_code == 204
        assert code(await client.delete(path, headers=user.headers)) == (404, "NOT_FOUND")
        assert code(await client.get(f"{AUTH}/me", headers=bearer(other["access_token"])))[0] == 401
        assert (await client.get(f"{AUTH}/me", headers=user.headers)).status_code == 200

    async def test_another_users_session_does_not_exist(
        self, client: httpx2.AsyncClient, user: Person, other_user: Person
    ) -> None:
        listed = (await client.get(f"{AUTH}/sessions", headers=other_user.headers)).json()["sessions"]
        theirs = await client.delete(f"{AUTH}/sessions/{listed[0]['id']}", headers=user.headers)
        nobodys = await client.delete(f"{AUTH}/sessions/{uuid4()}", headers=user.headers)

        assert code(theirs) == code(nobodys) == (404, "NOT_FOUND")
        assert theirs.json()["error"]["message"] == nobodys.json()["error"]["message"]
        assert (await client.get(f"{AUTH}/me", headers=other_user.headers)).status_code == 200

    @pytest.mark.parametrize("session_id", ["1", "x", "00000000", "%00", "null"])
    async def test_what_is_no_id_is_refused(self, client: httpx2.AsyncClient, user: Person, session_id: str) -> None:
        answer = await client.delete(f"{AUTH}/sessions/{session_id}", headers=user.headers)
        assert code(answer) == (400, "VALIDATION_ERROR")


class TestTickets:
    async def test_a_ticket_stands_for_its_user_once(
        self, client: httpx2.AsyncClient, container: Container, user: Person
    ) -> None:
        answer = await client.post(f"{AUTH}/ws-ticket", headers=user.headers)
        assert (answer.status_code, answer.json()["expires_in"]) == (200, 30)

        redeemed = await asyncio.gather(*(container.auth.redeem_ws_ticket(answer.json()["ticket"]) for _ in range(5)))

        found = [who for who in redeemed if who is not None]
        assert found == [await container.auth.current_user(user.access_token)]

    async def test_a_ticket_ends_with_its_time_or_its_session(
        self, container: Container, user: Person, clock: ManualClock
    ) -> None:
        who = await container.auth.current_user(user.access_token)
        late = await container.auth.websocket_ticket(who)
        clock.advance(30)
        assert await container.auth.redeem_ws_ticket(late) is None

        closed = await container.auth.websocket_ticket(who)
        await container.auth.revoke_session(who.id, who.session_id, "logout")
        assert await container.auth.redeem_ws_ticket(closed) is None
        assert await container.auth.redeem_ws_ticket("mqt_" + "x" * 43) is None
