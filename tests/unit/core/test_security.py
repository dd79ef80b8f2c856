"""Passwords, access tokens, random tokens and encryption at rest."""

import asyncio
import base64
import json
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.security import (
    AccessClaims,
    AccessTokens,
    Cipher,
    DecryptionFailed,
    PasswordHasher,
    fingerprint,
    random_token,
    stored_secret,
    sub_key,
)
from app.domain.errors import Unauthorized, Unavailable
from tests.fakes import ManualClock

SECRET = "a secret that is known to everybody who reads the tests"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(clock: ManualClock) -> AccessTokens:
    return AccessTokens(SECRET, clock)


@pytest.fixture
def claims(clock: ManualClock) -> AccessClaims:
    return AccessClaims(
        user_id=7,
        email="user@example.com",
        auth_method="email",
        permissions=("trade", "deposit"),
        session_id=UUID(int=1),
        token_id="jti",
        expires_at=clock.now() + timedelta(minutes=30),
    )


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    hasher = PasswordHasher(memory_kib=8, time_cost=1)
    yield hasher
    hasher.close()


def forged(changes: dict[str, Any], *, drop: str = "", key: bytes | None = None, algorithm: str = "HS256") -> str:
    """A token with everything right but what was changed."""
    payload = {
        "sub": "7",
        "email": "user@example.com",
        "exp": 1767616200 + 1800,
        "iat": 1767616200 - 2000,
        "auth_method": "email",
        "permissions": ["trade"],
        "iss": "marqetfi",
        "aud": "marqetfi-api",
        "jti": "jti",
        "sid": str(UUID(int=1)),
        "token_use": "access",
    } | changes
    payload.pop(drop, None)
    return jwt.encode(payload, key or sub_key(SECRET, "jwt/access/v1"), algorithm=algorithm)


class TestAccessTokens:
    def test_what_is_issued_is_read_back(self, tokens: AccessTokens, claims: AccessClaims) -> None:
        assert tokens.read(tokens.issue(claims)) == claims

    def test_the_payload_has_the_documented_claims(self, tokens: AccessTokens, claims: AccessClaims) -> None:
        payload = jwt.decode(tokens.issue(claims), options={"verify_signature": False})

        assert payload["sub"] == "7"
        assert payload["exp"] - payload["iat"] == 1800
        assert payload["permissions"] == ["trade", "deposit"]
        assert payload["token_use"] == "access"

    def test_a_token_ends_with_its_time_and_a_little_leeway(
        self, tokens: AccessTokens, claims: AccessClaims, clock: ManualClock
    ) -> None:
        token = tokens.issue(claims)
        clock.advance(1804)
        assert tokens.read(token).user_id == 7
        clock.advance(1)
        with pytest.raises(Unauthorized) as caught:
            tokens.read(token)
        assert caught.value.code == "TOKEN_EXPIRED"

    def test_the_unchanged_forgery_is_valid(self, tokens: AccessTokens) -> None:
        assert tokens.read(forged({})).permissions == ("trade",)

    @pytest.mark.parametrize(
        "claim", ["sub", "email", "exp", "iat", "iss", "aud", "jti", "sid", "token_use", "auth_method", "permissions"]
    )
    def test_every_claim_is_required(self, tokens: AccessTokens, claim: str) -> None:
        with pytest.raises(Unauthorized):
            tokens.read(forged({}, drop=claim))

    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "somebody"},
            {"aud": "another-api"},
            {"aud": ["marqetfi-apis"]},
            {"token_use": "refresh"},
            {"sub": "not a number"},
            {"sid": "not a uuid"},
            {"sid": 7},
            {"exp": "tomorrow"},
            {"exp": True},
            {"exp": 1e300},
            {"exp": 10**30},
            {"permissions": 5},
            {"iat": 1767616200 + 3600},
            {"nbf": 1767616200 + 3600},
        ],
    )
    def test_a_wrong_claim_is_refused(self, tokens: AccessTokens, changes: dict[str, Any]) -> None:
        with pytest.raises(Unauthorized):
            tokens.read(forged(changes))

    @pytest.mark.parametrize("text", ["", ".", "a.b.c", "eyJ.eyJ.", "x" * 10_000, "ключ", "\0"])
    def test_what_is_no_token_is_refused(self, tokens: AccessTokens, text: str) -> None:
        with pytest.raises(Unauthorized):
            tokens.read(text)

    def test_an_unsigned_token_is_refused(self, tokens: AccessTokens) -> None:
        _, payload, signature = forged({}).split(".")
        header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
        for token in (f"{header}.{payload}.", f"{header}.{payload}.{signature}"):
            with pytest.raises(Unauthorized):
                tokens.read(token)

    def test_another_algorithm_or_key_is_refused(self, tokens: AccessTokens) -> None:
        key = sub_key(SECRET, "jwt/access/v1")
        for token in (
            forged({}, key=key * 2, algorithm="HS512"),
            forged({}, key=b"k" * 32),
            forged({}, key=SECRET.encode()),
        ):
            with pytest.raises(Unauthorized):
                tokens.read(token)


class TestPasswordHasher:
    async def test_the_right_password_matches_and_a_wrong_one_does_not(self, hasher: PasswordHasher) -> None:
        hashed = await hasher.hash("correct horse")

        assert hashed.startswith("$argon2id$")
        assert await hasher.verify(hashed, "correct horse")
        assert not await hasher.verify(hashed, "correct horsf")

    async def test_composed_and_decomposed_letters_are_the_same(self, hasher: PasswordHasher) -> None:
        assert await hasher.verify(await hasher.hash("cafe\u0301 du monde"), "caf\u00e9 du monde")

    @pytest.mark.parametrize("hashed", [None, "", "!", "$argon2id$broken", "$2b$12$" + "a" * 53])
    async def test_without_a_usable_hash_nothing_matches(self, hasher: PasswordHasher, hashed: str | None) -> None:
        assert not await hasher.verify(hashed, "anything at all")

    async def test_a_hash_with_older_parameters_is_known(self, hasher: PasswordHasher) -> None:
        stronger = PasswordHasher(memory_kib=16, time_cost=1)
        hashed = await hasher.hash("correct horse")

        assert not hasher.needs_rehash(hashed)
        assert stronger.needs_rehash(hashed)
        stronger.close()

    async def test_beyond_the_queue_it_says_unavailable(self) -> None:
        hasher = PasswordHasher(memory_kib=4096, time_cost=3, threads=1, queue=2)
        outcomes = await asyncio.gather(*(hasher.hash("correct horse") for _ in range(10)), return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]

        assert len(refused) == 7
        assert refused[0].retry_after == 1
        assert await hasher.hash("there is room again")
        hasher.close()


class TestCipher:
    def test_a_text_comes_back(self) -> None:
        cipher = Cipher([SECRET], purpose="webhook", salt="here")
        stored = cipher.encrypt("whsec_abc", context="webhook:1")

        assert stored.startswith(f"v1:{cipher.key_id}:gAAAA")
        assert "whsec_abc" not in stored
        assert cipher.decrypt(stored, context="webhook:1") == "whsec_abc"

    def test_another_row_purpose_salt_or_key_cannot_read_it(self) -> None:
        stored = Cipher([SECRET], purpose="webhook", salt="here").encrypt("text", context="webhook:1")
        others = [
            (Cipher([SECRET], purpose="webhook", salt="here"), "webhook:2"),
            (Cipher([SECRET], purpose="config", salt="here"), "webhook:1"),
            (Cipher([SECRET], purpose="webhook", salt="there"), "webhook:1"),
            (Cipher(["another secret"], purpose="webhook", salt="here"), "webhook:1"),
        ]
        for cipher, context in others:
            with pytest.raises(DecryptionFailed):
                cipher.decrypt(stored, context=context)

    @pytest.mark.parametrize("stored", ["", "v1", "v1:abc:def", "v2:{id}:{token}", "v1:{id}:x{token}", "{token}"])
    def test_a_damaged_text_is_an_error_not_a_guess(self, stored: str) -> None:
        cipher = Cipher([SECRET], purpose="webhook", salt="here")
        _, key_id, token = cipher.encrypt("text", context="c").split(":")
        with pytest.raises(DecryptionFailed):
            cipher.decrypt(stored.format(id=key_id, token=token), context="c")

    def test_a_newer_key_reads_the_old_and_encrypts_anew(self) -> None:
        old = Cipher(["old secret"], purpose="config", salt="here")
        both = Cipher(["new secret", "old secret"], purpose="config", salt="here")
        new = Cipher(["new secret"], purpose="config", salt="here")
        stored = old.encrypt("text", context="c")

        assert both.decrypt(stored, context="c") == "text"
        assert not both.is_current(stored)
        renewed = both.encrypt(both.decrypt(stored, context="c"), context="c")
        assert both.is_current(renewed)
        assert new.decrypt(renewed, context="c") == "text"


def test_random_tokens_are_long_and_their_fingerprints_are_not_them() -> None:
    token = random_token("mqr_")

    assert (len(token), token[:4]) == (47, "mqr_")
    assert len({random_token("") for _ in range(100)}) == 100
    assert fingerprint(token) != token
    assert len(fingerprint(token)) == 64


@given(st.text(min_size=1))
def test_sub_keys_of_different_purposes_differ(purpose: str) -> None:
    key = sub_key(SECRET, purpose)
    assert len(key) == 32
    assert key != sub_key(SECRET, purpose + "x")


def test_the_installation_keeps_one_random_secret_that_only_its_owner_reads(tmp_path: Path) -> None:
    first = stored_secret(tmp_path / "data")

    assert len(first) == 64
    assert stored_secret(tmp_path / "data") == first
    assert stored_secret(tmp_path / "other") != first
    assert stat.S_IMODE((tmp_path / "data" / "secret_key").stat().st_mode) == 0o600
