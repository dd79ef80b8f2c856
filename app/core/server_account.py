"""The account that PostgreSQL runs as, and the running of its programs under it."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

UNPRIVILEGED_ACCOUNTS = ("postgres", "nobody")
# Nothing of ours may reach the server: PG* variables would move its port, its data or its time zone.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedPostgresError(RuntimeError):
    """The embedded server cannot be placed, started or stopped; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """A user and group id to run as; None for both: as this process."""

    uid: int | None = None
    gid: int | None = None

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, its output captured. PermissionError where the account cannot reach it."""
        return subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env=ENVIRONMENT,
            user=self.uid,
            group=self.gid,
            extra_groups=self._extra_groups,
        )

    def spawn(self, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, so that a Ctrl-C meant for us does not reach it."""
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                cwd="/",
                env=ENVIRONMENT,
                user=self.uid,
                group=self.gid,
                extra_groups=self._extra_groups,
            )
        finally:
            os.close(descriptor)

    def can(self, test: str, path: Path) -> bool:
        """Whether the account may do what a shell test, with the path as $0, does: the system's own answer."""
        return self.run("/bin/sh", "-c", test, path).returncode == 0

    def make_private_dir(self, path: Path) -> None:
        """Make a directory that is the account's alone (0700), or make sure that an existing one is."""
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        owner = os.geteuid() if self.uid is None else self.uid
        if path.is_symlink() or found.st_uid not in {owner, os.geteuid()}:
            raise EmbeddedPostgresError(f"{path} belongs to someone else; remove it, it must be ours alone")
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)
        path.chmod(0o700)

    @property
    def _extra_groups(self) -> list[int] | None:
        return None if self.uid is None else []


def account_for(cluster: Path) -> ServerAccount:
    """Who runs this cluster: ourselves, or, as root, its owner; a new one's is the first account that exists."""
    if os.geteuid() != 0:
        return ServerAccount()
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return ServerAccount(owner.st_uid, owner.st_gid)
    for name in UNPRIVILEGED_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerAccount(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        f"PostgreSQL refuses to run as root, and none of {UNPRIVILEGED_ACCOUNTS} exists here; "
        "create one of these accounts, start as another user, or set DATABASE_URL"
    )
