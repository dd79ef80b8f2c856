"""The HTTP client of the console script: the API's answers as they came, its errors as failures."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2

from app.cli.credentials import CredentialStore, Login
from app.cli.environment import load_settings
from app.cli.failure import Failure
from app.cli.hints import hint_for
from app.core.clock import SystemClock
from app.core.json import rfc3339
from app.core.version import VERSION

API = "/api/v1"
TIMEOUT_SECONDS = 30.0
# How often a request that has an effect is sent again, with the same key, while its answer gets lost.
MOST_SENDS = 4
RESEND_SECONDS = 0.5
# The request may have reached the server, and have had its effect.
LOST = frozenset({"ANSWER_LOST", "IDEMPOTENCY_IN_FLIGHT"})
# How a repetition may fail before the server looks at its key: this tells nothing of the first request.
UNDECIDED = LOST | {
    "SERVER_UNREACHABLE",
    "UNEXPECTED_ANSWER",
    "NOT_LOGGED_IN",
    "UNAUTHORIZED",
    "RATE_LIMITED",
    "SERVICE_UNAVAILABLE",
    "INTERNAL_ERROR",
}
TRADING = "marqetfi trade list and marqetfi orders"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

type Document = dict[str, Any]
type Query = Mapping[str, str | int | list[str] | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered: the text itself for programs, and read, with exact numbers, for tables."""

    text: str
    data: Document


class ApiClient:
    """Speaks to one server as the user that is logged in there; refreshes the session by itself.

    Every error, of the API or of the way to it, is a Failure.
    """

    def __init__(self, url: str, http: httpx2.Client, store: CredentialStore) -> None:
        self.url = url
        self._http = http
        self._store = store
        self._clock = SystemClock()
        self._login = store.load(url)

    def get(self, path: str, query: Query | None = None, *, anonymous: bool = False) -> Answer:
        """Read something; `anonymous` where a login is used only if there is one."""
        return self._send("GET", path, query=query, anonymous=anonymous)

    def post(self, path: str, body: Document | None = None) -> Answer:
        """Do something that may be repeated without harm."""
        return self._send("POST", path, body=body)

    def patch(self, path: str, body: Document) -> Answer:
        """Change something."""
        return self._send("PATCH", path, body=body)

    def delete(self, path: str) -> Answer:
        """Remove or cancel something."""
        return self._send("DELETE", path)

    def once(
        self, method: str, path: str, *, query: Query | None = None, body: Document | None = None, look: str = TRADING
    ) -> Answer:
        """Have an effect exactly once: where the answer is lost, the request is sent again under the same key.

        Failure OUTCOME_UNKNOWN where no repetition is told what became of it; `look` names what shows that.
        """
        headers = {"Idempotency-Key": str(uuid4())}
        reason = ""
        for sent in range(MOST_SENDS):
            if sent:
                time.sleep(RESEND_SECONDS)
            try:
                return self._send(method, path, query=query, body=body, headers=headers)
            except Failure as failure:
                if failure.code not in (UNDECIDED if sent else LOST):
                    raise
                reason = failure.message
        raise Failure(
            "OUTCOME_UNKNOWN",
            f"The outcome is unknown: the answer was lost, and asking again did not bring it. {reason}",
            hint=f"Look with {look} before you repeat it.",
        )

    def health(self) -> Document:
        """How the server and its parts are."""
        return self._exchange("GET", "/health", root="").data

    def authenticate(self, path: str, body: Document, email: str) -> None:
        """Register or log in, and keep the session for later commands."""
        self._keep(self._exchange("POST", path, body=body).data, email)

    def forget(self) -> None:
        """Forget the session, here only."""
        self._login = None
        self._store.save(self.url, None)

    def access_token(self) -> str:
        """A token that is good now; Failure NOT_LOGGED_IN where there is none."""
        if self._login is not None and not self._login.is_fresh(self._clock.now()):
            self._refresh(self._login)
        if self._login is None:
            # A server that is not there is the better reason.
            self._exchange("GET", "/health/live", root="")
            raise Failure("NOT_LOGGED_IN", f"Nobody is logged in at {self.url}.", hint=self._login_hint())
        return self._login.access_token

    def renewed_token(self) -> str:
        """A newer token than the one that was just refused."""
        if self._login is not None:
            self._refresh(self._login)
        return self.access_token()

    def _login_hint(self) -> str:
        """How to get a session; one at another server is not good here, though it may be the one that was meant."""
        others = [url for url in self._store.urls() if url != self.url]
        elsewhere = f"; you are at {', '.join(others)}, which --url or MARQETFI_URL names" if others else ""
        return f"Log in: marqetfi login{elsewhere}"

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Document | None = None,
        headers: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Answer:
        if anonymous and self._login is None:
            return self._exchange(method, path, query=query, body=body)
        try:
            return self._exchange(method, path, self.access_token(), query=query, body=body, headers=headers)
        except Failure as failure:
            # Our clock may be behind the server's.
            if failure.code != "TOKEN_EXPIRED":
                raise
        return self._exchange(method, path, self.renewed_token(), query=query, body=body, headers=headers)

    def _exchange(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        query: Query | None = None,
        body: Document | None = None,
        headers: Mapping[str, str] | None = None,
        root: str = API,
    ) -> Answer:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            response = self._http.request(method, root + path, params=asked, json=body, headers=sent)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise unreachable(self.url, error) from None
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Failure("ANSWER_LOST", f"{self.url} did not answer: {reason}.") from None
        return self._read(response)

    def _read(self, response: httpx2.Response) -> Answer:
        if response.status_code == 204:
            return Answer("", {})
        try:
            data = json.loads(response.text, parse_float=Decimal)
        except ValueError:
            data = None
        if not isinstance(data, dict) or not (response.is_success or isinstance(data.get("error"), dict)):
            raise Failure(
                "UNEXPECTED_ANSWER",
                f"{self.url} answered {response.status_code} with something that is not MarqetFi's.",
                hint="Is this the right server? --url or MARQETFI_URL names another.",
            )
        if not response.is_success:
            raise failure_of(data["error"], response.headers.get("Retry-After"))
        return Answer(response.text, data)

    def _refresh(self, spent: Login) -> None:
        """Exchange the session's refresh token, unless another command has just done so."""
        with self._store.locked():
            kept = self._store.load(self.url)
            if kept is not None and kept != spent:
                self._login = kept
                return
            try:
                tokens = self._exchange("POST", "/auth/refresh", body={"refresh_token": spent.refresh_token}).data
            except Failure as failure:
                if failure.code not in {"UNAUTHORIZED", "REFRESH_TOKEN_REUSED"}:
                    raise
                self.forget()
            else:
                self._keep(tokens, spent.email)

    def _keep(self, tokens: Document, email: str) -> None:
        ends = self._clock.now() + timedelta(seconds=tokens["expires_in"])
        self._login = Login(email, tokens["access_token"], tokens["refresh_token"], rfc3339(ends))
        self._store.save(self.url, self._login)


@contextmanager
def api_client(url: str | None = None, store: CredentialStore | None = None) -> Iterator[ApiClient]:
    """A client of the server at a URL; without one, of the server that the settings here would start.

    Sessions are the user's, or those of another `store`.
    """
    url = _checked(url or default_url())
    with httpx2.Client(
        base_url=url,
        timeout=TIMEOUT_SECONDS,
        # A proxy that the environment names is not on the way to this machine.
        trust_env=not is_loopback(url),
        headers={"User-Agent": f"marqetfi-cli/{VERSION}"},
    ) as http:
        yield ApiClient(url, http, store or CredentialStore())


def _checked(url: str) -> str:
    """A server's URL without a last slash; Failure URL_INVALID where it is none."""
    try:
        parts = urlsplit(url)
        is_server = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_server = False
    if not is_server:
        hint = "--url and MARQETFI_URL take one such as http://127.0.0.1:8000."
        raise Failure("URL_INVALID", f"{url!r} is not the URL of a server.", hint=hint)
    return url.rstrip("/")


def default_url() -> str:
    """Where `marqetfi serve` would listen with the settings of this place."""
    settings = load_settings()
    return url_of(settings.host, settings.port)


def url_of(host: str, port: int) -> str:
    """The URL by which a server that listens on an address is reached from this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{f'[{address}]' if address.version == 6 else address}:{port}"


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    return urlsplit(url).hostname in LOOPBACK


def unreachable(url: str, error: Exception) -> Failure:
    """Nothing listens at a URL, or it is none."""
    return Failure(
        "SERVER_UNREACHABLE",
        f"Nothing answers at {url}: {error or type(error).__name__}.",
        hint="Start it with `marqetfi serve`, or name another by --url or MARQETFI_URL.",
    )


def failure_of(error: Document, retry_after: str | None = None) -> Failure:
    """An error of the API as the failure of a command."""
    code, details = str(error.get("code")), error.get("details") or {}
    hint = hint_for(code, details, retry_after=retry_after, request_id=error.get("request_id"))
    return Failure(code, str(error.get("message")), hint=hint, details=details)
