"""The sessions of the person at the keyboard: one per server, in a file that only they can read."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from app.core.process_lock import flocked

FILE_NAME = "sessions.json"
# A token that ends within this time may end on its way to the server.
SPARE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Login:
    """One session: its tokens, and when the access token ends (RFC 3339)."""

    email: str
    access_token: str
    refresh_token: str
    expires_at: str

    def is_fresh(self, now: datetime) -> bool:
        """Whether the access token can still be sent."""
        return datetime.fromisoformat(self.expires_at) - SPARE > now


def config_dir() -> Path:
    """Where the console script keeps what is the user's, by the XDG rule."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "marqetfi"


class CredentialStore:
    """The file of sessions, by server URL."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or config_dir()
        self._path = self._folder / FILE_NAME

    def load(self, url: str) -> Login | None:
        """The session at a server; None where there is none, or the file is not ours to understand."""
        kept = self._read().get(url)
        if not isinstance(kept, dict) or kept.keys() != set(Login.__dataclass_fields__):
            return None
        return Login(**kept)

    def urls(self) -> list[str]:
        """The servers that there is a session at."""
        return sorted(self._read())

    def save(self, url: str, login: Login | None) -> None:
        """Keep the session at a server, or forget it (None)."""
        sessions = self._read()
        sessions.pop(url, None)
        if login is not None:
            sessions[url] = asdict(login)
        self._make_folder()
        staging = self._path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(sessions, file, indent=1)
        staging.replace(self._path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands of the user from refreshing at the same time: a refresh token is good once."""
        self._make_folder()
        with flocked(self._folder / "lock", fcntl.LOCK_EX):
            yield

    def _read(self) -> dict[str, object]:
        try:
            sessions = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return sessions if isinstance(sessions, dict) else {}

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
