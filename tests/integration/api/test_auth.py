"""Register, log in, refresh, log out, sessions, tickets over HTTP."""

import httpx2

from tests.factories import Person


async def test_register_answers_both_tokens(client: httpx2.AsyncClient) -> None:
    body = {"email": "User@Example.com", "username": "user123", "password": "securepassword"}

    answer = await client.post("/api/v1/auth/register", json=body)

    assert answer.status_code == 201, answer.text
    assert set(answer.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 1800)


async def test_me_shows_the_account(client: httpx2.AsyncClient, user: Person, auth_headers: dict[str, str]) -> None:
    answer = await client.get("/api/v1/auth/me", headers=auth_headers)

    assert answer.status_code == 200, answer.text
    assert answer.json()["email"] == user.email
    assert answer.json()["permissions"] == ["trade", "deposit", "withdraw"]
