"""Secrets: password hashes, access tokens, random tokens, encryption at rest, and the keys behind them."""

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import argon2
import jwt
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.core.clock import Clock
from app.core.json import decode, encode
from app.domain.errors import Unauthorized, Unavailable

KEY_FILE = "secret_key"
ISSUER = "marqetfi"
AUDIENCE = "marqetfi-api"
ALGORITHM = "HS256"
USE = "access"
LEEWAY = timedelta(seconds=5)
LONGEST_TOKEN = 8192
REQUIRED_CLAIMS = ["sub", "email", "exp", "iat", "iss", "aud", "jti", "sid", "token_use", "auth_method", "permissions"]
PBKDF2_ITERATIONS = 600_000
HASH_THREADS = 2
HASH_QUEUE = 20


def stored_secret(data_dir: Path) -> str:
    """The random secret of an installation, made at its first start in a file that only its owner reads."""
    path = data_dir / KEY_FILE
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


def sub_key(secret: str, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose, such as "jwt/access/v1"; others tell nothing about it."""
    return HKDF(SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret.encode())


def fingerprint(token: str) -> str:
    """The SHA-256 of a random token, in hex: what is stored in its place."""
    return hashlib.sha256(token.encode()).hexdigest()


def random_token(prefix: str) -> str:
    """A prefix and 32 random bytes as 43 characters."""
    return prefix + secrets.token_urlsafe(32)


class PasswordHasher:
    """Argon2id in threads of its own; beyond the queue it answers 503 rather than fall behind."""

    def __init__(
        self, *, memory_kib: int, time_cost: int, threads: int = HASH_THREADS, queue: int = HASH_QUEUE
    ) -> None:
        self._argon = argon2.PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._limit = threads + queue
        self._running = 0

    async def hash(self, password: str) -> str:
        """The password's hash, with its parameters in it."""
        return await self._in_thread(lambda: self._argon.hash(_normal(password)))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether the password is the hashed one; without a hash the same work is done in vain."""
        return await self._in_thread(lambda: self._matches(hashed or self._nobody, password) and hashed is not None)

    def needs_rehash(self, hashed: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._argon.check_needs_rehash(hashed)

    def close(self) -> None:
        """Let the threads end."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _nobody(self) -> str:
        return self._argon.hash(secrets.token_urlsafe(32))

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._argon.verify(hashed, _normal(password))
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _in_thread[T](self, work: Callable[[], T]) -> T:
        if self._running >= self._limit:
            raise Unavailable(retry_after=1)
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._running -= 1


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password)


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What an access token says; `session_id` is the session's public id."""

    user_id: int
    email: str
    auth_method: str
    permissions: tuple[str, ...]
    session_id: UUID
    token_id: str
    expires_at: datetime


class AccessTokens:
    """Issues and reads access tokens: HS256 by a key derived from the secret, one algorithm, every claim required."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self._key = sub_key(secret, "jwt/access/v1")
        self._clock = clock

    def issue(self, claims: AccessClaims) -> str:
        """Write a token."""
        payload = {
            "sub": str(claims.user_id),
            "email": claims.email,
            "exp": int(claims.expires_at.timestamp()),
            "iat": int(self._clock.now().timestamp()),
            "auth_method": claims.auth_method,
            "permissions": list(claims.permissions),
            "iss": ISSUER,
            "aud": AUDIENCE,
            "jti": claims.token_id,
            "sid": str(claims.session_id),
            "token_use": USE,
        }
        return jwt.encode(payload, self._key, algorithm=ALGORITHM)

    def read(self, token: str) -> AccessClaims:
        """The claims of a valid token; Unauthorized otherwise, with TOKEN_EXPIRED for one whose time is over."""
        now = self._clock.now()
        payload = self._verified(token)
        try:
            claims = AccessClaims(
                user_id=int(payload["sub"]),
                email=str(payload["email"]),
                auth_method=str(payload["auth_method"]),
                permissions=tuple(payload["permissions"]),
                session_id=UUID(payload["sid"]),
                token_id=str(payload["jti"]),
                expires_at=_instant(payload["exp"], now),
            )
            issued_at = _instant(payload["iat"], now)
            not_before = _instant(payload.get("nbf", payload["iat"]), now)
        except (TypeError, ValueError, OverflowError, AttributeError):
            raise Unauthorized from None
        if payload["token_use"] != USE or max(issued_at, not_before) > now + LEEWAY:
            raise Unauthorized
        if claims.expires_at + LEEWAY <= now:
            raise Unauthorized(code="TOKEN_EXPIRED")
        return claims

    def _verified(self, token: str) -> dict[str, Any]:
        """The payload of a token that we signed; times are left to the caller, who has the clock."""
        if len(token) > LONGEST_TOKEN:
            raise Unauthorized
        try:
            return jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={
                    "require": REQUIRED_CLAIMS,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError:
            raise Unauthorized from None


def _instant(seconds: object, now: datetime) -> datetime:
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise TypeError("not a time")
    return datetime.fromtimestamp(seconds, now.tzinfo)


class DecryptionFailed(Exception):
    """The stored text was made with a key that is not listed, for another context, or was changed."""


class Cipher:
    """Fernet for one purpose, with keys of any age: the first encrypts, all decrypt.

    Stored form: v1:<key id>:<token>. The context (table and row, say) is sealed in, so that texts cannot be swapped.
    """

    def __init__(self, secrets_newest_first: Sequence[str], *, purpose: str, salt: str) -> None:
        self._secrets = tuple(secrets_newest_first)
        self._salt = hashlib.sha256(f"{salt}/{purpose}".encode()).digest()[:16]
        self.key_id = fingerprint(base64.b64encode(sub_key(self._secrets[0], f"key-id/{purpose}")).decode())[:8]

    def encrypt(self, text: str, *, context: str) -> str:
        """The stored form of a text. The first call of a process takes 0.1 s for each key: make it in a thread."""
        sealed = self._fernet.encrypt(encode({"ctx": context, "v": text}))
        return f"v1:{self.key_id}:{sealed.decode()}"

    def decrypt(self, stored: str, *, context: str) -> str:
        """The text of a stored form; DecryptionFailed instead of any guess."""
        try:
            version, _, token = stored.split(":")
            opened = decode(self._fernet.decrypt(token.encode()))
        except (ValueError, InvalidToken):
            raise DecryptionFailed from None
        if version != "v1" or not hmac.compare_digest(opened["ctx"].encode(), context.encode()):
            raise DecryptionFailed
        text: str = opened["v"]
        return text

    def is_current(self, stored: str) -> bool:
        """Whether the text was encrypted by the newest key; if not, decrypt it and encrypt it again."""
        return stored.startswith(f"v1:{self.key_id}:")

    @cached_property
    def _fernet(self) -> MultiFernet:
        return MultiFernet([Fernet(self._derived(secret)) for secret in self._secrets])

    def _derived(self, secret: str) -> bytes:
        key = hashlib.pbkdf2_hmac("sha256", secret.encode(), self._salt, PBKDF2_ITERATIONS)
        return base64.urlsafe_b64encode(key)
