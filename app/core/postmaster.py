"""What the files, the process and the socket of one PostgreSQL cluster say about its server."""

import enum
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from app.core.server_account import ServerAccount

PORT = 5432
SUPERUSER = "postgres"
DATABASE = "marqetfi"
PROTOCOL_VERSION = 3 << 16
ANSWER_TIMEOUT_SECONDS = 2.0
PROC = Path("/proc")


class Answer(enum.Enum):
    """What a server says to a client that wants our database."""

    SILENT = "nobody listens"
    REFUSED = "not now: starting, recovering or stopping"
    NO_DATABASE = "accepts clients, the database is missing"
    READY = "accepts clients"


# Too many connections is a sign of life, not of a server that has yet to come up.
ANSWERS = {b"3D000": Answer.NO_DATABASE, b"53300": Answer.READY}


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A running server, as its postmaster.pid tells; `is_up` once it said it accepts clients."""

    pid: int
    socket_dir: Path | None
    is_up: bool


def running_postmaster(cluster: Path) -> Postmaster | None:
    """The server that runs on this cluster now; None when the pid file is absent, stale or another program's."""
    lines = _pid_file_lines(cluster)
    if not lines or not lines[0].isdigit():
        return None
    pid = int(lines[0])
    if f"/postgres -D {cluster} " not in f"{_command_line(pid)} ":
        return None
    named = lines[4] if len(lines) > 4 else ""
    status = lines[7] if len(lines) > 7 else ""
    return Postmaster(pid, Path(named) if named else None, status == "ready")


def remove_stale_files(cluster: Path, socket_dir: Path) -> None:
    """Clear what a killed server left, for a cluster without a running one and a socket dir that is its alone.

    PostgreSQL takes any living process with the recorded pid for the old server, and then refuses to start.
    """
    for path in (cluster / "postmaster.pid", *socket_dir.glob(".s.PGSQL.*")):
        path.unlink(missing_ok=True)


def ask(socket_dir: Path | None) -> Answer:
    """Open a connection to our database as far as the first word on whether it may be used."""
    if socket_dir is None:
        return Answer.SILENT
    name = f"user\0{SUPERUSER}\0database\0{DATABASE}\0\0".encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_TIMEOUT_SECONDS)
            connection.connect(str(socket_dir / f".s.PGSQL.{PORT}"))
            connection.sendall(struct.pack("!II", 8 + len(name), PROTOCOL_VERSION) + name)
            return _verdict(connection)
    except OSError:
        return Answer.SILENT


def _verdict(connection: socket.socket) -> Answer:
    with connection.makefile("rb") as stream:
        while True:
            header = stream.read(5)
            if len(header) < 5:
                return Answer.REFUSED
            kind, length = struct.unpack("!cI", header)
            body = stream.read(length - 4)
            if kind == b"Z":
                connection.sendall(struct.pack("!cI", b"X", 4))
                return Answer.READY
            if kind == b"E":
                code = next((field[1:] for field in body.split(b"\0") if field[:1] == b"C"), b"")
                return ANSWERS.get(code, Answer.REFUSED)


def _pid_file_lines(cluster: Path) -> list[str]:
    try:
        text = (cluster / "postmaster.pid").read_text()
    except FileNotFoundError:
        return []
    return [line.strip() for line in text.splitlines()]


def _command_line(pid: int) -> str:
    """The words of a process joined by spaces; empty when there is none, or only its unreaped remains."""
    if PROC.joinpath("self").exists():
        try:
            return os.fsdecode((PROC / str(pid) / "cmdline").read_bytes()).replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            return ""
    return ServerAccount().run("/bin/ps", "-ww", "-o", "args=", "-p", str(pid)).stdout.strip()
